"""From observations to a verdict: a pure function."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from executor.health import Failure, Reading
from executor.model import Verdict

_ENOUGH_FAILURES = 2


@dataclass(frozen=True, slots=True)
class Observation:
    """A reading with its time.

    Attributes:
        at: when the look was over.
        reading: of the target, and of what else the runbook wants to be true.
        watched: whether the condition of each rollback trigger holds; None when it cannot be read.
        target: whether the target alone was well.
    """

    at: datetime
    reading: Reading
    watched: tuple[bool | None, ...] = ()
    target: bool | None = None


def judge(observations: Sequence[Observation], settle: timedelta, now: datetime, deadline: datetime) -> Verdict | None:
    """What the observations say, or None when it is too early to tell.

    - ``verified``: every look of the last ``settle`` found the target healthy, and there was a look at its start.
    - ``not_fixed``: unhealthy at the deadline; before it only with proof: the controller gave up, or a container of
      the current revision died again for the same reason.
    - ``inconclusive``: at the deadline nothing could be read, or nothing was there that could prove anything.

    A target that became healthy shortly before the deadline may finish its settle time.

    Args:
        observations: oldest first.
        settle: how long the target must stay healthy without a break; a look that found nothing is a break.
        now: the time of judging.
        deadline: when waiting ends.
    """
    if not observations:
        return Verdict.INCONCLUSIVE if now >= deadline else None
    latest = observations[-1].reading
    if latest.proof or (latest.healthy is False and _died_again(observations)):
        return Verdict.NOT_FIXED
    since = healthy_since(observations)
    if since is not None:
        return Verdict.VERIFIED if observations[-1].at - since >= settle else None
    if now < deadline:
        return None
    return Verdict.NOT_FIXED if latest.healthy is False else Verdict.INCONCLUSIVE


def healthy_since(observations: Sequence[Observation]) -> datetime | None:
    """When the unbroken run of healthy looks began that lasts until now; None when there is none."""
    since = None
    for observation in reversed(observations):
        if observation.reading.healthy is not True:
            break
        since = observation.at
    return since


def _died_again(observations: Sequence[Observation]) -> bool:
    deaths: dict[tuple[str, str], set[Failure]] = defaultdict(set)
    for observation in observations:
        for failure in observation.reading.failures:
            deaths[failure.container, failure.reason].add(failure)
    return any(len(found) >= _ENOUGH_FAILURES for found in deaths.values())


def with_restarts(previous: Reading | None, reading: Reading) -> Reading:
    """The reading, unhealthy when a container restarted since the previous look, however well it looks now."""
    if previous is None or not reading.healthy:
        return reading
    restarted = [name for name, count in reading.restarts.items() if count > previous.restarts.get(name, count)]
    if not restarted:
        return reading
    return Reading(
        healthy=False,
        detail=f"{', '.join(sorted(restarted)[:3])} restarted",
        rolled_out=reading.rolled_out,
        restarts=reading.restarts,
        failures=reading.failures,
    )
