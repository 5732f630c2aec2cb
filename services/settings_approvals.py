"""Settings of approvals: how long, by whom, who is told, and answers by signed link."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from runbooks.model import Duration
from services.settings_base import FilePath, Group, Texts

Way = Literal["slack", "teams", "pagerduty", "mail"]

_KEY_BYTES = 32
_KEY_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")


class Links(Group):
    """Answers by signed link, for questions that are sent by mail and Microsoft Teams."""

    base_url: str = Field(
        "", pattern=r"^(https?://[^?#]+)?$", description="Where people reach the HTTP side; empty: no links are sent"
    )
    keys: dict[str, SecretStr] = Field(
        {}, description="Signing keys by name, at least 32 characters each; links of all of them are taken"
    )
    key: str = Field("", description="Name of the key that signs new links; to rotate, add a key and name it here")
    ttl: Duration = Field(timedelta(hours=4), description="Longest life of a link; it never outlives its question")
    to: Texts = Field((), description="People of access.people who get links where a question names nobody")
    teams: dict[str, str] = Field(
        {}, description="By person: the webhook of teams.webhooks that posts to this person alone"
    )

    @field_validator("keys")
    @classmethod
    def _strong(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, key in value.items():
            if not _KEY_NAME.fullmatch(name):
                raise ValueError(f"{name!r:.40} is no name of a key: letters, digits, - and _, at most 32")
            if len(key.get_secret_value().encode()) < _KEY_BYTES:
                raise ValueError(f"key {name} is shorter than {_KEY_BYTES} characters: who guesses it can approve")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.base_url:
            return self
        if self.key not in self.keys:
            there = ", ".join(self.keys) or "none is set"
            raise ValueError(f"links.base_url needs links.key, the name of one of links.keys ({there})")
        if self.ttl <= timedelta(0):
            raise ValueError("links.ttl must be longer than zero")
        return self


class Approvals(Group):
    """Asking people."""

    timeout: Duration = Field(timedelta(minutes=30), description="Longest wait for an answer; a runbook may ask less")
    self_approval: Literal["refuse", "allow"] = Field(
        "refuse", description="A yes of who asked for the run, or wrote the runbook; a no always counts"
    )
    on_call: FilePath | None = Field(None, description="File with on-call schedules: rotations and overrides")
    remind_every: Duration | None = Field(None, description="Remind of an open question so often; empty: never")
    tell: tuple[Way, ...] = Field(
        ("slack", "teams", "pagerduty", "mail"),
        description="Ways on which escalations, reminders and emergency bypasses are told, as far as they are set up",
    )
    channel: str = Field("", description="Slack channel of these messages; empty: slack.channel")
    longest_delegation: Duration = Field(
        timedelta(days=14), description="People hand their answers over for at most so long"
    )
    links: Links = Field(Links(), description="Answers by signed link: mail and Microsoft Teams")

    @field_validator("timeout", "remind_every", "longest_delegation")
    @classmethod
    def _longer_than_zero(cls, value: timedelta | None) -> timedelta | None:
        if value is not None and value <= timedelta(0):
            raise ValueError("must be longer than zero")
        return value

    @field_validator("tell")
    @classmethod
    def _somebody(cls, value: tuple[Way, ...]) -> tuple[Way, ...]:
        if not value:
            raise ValueError("approvals.tell names nobody: an emergency bypass has to be announced")
        return value
