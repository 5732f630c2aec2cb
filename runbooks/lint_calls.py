"""Checks of runbooks that call other runbooks: only several files together show what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbooks.findings import Finding, did_you_mean
from runbooks.model import LoadedRunbook, Runbook
from runbooks.rules import finding
from runbooks.subject import Path, Subject

_CALLS = frozenset({"run_runbook", "runbook/run", "call_runbook"})
_NAMES = ("runbook", "runbook_id", "id")


def calls_of(runbook: Runbook) -> Mapping[str, Path]:
    """Ids of the runbooks that this one calls, with where it does; ids that are templates are not known before."""
    found: dict[str, Path] = {}
    for path, step in Subject(runbook).steps():
        for key in _NAMES if step.action in _CALLS else ():
            called = step.params.get(key)
            if isinstance(called, str) and "{{" not in called:
                found.setdefault(called, (*path, "params", key))
    return found


def check_calls(runbooks: Mapping[str, LoadedRunbook], *, complete: bool) -> Iterator[Finding]:
    """Calls of runbooks that do not exist, and runbooks that call each other.

    Args:
        runbooks: by id.
        complete: these are all that there are; else a called one may stand elsewhere.
    """
    calls = {id_: calls_of(loaded.runbook) for id_, loaded in runbooks.items()}
    reported: set[frozenset[str]] = set()
    for id_, called in calls.items():
        for other, path in called.items():
            if other not in runbooks:
                if complete:
                    advice = did_you_mean(other, runbooks.keys() - {id_})
                    yield _found(runbooks[id_], "RB219", f"there is no runbook {other}", path, advice)
            elif (ring := _back(calls, other, id_)) and frozenset(ring) not in reported:
                reported.add(frozenset(ring))
                yield _found(runbooks[id_], "RB223", f"these call each other: {' -> '.join((id_, *ring))}", path, "")


def _back(calls: Mapping[str, Mapping[str, Path]], start: str, wanted: str) -> tuple[str, ...]:
    """The way from one runbook to another by calls; empty when there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while ways:
        way = ways.pop(0)
        if way[-1] == wanted:
            return way
        for other in calls.get(way[-1], {}):
            if other not in seen:
                seen.add(other)
                ways.append((*way, other))
    return ()


def _found(loaded: LoadedRunbook, code: str, message: str, path: Path, advice: str) -> Finding:
    position = Subject(loaded.runbook, loaded.lines).at(path)
    return finding(code, message, position, advice=advice).at(loaded.path)
