"""Waiting for the world: look, sleep a little longer each time, give up in time with what was seen last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from executor import health
from executor.actions.base import World
from executor.errors import StepFailed, Temporary
from executor.model import PlannedStep
from executor.ports import KubeObject

_FIRST, _LONGEST, _FACTOR = 0.2, 2.0, 1.5
_MARGIN = 0.5


@dataclass(frozen=True, slots=True)
class Look:
    """One look at what is waited for.

    Attributes:
        reached: whether it holds.
        detail: what was seen, for people.
        hopeless: it will not come to hold by itself.
    """

    reached: bool
    detail: str
    hopeless: bool = False


def limit_of(asked: float | None, step: PlannedStep) -> float:
    """How long a step may wait, in seconds: as its author asked, and a little less than the runner allows.

    So it gives up by itself, and can say what was seen last.
    """
    longest = max(step.timeout_seconds - _MARGIN, 0.0)
    return longest if asked is None else min(asked, longest)


async def wait_for(
    what: str,
    look: Callable[[], Awaitable[Look]],
    timeout_seconds: float,
    world: World,
    *,
    poll: float | None = None,
    hold: float = 0.0,
) -> Look:
    """Look until it holds.

    Args:
        what: for people.
        look: reads; errors that may pass are waited out.
        timeout_seconds: from now.
        world: for its clock.
        poll: pause between looks; None for short ones that grow.
        hold: for so long it must hold in every look.

    Raises:
        StepFailed: it did not hold in time, or cannot any more; the text says what was seen last.
    """
    began, pause = world.clock.monotonic(), poll or _FIRST
    held_since: float | None = None
    while True:
        try:
            seen = await look()
        except Temporary as error:
            seen = Look(reached=False, detail=str(error))
        now = world.clock.monotonic()
        held_since = (now if held_since is None else held_since) if seen.reached else None
        if held_since is not None and now - held_since >= hold:
            return seen
        left = timeout_seconds - (world.clock.monotonic() - began)
        if seen.hopeless or left <= 0:
            long = f" for {hold:g} s" if seen.reached else ""
            when = "" if seen.hopeless else f"{long} within {timeout_seconds:g} s"
            raise StepFailed(f"{what} was not reached{when}: {seen.detail}")
        await world.clock.sleep(min(pause, left))
        pause = poll or min(pause * _FACTOR, _LONGEST)


def rollout(item: KubeObject | None, since: datetime, what: str) -> Look:
    """Whether a workload's rollout is complete and available."""
    if item is None:
        return Look(reached=False, detail=f"{what} does not exist", hopeless=True)
    seen = health.workload(item, since)
    if seen.healthy is None and seen.rolled_out:
        return Look(reached=True, detail=seen.detail)
    return Look(reached=bool(seen.healthy), detail=seen.detail, hopeless=seen.healthy is None or seen.proof)


def condition_of(item: KubeObject | None, kind: str, what: str) -> Look:
    """Whether a condition of the object (``Ready``, ``Available``) is true."""
    if item is None:
        return Look(reached=False, detail=f"{what} does not exist")
    meta, status = item["metadata"], item.get("status", {})
    if meta.get("deletionTimestamp"):
        return Look(reached=False, detail=f"{what} is being deleted")
    if status.get("observedGeneration", meta.get("generation")) != meta.get("generation"):
        return Look(reached=False, detail="the controller has not seen the latest change yet")
    for condition in status.get("conditions") or ():
        if str(condition.get("type", "")).lower() == kind.lower():
            told = " ".join(filter(None, (condition.get("reason"), condition.get("message"))))
            return Look(condition.get("status") == "True", f"{kind} is {condition.get('status')} {told}".strip())
    return Look(reached=False, detail=f"{what} reports no condition {kind}")
