"""Asking the server, before the first change, whether it would take every one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from executor.actions.base import ActionTable, World
from executor.errors import Permanent, Temporary
from executor.model import Plan, PlannedStep
from executor.reasons import leaves
from executor.rendering import writes
from executor.settings import ExecutorSettings


async def refused_by_dry_run(plan: Plan, actions: ActionTable, world: World, settings: ExecutorSettings) -> str:
    """Why the server would not take one of the plan's writes; empty when it takes all, or none is asked for.

    What can only be rendered later cannot be asked; a human has approved that.
    """
    if not plan.dry_run_first:
        return ""
    for step in leaves(plan.steps):
        if writes(step) and not step.deferred:
            problem = await _asked(step, actions, world, settings)
            if problem:
                return f"dry run of {step.name!r} refused: {problem}"
    return ""


async def problems_by_dry_run(
    steps: Sequence[PlannedStep], actions: ActionTable, world: World, settings: ExecutorSettings
) -> Mapping[str, str]:
    """Why the server would not take a write, by the id of the step; what it takes is missing, as is what is no write.

    A write that can only be rendered later is not asked about, and is missing too.
    """
    found: dict[str, str] = {}
    for step in leaves(steps):
        if writes(step) and not step.deferred and (problem := await _asked(step, actions, world, settings)):
            found.setdefault(step.id, problem)
    return found


async def _asked(step: PlannedStep, actions: ActionTable, world: World, settings: ExecutorSettings) -> str:
    last = ""
    for attempt in range(settings.attempts):
        try:
            async with asyncio.timeout(step.timeout_seconds):
                await actions[step.action].dry_run(step, world)
        except (Temporary, TimeoutError) as error:
            last = str(error) or "the server does not answer"
            await world.clock.sleep(settings.backoff_seconds * 2**attempt)
        except Permanent as error:
            return str(error)
        else:
            return ""
    return last
