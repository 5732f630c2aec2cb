"""From what a writer says to what a threshold may mean.

KGroot's scores are weighted sums, not probabilities: their published average is 0.398 and no link reached 0.70, while
runbooks ask for 0.75 and more. A table for each writer maps the raw score to a confidence; between its knots it is
linear.

What the built-in numbers are, and are not: they place a score by *rank* in the published measurements and by the
ceiling of the writer's formula. No outcome of a remediation went into them. As soon as outcomes are known, put
measured tables into the settings.

A writer without a table keeps its raw score: an unknown writer is never trusted more than it trusts itself.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matcher.errors import BadTable


@dataclass(frozen=True, slots=True)
class Table:
    """A monotone, piecewise linear map from raw score to confidence.

    Attributes:
        knots: (raw, confidence), both 0 to 1, raw strictly rising from 0 to 1, confidence never falling.
        source: where the numbers come from, for people.
    """

    knots: tuple[tuple[float, float], ...]
    source: str

    def __post_init__(self) -> None:
        raws = [raw for raw, _ in self.knots]
        values = [value for _, value in self.knots]
        if any(not 0 <= number <= 1 for number in (*raws, *values)):
            raise BadTable("the numbers of a calibration table lie between 0 and 1")
        if not raws or raws[0] != 0 or raws[-1] != 1 or values[0] != 0:
            raise BadTable("a calibration table begins at (0, 0) and ends at raw score 1")
        if any(a >= b for a, b in pairwise(raws)) or any(a > b for a, b in pairwise(values)):
            raise BadTable("raw scores of a calibration table rise strictly, and confidences never fall")

    def at(self, raw: float) -> float:
        """The confidence for a raw score between 0 and 1."""
        right = min(bisect_right(self.knots, raw, key=lambda knot: knot[0]), len(self.knots) - 1)
        (raw_low, low), (raw_high, high) = self.knots[right - 1], self.knots[right]
        share = (raw - raw_low) / (raw_high - raw_low)
        return min(max(low + share * (high - low), low), high)


Tables = Mapping[str, Table]
"""Tables by writer."""

BUILT_IN: Tables = {
    "kgroot-live": Table(
        ((0.0, 0.0), (0.398, 0.45), (0.56, 0.75), (0.80, 0.90), (0.83, 0.92), (1.0, 0.92)),
        "rank, not outcome: 0.398 is the published average (a coin toss at best), about 0.56 the highest score "
        "measured in the field, 0.83 the ceiling of 0.3*temporal + 0.3/(hops+1) + 0.4*domain for two different "
        "resources; nothing above the ceiling earns more",
    ),
    "kgroot-enhanced_v1": Table(
        ((0.0, 0.0), (0.398, 0.40), (0.56, 0.65), (0.80, 0.85), (1.0, 0.95)),
        "rank, not outcome: the published average 0.398 and maximum 0.56 do not separate the writers, and "
        "0.4*temporal + 0.3*distance + 0.3*domain can reach 1; so the same score earns less than from kgroot-live",
    ),
}


def calibrate(raw: float | None, writer: str, tables: Tables = BUILT_IN) -> float:
    """The confidence, 0 to 1, that a writer's raw score stands for.

    Args:
        raw: what the writer said; None (NULL in the graph), NaN and anything outside 0 to 1 count as 0.
        writer: who said it; without a table its score stays as it is.
        tables: calibration by writer.
    """
    if raw is None or isinstance(raw, bool) or math.isnan(raw) or not 0 <= raw <= 1:
        return 0.0
    table = tables.get(writer)
    return float(raw) if table is None else table.at(float(raw))


def with_tables(own: Mapping[str, Sequence[Sequence[float]]], source: str = "settings") -> Tables:
    """The built-in tables, with the given ones in place of or beside them.

    Args:
        own: knots by writer, such as ``{"kgroot-live": [[0, 0], [0.5, 0.7], [1, 0.9]]}``.
        source: where the numbers come from, for people.

    Raises:
        BadTable: a table is not monotone or leaves 0 to 1.
    """
    tables = dict(BUILT_IN)
    for writer, knots in own.items():
        if any(len(knot) != 2 for knot in knots):  # noqa: PLR2004 - a knot is a pair
            raise BadTable(f"calibration of {writer}: each knot is a pair of raw score and confidence")
        try:
            tables[writer] = Table(tuple((float(raw), float(value)) for raw, value in knots), source)
        except BadTable as error:
            raise BadTable(f"calibration of {writer}: {error}") from error
    return tables
