"""Settings of the ways to people, and of screenshots."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from services.settings_base import FilePath, Group, Texts

_ADDRESS = r"^[^@\s]+@[^@\s]+$"
_WEB = r"^https?://.+"
_WEB_OR_EMPTY = r"^(https?://.+)?$"

NamedSecrets = dict[str, SecretStr]


class TeamsSettings(Group):
    """Microsoft Teams."""

    webhooks: NamedSecrets = Field(
        {}, description="Addresses of incoming webhooks or workflows by name; `default` is for messages that name none"
    )


class PagerDutySettings(Group):
    """PagerDuty: Events API v2, and who is on call (REST API v2)."""

    routing_keys: NamedSecrets = Field(
        {}, description="Integration keys by name of the service; `default` is for events that name none"
    )
    base_url: str = Field("https://events.pagerduty.com", pattern=_WEB, description="API that speaks PagerDuty's")
    api_url: str = Field("https://api.pagerduty.com", pattern=_WEB, description="REST API, for who is on call")
    api_token: SecretStr = Field(SecretStr(""), description="Read-only REST API key, for who is on call")
    schedules: dict[str, str] = Field(
        {}, description="Schedule id by the name that rules use; people are found by access.people.*.email"
    )

    @model_validator(mode="after")
    def _schedules_can_be_read(self) -> Self:
        if self.schedules and not self.api_token.get_secret_value():
            raise ValueError("pagerduty.schedules needs pagerduty.api_token")
        return self


class MailSettings(Group):
    """Mail over SMTP."""

    host: str = Field("", description="Server; empty: no mail is sent")
    port: int = Field(587, ge=1, le=65535, description="Of the server")
    tls: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="starttls insists on it; tls from the first byte; none only without a user"
    )
    ca_file: FilePath | None = Field(None, description="Own CAs of the server, beside those of the system")
    user: str = Field("", description="Empty: without login")
    password: SecretStr = Field(SecretStr(""), description="Better set by variable than in the file")
    sender: str = Field("", description="Address that the mails come from")
    to: Texts = Field((), description="Addresses for mails that name none")

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if self.host and not re.match(_ADDRESS, self.sender):
            raise ValueError("mail.host needs mail.sender, an address")
        if self.tls == "none" and self.user:
            raise ValueError("a password is not sent in clear text: set mail.tls, or leave mail.user out")
        return self


class JiraSettings(Group):
    """Tickets in Jira."""

    base_url: str = Field("", pattern=_WEB_OR_EMPTY, description="Of the site; empty: no tickets in Jira")
    user: str = Field("", description="Owner of an API token (Cloud); empty: a personal access token (Data Center)")
    token: SecretStr = Field(SecretStr(""), description="API token or personal access token")
    project: str = Field("", description="Key of the project of tickets that name none")
    issue_type: str = Field("Task", min_length=1, description="Of tickets that name none")


class ServiceNowSettings(Group):
    """Tickets in ServiceNow."""

    base_url: str = Field("", pattern=_WEB_OR_EMPTY, description="Of the instance; empty: no tickets in ServiceNow")
    user: str = Field("", description="Empty: the password is an OAuth token")
    password: SecretStr = Field(SecretStr(""), description="Of the user, or an OAuth token")
    table: str = Field("incident", pattern=r"^[a-z0-9_]+$", description="Table of tickets that name none")


class ScreenshotSettings(Group):
    """Pictures of pages (``ui_screenshot``)."""

    browser: FilePath | None = Field(
        None, description="Chromium or Chrome; empty: the first on the PATH, then the one that `rb browser` fetched"
    )
    reports: FilePath = Field(Path("reports/screenshots"), description="Folder for pictures and their differences")
    update_baselines: bool = Field(False, description="Write what is seen as the new baselines instead of comparing")
    sandbox: Literal["auto", "off"] = Field(
        "auto", description="auto: off for root only, whom Chromium refuses; off where containers forbid it"
    )
    max_parallel: int = Field(2, ge=1, le=32, description="Most browsers at a time")
