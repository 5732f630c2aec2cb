"""Series of measurements, and what is said of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Summary:
    """A series in five numbers, all in the unit of the series. ``missing``: measurements that never came."""

    count: int
    p50: float
    p90: float
    p99: float
    worst: float
    missing: int = 0

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 3) for name, value in asdict(self).items()}


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that ``share`` of the series does not exceed (nearest rank); the series is sorted.

    Raises:
        ValueError: there are no measurements.
    """
    if not ordered:
        raise ValueError("nothing was measured")
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]


def summary(values: Iterable[float], missing: int = 0) -> Summary:
    """Sum up a series."""
    ordered = sorted(values)
    if not ordered:
        nothing = float("nan")
        return Summary(0, nothing, nothing, nothing, nothing, missing)
    return Summary(
        len(ordered),
        percentile(ordered, 0.5),
        percentile(ordered, 0.9),
        percentile(ordered, 0.99),
        ordered[-1],
        missing,
    )


def middle(rounds: Sequence[Summary]) -> Summary:
    """The median of each number over the rounds: one disturbed round does not speak for all."""
    return Summary(
        round(statistics.median(one.count for one in rounds)),
        statistics.median(one.p50 for one in rounds),
        statistics.median(one.p90 for one in rounds),
        statistics.median(one.p99 for one in rounds),
        max(one.worst for one in rounds),
        sum(one.missing for one in rounds),
    )
