"""Post messages: Slack, Teams, or several ways at once."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from executor.actions.base import Action, Found, Params, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.needs import NO_RIGHTS
from executor.errors import PlanError, RemediationError, StepFailed
from executor.model import Access, PlannedStep
from executor.people_ports import Card, Mail, Page
from runbooks.secret_refs import references_in

Way = Literal["slack", "teams", "pagerduty", "email"]
NOT_TAKEN_BACK = "not at all: what people have read cannot be taken back"
SHOWN = "the message is rendered and shown, and not sent"
NOBODY = "nothing: it only tells people"


def without_secrets(params: Params) -> Planned:
    """The plan of a message: nothing changes.

    Raises:
        PlanError: it holds a secret; channels have many readers.
    """
    given = params.model_dump(mode="json", exclude_none=True)
    if names := references_in(given):
        raise PlanError(f"a message must not hold secrets: {', '.join(sorted(names))}")
    return Planned(params=given)


class Message(Action[Any]):
    """A message to people. Never sent twice: after a crash it may be missing."""

    access = Access.NOTIFY
    idempotent = False
    simulated = SHOWN
    undone = NOT_TAKEN_BACK
    targets = NOBODY

    async def plan(self, params: Any, facts: TargetFacts, world: World) -> Planned:
        """Nothing changes."""
        return without_secrets(params)

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Send."""
        params = self.params_model.model_validate(step.params)
        without_secrets(params)
        return await self.send(params, stamp, world)

    @abstractmethod
    async def send(self, params: Any, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Send; give the output."""

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """Nobody can be asked, and nobody wants it twice."""
        return Recovery(Found.NOT_DONE if self.idempotent else Found.UNKNOWN)


class SlackParams(Params):
    """Parameters of ``slack_notify``."""

    channel: str = Field("", description="Such as `#incidents`; left out, the setting `slack.channel`")
    message: str = Field(min_length=1, description="Text; Slack's own markup is fine")


class SlackNotify(Message):
    """Post a message to a Slack channel. It is never sent twice: after a crash it may be missing."""

    name = "slack_notify"
    aliases = ("notification/slack",)
    params_model = SlackParams
    rights = NO_RIGHTS
    example = """\
action: slack_notify
params: {channel: "#incidents", message: "Memory of {{ target.name }} was raised to {{ new_memory }}"}
"""

    async def send(self, params: SlackParams, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Post."""
        return {"channel": params.channel, "message_id": await world.chat.post(params.channel, params.message)}


class TeamsParams(Params):
    """Parameters of ``teams_notify``."""

    channel: str = Field("default", min_length=1, description="Name of a webhook in the setting `teams.webhooks`")
    title: str = Field("", description="Stands above the text")
    message: str = Field(min_length=1, description="Text; Teams' Markdown is fine")
    facts: dict[str, str] = Field({}, description="Names and values, shown as a table")


class TeamsNotify(Message):
    """Post an Adaptive Card to Microsoft Teams. It is never sent twice: after a crash it may be missing."""

    name = "teams_notify"
    aliases = ("notification/teams",)
    params_model = TeamsParams
    rights = NO_RIGHTS
    example = """\
action: teams_notify
params:
  channel: sre
  title: "{{ incident.reason }} in {{ target.namespace }}"
  message: "Memory of {{ target.name }} was raised"
  facts: {Cluster: "{{ incident.cluster }}"}
"""

    async def send(self, params: TeamsParams, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Post."""
        await world.people.teams.post(params.channel, Card(params.message, params.title, params.facts))
        return {"channel": params.channel}


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class NotifyParams(Params):
    """Parameters of ``notify``."""

    channels: Annotated[tuple[Way, ...], BeforeValidator(_listed)] = Field(
        min_length=1, description="Any of slack, teams, pagerduty, email; where each leads is in the settings"
    )
    message: str = Field(min_length=1, description="Text")
    severity: Literal["critical", "error", "warning", "info"] = Field("warning", description="As PagerDuty knows it")
    title: str = Field("", description="Subject of the mail, title of the card; left out, the first line of the text")


class Notify(Message):
    """Tell people on several channels at once, each as the settings have it.

    The step fails when one of them was not reached, and names it; the others have the message.
    """

    name = "notify"
    aliases = ("notification/send",)
    params_model = NotifyParams
    rights = NO_RIGHTS
    example = """\
action: notify
params: {channels: [slack, pagerduty], severity: warning, message: "{{ target.name }} was rolled back: please look"}
"""

    async def send(self, params: NotifyParams, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Send to all; one that fails holds up none of the others."""
        ways = tuple(dict.fromkeys(params.channels))
        ended = await asyncio.gather(*(_by(way, params, stamp, world) for way in ways), return_exceptions=True)
        problems = {way: error for way, error in zip(ways, ended, strict=True) if isinstance(error, BaseException)}
        for error in problems.values():
            if not isinstance(error, RemediationError):
                raise error
        if problems:
            told = ", ".join(way for way in ways if way not in problems)
            said = "; ".join(f"{way}: {error}" for way, error in problems.items())
            raise StepFailed(f"not everybody was told: {said}" + (f" (told: {told})" if told else ""))
        return {"channels": list(ways)}


async def _by(way: Way, params: NotifyParams, stamp: Stamp, world: World) -> None:
    title = params.title or params.message.strip().splitlines()[0]
    reference = f"{stamp.execution}/{stamp.step}"
    if way == "slack":
        await world.chat.post("", params.message)
    elif way == "teams":
        await world.people.teams.post("default", Card(params.message, params.title))
    elif way == "email":
        await world.people.mailer.send(Mail(title, params.message, reference))
    else:
        details = {"message": params.message, "execution": stamp.execution}
        await world.people.pager.send(Page("trigger", stamp.execution, title, params.severity, details=details))
