"""Settings of policies and of the ladder of autonomy."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from runbooks.findings import did_you_mean
from runbooks.model import Duration
from safety.autonomy import Ladder, Rung, Threshold
from safety.policies import limits_of_policies
from services.settings_base import Group, Texts


class PoliciesSettings(Group):
    """Limits by tenant, namespace, label and more, on top of those of the gate."""

    paths: Texts = Field((), description="Files of policies, and folders of them")
    loosen: Texts = Field(
        (), description="Limits that a policy may make looser than the settings of the gate, such as max_blast_radius"
    )

    @field_validator("loosen")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in limits_of_policies():
                raise ValueError(f"{name} is no limit that policies give; {did_you_mean(name, limits_of_policies())}")
        return value

    @property
    def files(self) -> tuple[Path, ...]:
        """The paths."""
        return tuple(Path(path).expanduser() for path in self.paths)


class ThresholdSettings(Group):
    """What it takes to reach a rung."""

    executions: int = Field(20, ge=1, description="Least executions that were carried through, as evidence")
    lower_bound: float = Field(
        0.8, gt=0, le=1, description="Least Wilson lower bound of the verified-fix rate over them"
    )
    needs_human: bool = Field(True, description="The evidence only makes it eligible: `rb autonomy promote` does it")

    def threshold(self) -> Threshold:
        """As the ladder takes it."""
        return Threshold(self.executions, self.lower_bound, self.needs_human)


class ToSuggest(ThresholdSettings):
    """What it takes to get from observe to suggest."""

    executions: int = Field(1, ge=1, description="Least executions that were carried through, as evidence")
    lower_bound: float = Field(0.05, gt=0, le=1, description="As for to_auto")


class ToApprove(ThresholdSettings):
    """What it takes to get from suggest to approve."""

    executions: int = Field(3, ge=1, description="Least executions that were carried through, as evidence")
    lower_bound: float = Field(0.4, gt=0, le=1, description="As for to_auto")


class AutonomySettings(Group):
    """What a runbook may do by itself: observe, suggest, approve, auto. Earned by verified fixes."""

    enabled: bool = Field(
        True, description="Off: every runbook runs by itself as far as its own rules let it, and a warning says so"
    )
    start: Rung = Field(Rung.APPROVE, description="First rung of a runbook: observe, suggest, approve, auto")
    runbooks: dict[str, Rung] = Field({}, description="Other first rungs, by runbook id or glob; the first counts")
    window: Duration = Field(timedelta(days=30), description="Older evidence no longer counts")
    confidence: float = Field(0.95, gt=0, lt=1, description="Of the lower bound, two-sided")
    suggest_after: int = Field(
        2, ge=1, description="So many not_fixed, failures and rollbacks within the window drop a runbook to suggest"
    )
    to_suggest: ToSuggest = Field(ToSuggest(), description="From observe to suggest")
    to_approve: ToApprove = Field(ToApprove(), description="From suggest to approve")
    to_auto: ThresholdSettings = Field(ThresholdSettings(), description="From approve to auto")
    channel: str = Field("", description="Slack channel of suggestions whose runbook names none; empty: slack.channel")

    @field_validator("window")
    @classmethod
    def _positive(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("must be longer than zero")
        return value

    @model_validator(mode="after")
    def _harder_upwards(self) -> Self:
        bounds = [one.lower_bound for one in (self.to_suggest, self.to_approve, self.to_auto)]
        if bounds != sorted(bounds):
            raise ValueError("lower_bound must not fall from to_suggest over to_approve to to_auto")
        return self

    def ladder(self) -> Ladder:
        """As the core takes it."""
        thresholds = {
            Rung.SUGGEST: self.to_suggest.threshold(),
            Rung.APPROVE: self.to_approve.threshold(),
            Rung.AUTO: self.to_auto.threshold(),
        }
        return Ladder(self.start, dict(self.runbooks), thresholds, self.window, self.confidence, self.suggest_after)
