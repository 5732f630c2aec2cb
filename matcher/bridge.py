"""When to look again for a cause that is not in the graph yet.

Edges can land after the alert, so a signal without a cause is asked about again, after 1, 2, 4, ... seconds. The last
look is at the deadline itself; after it the decision is ``no_cause``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class BackOff:
    """The schedule of looks.

    Attributes:
        first: pause before the first repeated look.
        factor: by how much each pause is longer than the one before; at least 1.
        longest: no pause is longer.
        deadline: how long after the first sight of the signal the last look is.
    """

    first: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    longest: timedelta = timedelta(seconds=30)
    deadline: timedelta = timedelta(minutes=2)

    def __post_init__(self) -> None:
        if self.first <= timedelta(0) or self.factor < 1 or self.longest < self.first or self.deadline < timedelta(0):
            raise ValueError("a back-off needs first > 0, factor >= 1, longest >= first and deadline >= 0")


DEFAULT = BackOff()


def next_check(first_seen: datetime, attempt: int, now: datetime, schedule: BackOff = DEFAULT) -> datetime | None:
    """When to look for the cause again.

    Args:
        first_seen: when the signal reached us.
        attempt: how many looks there were before this one; 0 after the look on arrival.
        now: the time of the look that found nothing.
        schedule: pauses and deadline.

    Returns:
        The next time, never after the deadline; None when the deadline has passed and the answer is ``no_cause``.
    """
    deadline = first_seen + schedule.deadline
    if now >= deadline:
        return None
    return min(now + _pause(attempt, schedule), deadline)


def _pause(attempt: int, schedule: BackOff) -> timedelta:
    pause = schedule.first
    for _ in range(max(attempt, 0)):
        pause *= schedule.factor
        if pause >= schedule.longest:
            return schedule.longest
    return pause
