"""When a version on trial is proven, and when it has failed: from counts alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from runbooks.rollout import Rollout

_Z = 1.959964
"""Two-sided 95 %."""
PROMOTED, DEMOTED = "promoted", "demoted"


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the executions of a version that were carried through.

    Attributes:
        failed: those that failed or did not fix anything; what nobody could tell is neither verified nor failed.
    """

    ended: int = 0
    verified: int = 0
    failed: int = 0

    @property
    def rate(self) -> float:
        """Verified, of all that ended."""
        return self.verified / self.ended if self.ended else 0.0


def wilson_lower(verified: int, ended: int) -> float:
    """The lower end of what the true rate may be (Wilson's interval, 95 %); 0 where nothing is known."""
    if not ended:
        return 0.0
    rate, square = verified / ended, _Z * _Z
    middle = rate + square / (2 * ended)
    margin = _Z * sqrt((rate * (1 - rate) + square / (4 * ended)) / ended)
    return max(0.0, (middle - margin) / (1 + square / ended))


def judge(rollout: Rollout, new: Counts, before: Counts | None) -> tuple[str, str]:
    """Whether the trial of a version is over, and why; an empty verdict while it lasts.

    Args:
        rollout: the rules of the new version.
        new: what became of it so far.
        before: of the version that it would replace; None when there is none.
    """
    if new.failed >= rollout.max_failures:
        return DEMOTED, f"{new.failed} of {new.ended} executions failed, {rollout.max_failures} end the trial"
    told = f"{new.verified} of {new.ended} executions verified"
    if new.verified < rollout.min_successes:
        return "", f"{told}, {rollout.min_successes} prove it"
    least = wilson_lower(before.verified, before.ended) if before else 0.0
    if new.rate < least:
        return "", f"{told}, the version before it reaches at least {least:.0%}"
    return PROMOTED, f"{told}, at least {least:.0%} was needed"
