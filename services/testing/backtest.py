"""What would have been different: recorded incidents against changed runbooks."""

from __future__ import annotations

import gc
import os
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from multiprocessing import get_context

import orjson

from runbooks.model import LoadedRunbook
from safety.policy import PolicySettings
from services.testing.gatesim import GateSimulation
from services.testing.proposing import Answer, Kind, Knobs, Proposed, Proposer

_CHUNK = 400
_FEW = 2 * _CHUNK
"""Fewer incidents than this are done at once here: starting processes would take longer."""


class Difference(StrEnum):
    """In which way an incident would have gone differently."""

    GAINED = "gained"
    """No runbook answered; now one does."""
    LOST = "lost"
    """A runbook answered; now none does."""
    OTHER_RUNBOOK = "other-runbook"
    """Another runbook answers."""
    LET_THROUGH = "let-through"
    """It did not run by itself; now it would."""
    REFUSED = "refused"
    """It ran, or a human was asked; now it would be refused or fail to be planned."""
    ASKED = "asked"
    """A human would be asked who was not asked before."""
    PLAN = "changed-plan"
    """The plan does something else to the world."""
    UNKNOWN = "cannot-replan"
    """It cannot be said, because what it depends on was not recorded."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One incident that would have gone differently."""

    incident: str
    decision: str
    target: str
    at: datetime
    differences: tuple[Difference, ...]
    before: Answer
    after: Answer

    def as_json(self) -> Mapping[str, object]:
        """For machines."""
        return {
            "incident": self.incident,
            "decision": self.decision,
            "target": self.target,
            "at": self.at.isoformat(),
            "differences": [one.value for one in self.differences],
            "before": _told(self.before),
            "after": _told(self.after),
        }


def _told(answer: Answer) -> Mapping[str, object]:
    return {
        "kind": answer.kind.value,
        "runbook": answer.runbook,
        "version": answer.version,
        "check": answer.check,
        "message": answer.message,
        "effects": None if answer.effects is None else list(answer.effects),
    }


@dataclass(slots=True)
class Backtest:
    """The result.

    Attributes:
        incidents: how many were replayed.
        assumed_run_times: executions that never ran then, whose length was taken from their runbook's last run.
    """

    incidents: int = 0
    unchanged: int = 0
    assumed_run_times: int = 0
    findings: list[Finding] = field(default_factory=list)

    def counts(self) -> Mapping[str, int]:
        """How many incidents show each difference."""
        return {kind.value: sum(kind in one.differences for one in self.findings) for kind in Difference}


def differences(before: Answer, after: Answer) -> tuple[Difference, ...]:
    """In which ways two answers differ."""
    found: list[Difference] = []
    if after.kind is Kind.UNKNOWN:
        found += [Difference.GAINED] if before.kind is Kind.NO_MATCH else []
        found += [] if before.kind is Kind.UNKNOWN else [Difference.UNKNOWN]
    elif before.kind is not after.kind:
        found += _other_kind(before.kind, after.kind)
    if before.runbook and after.runbook and before.runbook != after.runbook:
        found.append(Difference.OTHER_RUNBOOK)
    if None not in (before.effects, after.effects) and before.effects != after.effects:
        found.append(Difference.PLAN)
    return tuple(dict.fromkeys(found))


def _other_kind(before: Kind, after: Kind) -> list[Difference]:
    found: list[Difference] = []
    if Kind.NO_MATCH in (before, after):
        found.append(Difference.GAINED if before is Kind.NO_MATCH else Difference.LOST)
    if after is Kind.PERMIT:
        found.append(Difference.LET_THROUGH)
    if after is Kind.APPROVAL:
        found.append(Difference.ASKED)
    stopped = (Kind.REFUSAL, Kind.PLAN_FAILED)
    if after in stopped and before not in (*stopped, Kind.NO_MATCH):
        found.append(Difference.REFUSED)
    return found


