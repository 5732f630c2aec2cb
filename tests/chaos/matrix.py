"""Which kinds of steps are crashed at which failpoint: all that reach it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from executor.failpoints import BOUNDARIES, Failpoint
from tests.chaos.kinds import KINDS

ELSEWHERE: Mapping[Failpoint, str] = {
    Failpoint.PERMIT_ABORTED: "`test_a_death_after_a_permit_was_aborted_leaves_its_target_free`",
    Failpoint.TRIGGER_PUBLISHED: "`test_a_death_between_a_trigger_and_its_mark_fires_once`",
}
"""Failpoints that no incident reaches by itself within seconds, and the test that dies there."""

FIRST: Mapping[Failpoint, Sequence[Failpoint]] = {Failpoint.ADOPTED: (Failpoint.CLAIMED,)}
"""Where a process has to die first, so that the failpoint is reached at all: only an orphan is adopted."""

_ALL = tuple(KINDS)
_ASKED = ("webhook", "command", "approval")
_ONLY: Mapping[str, Sequence[str]] = {"approval": _ASKED, "question": ("question",), "rollback": ("rollback",)}
_EFFECTS = tuple(name for name in _ALL if name != "wait")
_SPECIAL: Mapping[Failpoint, Sequence[str]] = {Failpoint.STEP_PREPARED: _EFFECTS}


def _kinds(point: Failpoint) -> Sequence[str]:
    return _SPECIAL.get(point, _ONLY.get(BOUNDARIES[point].group, _ALL))


MATRIX: Mapping[Failpoint, Sequence[str]] = {point: _kinds(point) for point in Failpoint if point not in ELSEWHERE}
"""Names of kinds by failpoint, in the order in which an incident meets them."""
