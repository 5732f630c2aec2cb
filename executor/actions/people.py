"""Tell people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from executor.actions.base import Action, Found, Params, Planned, Recovery, Stamp, TargetFacts, World
from executor.errors import PlanError
from executor.model import Access, PlannedStep
from runbooks.secret_refs import references_in


class SlackParams(Params):
    """Parameters of ``slack_notify``."""

    channel: str = Field(min_length=1, description="Such as `#incidents`")
    message: str = Field(min_length=1, description="Text; Slack's own markup is fine")


class SlackNotify(Action[SlackParams]):
    """Post a message to a Slack channel. It is never sent twice: after a crash it may be missing."""

    name = "slack_notify"
    access = Access.NOTIFY
    idempotent = False
    params_model = SlackParams
    example = """\
action: slack_notify
params: {channel: "#incidents", message: "Memory of {{ target.name }} was raised to {{ new_memory }}"}
"""

    async def plan(self, params: SlackParams, facts: TargetFacts, world: World) -> Planned:
        """Nothing changes."""
        if names := references_in(params.message) | references_in(params.channel):
            raise PlanError(f"a message must not hold secrets: {', '.join(sorted(names))}")
        return Planned(params=params.model_dump(mode="json"))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Post."""
        params = SlackParams.model_validate(step.params)
        if references_in(params.message):
            raise PlanError("a message must not hold secrets")
        return {"channel": params.channel, "message_id": await world.chat.post(params.channel, params.message)}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """Slack cannot be asked, and nobody wants it twice."""
        return Recovery(Found.UNKNOWN)
