"""Settings of Slack: messages, and approvals."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from services.settings_base import Group, Texts


class Slack(Group):
    """Messages and questions to people."""

    token: SecretStr | None = Field(None, description="Bot token; without one nothing is posted")
    base_url: str = Field("https://slack.com/api/", pattern=r"^https?://.+", description="API that speaks Slack's")
    channel: str = Field("", description="Channel of messages and questions whose runbook names none")
    mode: Literal["off", "socket", "http"] = Field(
        "off",
        description="How clicks on questions come back: socket (a connection that we open) or http (Slack calls "
        "`/slack/interactions`); off: questions are only told of, not answered in Slack",
    )
    app_token: SecretStr | None = Field(None, description="App-level token (`connections:write`), for mode socket")
    signing_secret: SecretStr | None = Field(None, description="Signing secret of the app, for mode http")
    allowed_channels: Texts = Field(
        (), description="Channels that runbooks may name for questions; others are asked in slack.channel; empty: any"
    )
    users: dict[str, str] = Field(
        {}, description="Person by Slack user id, or by mail address of the account; who is missing cannot answer"
    )

    @field_validator("token", "app_token", "signing_secret")
    @classmethod
    def _no_empty_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().strip():
            raise ValueError("an empty secret is none: leave it out")
        return value

    @field_validator("users")
    @classmethod
    def _people_have_names(cls, value: dict[str, str]) -> dict[str, str]:
        for key, person in value.items():
            if not key.strip() or not person.strip():
                raise ValueError(
                    f"{key or 'an empty key'} must be a Slack user id or mail address with a person's name"
                )
        return value

    @model_validator(mode="after")
    def _mode_has_what_it_needs(self) -> Self:
        if self.mode == "off":
            return self
        needed = {"token": self.token, "channel": self.channel}
        needed |= {"app_token": self.app_token} if self.mode == "socket" else {"signing_secret": self.signing_secret}
        missing = [f"slack.{name}" for name, value in needed.items() if not value]
        if missing:
            raise ValueError(f"mode {self.mode} needs {' and '.join(missing)}")
        return self

    @property
    def asks(self) -> bool:
        """Whether questions are asked and answered in Slack."""
        return self.mode != "off"
