"""Feature flags of the fictional ACME service as an action of Rootmend: read before, set, checked, put back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from executor.actions.base import Action, Found, Params, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.needs import NO_RIGHTS
from executor.errors import Drifted, PlanError, StepFailed
from executor.model import Access, Change, PlannedStep

_OK = 200
_SECONDS = 10.0


class FlagParams(Params):
    """Parameters of ``acme_flag``."""

    server: str = Field(description="Address of the flag service, http or https")
    flag: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="Name of the flag")
    enabled: bool = Field(description="What it shall be")


class FlagSet(Action[FlagParams]):
    """Switch a feature flag of ACME on or off."""

    name = "acme_flag"
    aliases = ("acme/flag",)
    access = Access.WRITE
    idempotent = True
    params_model = FlagParams
    rights = NO_RIGHTS
    simulated = "the flag is read and the change is shown; nothing is set"
    undone = "the flag gets the value that it had before"
    targets = "the incident's target, whose behaviour the flag changes"
    example = """\
action: acme_flag
params: {server: https://flags.example.com, flag: new-checkout, enabled: false}
"""

    async def plan(self, params: FlagParams, facts: TargetFacts, world: World) -> Planned:
        """Read the flag and say what will change."""
        if not params.server.startswith(("http://", "https://")):
            raise PlanError(f"{params.server!r} is no http or https address")
        before = await _read(params, world)
        if before == params.enabled:
            return Planned(params=params.model_dump(mode="json"), changes=())
        change = Change(
            ref=facts.target,
            verb="set",
            summary=f"flag {params.flag}: {before} -> {params.enabled}",
            before={"enabled": before},
            undo=f"flag {params.flag} is set to {before} again",
        )
        return Planned(params=params.model_dump(mode="json"), changes=(change,))

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Read again just before the change; what was there is saved with the intent."""
        params = FlagParams.model_validate(step.params)
        before = await _read(params, world)
        planned = step.changes[0].before if step.changes else None
        if planned is not None and planned["enabled"] != before:
            raise Drifted(f"flag {params.flag} is {before} now, and was {planned['enabled']} when this was planned")
        return {"enabled": before}

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Set the flag."""
        params = FlagParams.model_validate(step.params)
        await _write(params, params.enabled, stamp, world)
        return {"flag": params.flag, "enabled": params.enabled}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """After a crash the flag itself says whether it was set."""
        params = FlagParams.model_validate(step.params)
        return Recovery(Found.DONE if await _read(params, world) == params.enabled else Found.NOT_DONE)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Give the flag the value that it had."""
        params = FlagParams.model_validate(step.params)
        await _write(params, bool(saved["enabled"]), stamp, world)
        return f"flag {params.flag} is {saved['enabled']} again"


async def _read(params: FlagParams, world: World) -> bool:
    url = f"{params.server}/flags/{params.flag}"
    status, _, text = await world.http.request("GET", url, headers={}, body="", timeout_seconds=_SECONDS)
    if status != _OK:
        raise PlanError(f"flag {params.flag} cannot be read: the service answered {status}")
    return bool(json.loads(text)["enabled"])


async def _write(params: FlagParams, enabled: bool, stamp: Stamp, world: World) -> None:
    status, _, _ = await world.http.request(
        "PUT",
        f"{params.server}/flags/{params.flag}",
        headers={"Idempotency-Key": f"{stamp.execution}/{stamp.step}", "Content-Type": "application/json"},
        body=json.dumps({"enabled": enabled}),
        timeout_seconds=_SECONDS,
    )
    if status != _OK:
        raise StepFailed(f"flag {params.flag} was not set: the service answered {status}")
