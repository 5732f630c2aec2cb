"""The shape of a file of policies, and its values as the gate takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self, get_args, get_type_hints

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, create_model, field_validator, model_validator

from runbooks.conditions import ChangeWindow
from runbooks.schema import DIALECT
from runbooks.words import Duration, Model, Patterns
from safety.autonomy import Rung
from safety.policies import LIMIT, Freeze, Policy, Scope, limits_of_policies
from safety.policy import PolicySettings

_SECONDS = "_seconds"
_TOLD = re.compile(r"^ {8}([\w, ]+): (.+?)(?=\n {8}\w[\w, ]*: |\n {4}\S|\Z)", re.MULTILINE | re.DOTALL)


def _descriptions() -> Mapping[str, str]:
    """What the docstring of the limits says of each."""
    attributes = (PolicySettings.__doc__ or "").partition("Attributes:")[2]
    found = [(names, " ".join(text.split())) for names, text in _TOLD.findall(attributes)]
    return {name.strip(): text for names, text in found for name in names.split(",")}


def _limits_model() -> type[BaseModel]:
    """A model with one optional field for each limit that policies can give, typed as in ``PolicySettings``."""
    hints, told = get_type_hints(PolicySettings), _descriptions()
    made: dict[str, Any] = {}
    for name in limits_of_policies():
        hint = hints[name]
        if name.endswith(_SECONDS):
            hint = Duration | None if type(None) in get_args(hint) else Duration
        elif hint == tuple[str, ...]:
            hint = Patterns
        strict = True if {int, float} & {hint, *get_args(hint)} else None
        made[name] = (hint, Field(None, strict=strict, description=told.get(name, "As in the settings")))
    config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    return create_model("Limits", __config__=config, __doc__="Limits of the gate.", **made)


LimitsModel = _limits_model()


class ScopeModel(Model):
    """What a policy is about. What is left out holds for everything; of several patterns one has to match."""

    tenants: Patterns = Field((), description="Names or globs")
    clusters: Patterns = Field((), description="Names or globs")
    namespaces: Patterns = Field((), description="Of the target, and of what a plan writes to; names or globs")
    labels: Mapping[str, str] = Field({}, description="Of the target as it is now; all have to match, values are globs")
    kinds: Patterns = Field((), description="Of the target, such as Deployment or Node")
    runbooks: Patterns = Field((), description="Ids or globs")
    tags: Patterns = Field((), description="Of the runbook")
    severities: Patterns = Field((), description="Of the signal, such as CRITICAL")


class FreezeModel(Model):
    """A time in which nothing is changed."""

    start: AwareDatetime = Field(description="From here on, with its offset: 2026-12-20T00:00:00+01:00")
    end: AwareDatetime = Field(description="Until here, with its offset")
    reason: str = Field(min_length=1, description="For people and the record")

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.end <= self.start:
            raise ValueError("end must be after start")
        return self


class PolicyModel(Model):
    """One policy."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="Unique among all policies")
    description: str = Field("", description="Why there is this policy")
    scope: ScopeModel = Field(ScopeModel(), description="What it is about; left out, everything")
    limits: LimitsModel = Field(LimitsModel(), description="Limits of the gate")  # type: ignore[valid-type]
    require_approval: bool | None = Field(None, strict=True, description="Whether a human has to say yes")
    deny: bool | str | None = Field(None, description="Why nothing may be done; false lifts the deny of a wider policy")
    autonomy: Rung | None = Field(None, description="No runbook may do more by itself")
    windows: tuple[ChangeWindow, ...] | None = Field(
        None, description="Times in which changes may be made; an empty list lifts those of a wider policy"
    )
    freezes: tuple[FreezeModel, ...] = Field((), description="Times in which nothing is changed; they add up")
    required_signature: bool | None = Field(None, strict=True, description="Whether only signed runbooks may run")
    priority: int = Field(
        0, strict=True, ge=-1000, le=1000, description="Decides between equally specific policies; the larger wins"
    )

    @field_validator("deny")
    @classmethod
    def _with_reason(cls, value: bool | str | None) -> bool | str | None:
        if value is True or (isinstance(value, str) and not value.strip()):
            raise ValueError("say why nothing may be done, as a text; or false to lift the deny of a wider policy")
        return value

    def gives(self) -> dict[str, Any]:
        """The fields that it decides, by name as in ``safety.policies.Policy``."""
        found = {f"{LIMIT}{name}": _plain(getattr(self.limits, name)) for name in self.limits.model_fields_set}  # type: ignore[attr-defined]
        for name in ("require_approval", "autonomy", "windows", "required_signature"):
            if (value := getattr(self, name)) is not None:
                found[name] = value
        if self.deny is not None:
            found["deny"] = self.deny or ""
        return found

    def as_policy(self, version: str, place: str) -> Policy:
        """Its values."""
        freezes = tuple(Freeze(one.start, one.end, one.reason) for one in self.freezes)
        return Policy(self.id, Scope(**dict(self.scope)), self.gives(), freezes, self.priority, version, place)


class PoliciesFile(Model):
    """A file of policies."""

    policies: tuple[PolicyModel, ...] = Field(description="The policies; their order means nothing")


def _plain(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


def policies_schema() -> dict[str, Any]:
    """JSON Schema of a file of policies (draft 2020-12), for editors."""
    made = PoliciesFile.model_json_schema(by_alias=True)
    return {"$schema": DIALECT, **made, "title": "Rootmend policies", "description": "Policies of the gate."}