def compare(
    proposals: Iterable[Proposed],
    policy: PolicySettings,
    head: Head,
    base: Iterable[Proposed] | None = None,
    since: datetime | None = None,
) -> Backtest:
    """Ask the gate about every incident in turn, and keep what came out differently.

    Args:
        proposals: in the order of their times.
        policy: the gate's own limits.
        head: with the pauses of that time.
        base: the same incidents with another set of runbooks, to compare with instead of with what was recorded.
        since: earlier incidents fill the gate's memory, and are not reported.
    """
    result = Backtest()
    gate, base_gate = GateSimulation(policy), GateSimulation(policy)
    others = iter(base) if base is not None else None
    for proposed in proposals:
        paused = proposed.paused or head.paused(proposed.at)
        after = gate.answer(proposed, paused=paused)
        before = base_gate.answer(next(others), paused=paused) if others is not None else proposed.recorded
        if since is not None and proposed.at < since:
            continue
        result.incidents += 1
        if found := differences(before, after):
            result.findings.append(_finding(proposed, found, before, after))
        else:
            result.unchanged += 1
    result.assumed_run_times = gate.assumed
    return result


def _finding(proposed: Proposed, found: tuple[Difference, ...], before: Answer, after: Answer) -> Finding:
    return Finding(proposed.incident, proposed.decision, proposed.target, proposed.at, found, before, after)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker needs to match and plan; paths and texts, so that it can travel to another process."""

    runbooks: Sequence[LoadedRunbook]
    versions: Mapping[tuple[str, str], str]
    knobs: Knobs


def propose_all(lines: Iterable[bytes], setup: Setup, *, processes: int | None = None) -> Iterator[Proposed]:
    """Match and plan every line, in order, on all cores."""
    rest = iter(lines)
    first = list(islice(rest, _FEW))
    count = processes or os.cpu_count() or 1
    if len(first) < _FEW or count == 1:
        proposer = _proposer(setup)
        while first:
            yield from proposer.propose(first)
            first = list(islice(rest, _CHUNK))
        proposer.close()
        return
    # Not fork: this process may hold threads of drivers.
    with ProcessPoolExecutor(count, get_context("spawn"), initializer=_start, initargs=(setup,)) as pool:
        waiting: deque[Future[list[Proposed]]] = deque(
            pool.submit(_propose, first[start : start + _CHUNK]) for start in range(0, len(first), _CHUNK)
        )
        while waiting:
            # A few chunks ahead keep every core busy; all of them would hold the whole file in memory.
            while len(waiting) < 3 * count and (chunk := list(islice(rest, _CHUNK))):
                waiting.append(pool.submit(_propose, chunk))
            yield from waiting.popleft().result()


_RARELY = 50_000
_here: Proposer | None = None
"""This worker process's own."""


def _start(setup: Setup) -> None:
    global _here  # noqa: PLW0603 - the one thing that a worker process is made for
    _here = _proposer(setup)
    # What is loaded by now stays; looking through it for rubbish again and again would only cost time.
    gc.freeze()
    gc.set_threshold(_RARELY)


def _propose(lines: Sequence[bytes]) -> list[Proposed]:
    if _here is None:
        raise RuntimeError("the worker was not started")
    return _here.propose(lines)


def _proposer(setup: Setup) -> Proposer:
    from services.plugins import all_actions  # noqa: PLC0415 - made in each process

    return Proposer(setup.runbooks, setup.versions, all_actions(), setup.knobs)


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the incidents of a file.

    Attributes:
        versions: runbook texts by id and sha.
        pauses: when the pause switch was moved, and whether it was on from then on; oldest first.
    """

    versions: Mapping[tuple[str, str], str]
    pauses: Sequence[tuple[datetime, bool]]

    def paused(self, moment: datetime) -> bool:
        """Whether automation was paused."""
        at = bisect_right(self.pauses, moment, key=lambda position: position[0])
        return at > 0 and self.pauses[at - 1][1]


def opened(lines: Iterable[tuple[str, bytes]]) -> tuple[Head, Iterator[bytes]]:
    """What stands at the beginning of a file, and the incidents that follow."""
    texts: dict[tuple[str, str], str] = {}
    pauses: list[tuple[datetime, bool]] = []
    rest = iter(lines)
    first: list[bytes] = []
    for kind, line in rest:
        if kind == "incident":
            first.append(line)
            break
        told = orjson.loads(line)
        if kind == "runbook":
            texts[told["id"], told["sha"]] = told["text"]
        else:
            pauses.append((datetime.fromisoformat(told["at"]), bool(told["paused"])))
    return Head(texts, pauses), _incidents(first, rest)


def _incidents(first: list[bytes], rest: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
    yield from first
    yield from (line for kind, line in rest if kind == "incident")
