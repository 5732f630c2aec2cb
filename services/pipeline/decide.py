"""The decide path: from alerts to decisions, as values.

Each stage takes values and gives values; what a decision leads to (recording, publishing) is carried out by
``services.pipeline.commit`` afterwards. The one reservation that is made here, the gate's, lapses by itself when the
decision does not become durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from executor.ports import Clock, Hooks
from matcher import bridge
from matcher.calibration import BUILT_IN, Tables
from matcher.correlate import Joined, join_or_open
from matcher.diagnose import NOTHING_SELF_EVIDENT, SelfEvident, by_event, diagnose
from matcher.errors import LiveUnavailable
from matcher.fingerprint import decision_id, problem_of
from matcher.model import Cause, Diagnosis, Incident, NoMatch, Signal
from matcher.named import asked_for
from matcher.ports import CausalGraph
from matcher.select import Own, RunbookIndex
from matcher.target import NoTarget, TargetResolver
from services.pipeline.cases import (
    Case,
    Located,
    no_match_record,
    pending_id,
    record_of,
    repeat_of,
)
from services.pipeline.permit import Permits
from services.pipeline.proposals import Proposal
from services.pipeline.standing import (
    as_it_stands,
    is_counted,
    joined,
    never_begun,
    refused_for_now,
    settle_pending,
    split_asked,
    split_counted,
)
from services.pipeline.storms import StormWatch
from services.ports import DecisionLedger
from services.records import DecisionKind, DecisionRecord, DecisionState, OpenIncident, Repeat

log = structlog.get_logger(__name__)

Written = DecisionRecord | Repeat


@dataclass(frozen=True, slots=True)
class DecideSettings:
    """Knobs of the decide path.

    Attributes:
        window: a longer silence opens a new incident.
        max_age: an older incident takes no further signals.
        max_signal_age: an older message is history, not a reason to act.
        retry_refused: after so long, a repeat of an incident that was refused for now is decided again.
        tables: calibration by writer.
        alert_confidence: trust in an alert that a runbook or a mapping names as its own cause.
    """

    window: timedelta = timedelta(minutes=10)
    max_age: timedelta = timedelta(hours=6)
    max_signal_age: timedelta = timedelta(minutes=15)
    retry_refused: timedelta = timedelta(minutes=1)
    back_off: bridge.BackOff = bridge.DEFAULT
    tables: Tables = field(default_factory=lambda: BUILT_IN)
    self_evident: SelfEvident = NOTHING_SELF_EVIDENT
    alert_confidence: float = 0.9
    lookups: int = 32


@dataclass(frozen=True, slots=True)
class Looked:
    """What is read about alerts before they are decided.

    Attributes:
        states: where they stand already, by alert key.
        causes: what the graph says, by event id.
    """

    states: Mapping[str, DecisionState]
    causes: Mapping[str, tuple[Cause, ...]]


class Decider:
    """Decides cases.

    Args:
        runbooks: gives the current index; asked once for each batch, so that a batch sees one version.
        permits: plans what was matched and asks the gate.
        storms: counts causes; None counts nothing.
    """

    def __init__(
        self,
        *,
        graph: CausalGraph,
        targets: TargetResolver,
        runbooks: Callable[[], RunbookIndex],
        permits: Permits,
        ledger: DecisionLedger,
        clock: Clock,
        hooks: Hooks,
        settings: DecideSettings,
        storms: StormWatch | None = None,
    ) -> None:
        self._storms = storms
        self._graph = graph
        self._targets = targets
        self._runbooks = runbooks
        self._permits = permits
        self._ledger = ledger
        self._clock = clock
        self._hooks = hooks
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.lookups)

    async def look(self, cases: Sequence[Case]) -> Looked:
        """Read what cases are decided by; both at once. Raises GraphUnavailable."""
        states, causes = await asyncio.gather(self._open_decisions(cases), self._causes(cases))
        return Looked(states, causes)

    async def decide(self, cases: Sequence[Case], looked: Looked | None = None) -> list[Written]:
        """One decision or repeat for each case.

        Args:
            cases: alerts, or decisions that are taken up again.
            looked: what was read about them since the last decisions were recorded; None reads it now.

        Raises:
            GraphUnavailable: nothing was decided.
        """
        now = self._clock.now()
        looked = looked or await self.look(cases)
        known, causes, index = looked.states, looked.causes, self._runbooks()
        unread, written = split_counted(cases, known)
        unread, again = split_asked(unread, known)
        written += again
        fresh, stale = self._split_stale(unread, known, now)
        fresh = await self._answering(fresh, known, causes, index)
        located, pending = await self._locate_all(fresh, causes, now, index)
        written += stale
        written += settle_pending(pending, known, self._settings.window)
        opened, repeats = await self._correlate(located, now)
        written += repeats
        proposals, without = self._select(opened, now, index)
        written += without
        if self._storms:
            # First of all: of many causes that come at once none may run before they are counted.
            matched = [(one.match.incident, one.match.runbook.runbook.id) for one in proposals]
            await self._storms.causes(located, matched)
        decided = await self._permits.decide(proposals, now)
        if self._storms:
            await self._storms.refused(decided)
        return written + decided

    def _split_stale(
        self, cases: Sequence[Case], known: Mapping[str, DecisionState], now: datetime
    ) -> tuple[list[Case], list[Written]]:
        """Messages that are too old to act on: a new consumer group begins with the history of the topic."""
        limit = now - self._settings.max_signal_age
        fresh: list[Case] = []
        stale: list[Written] = []
        for case in cases:
            if case.waiting or case.signal.seen_at >= limit:
                fresh.append(case)
            elif state := known.get(case.signal.alert_key):
                stale.append(repeat_of(case, state.id))
            else:
                stale.append(self._stale(case, now))
        return fresh, stale

    def _stale(self, case: Case, now: datetime) -> DecisionRecord:
        return record_of(
            case,
            DecisionKind.REFUSAL,
            pending_id(case),
            now,
            check="stale_signal",
            message=f"the message is {(now - case.signal.seen_at).total_seconds():.0f} s old",
            numbers={"limit_seconds": self._settings.max_signal_age.total_seconds()},
        )

    async def _open_decisions(self, cases: Sequence[Case]) -> Mapping[str, DecisionState]:
        """Where the alerts of fresh cases stand already, by alert key."""
        keys = list(dict.fromkeys(case.signal.alert_key for case in cases if not case.waiting))
        return await self._ledger.open_alerts(keys) if keys else {}

    async def _causes(self, cases: Sequence[Case]) -> Mapping[str, tuple[Cause, ...]]:
        """What the graph says. It is asked once for the whole batch."""
        asked: dict[str, Signal] = {}
        for case in cases:
            if case.signal.run is not None:
                continue  # what is asked for by name needs no cause
            asked.setdefault(case.signal.event_id, case.signal)
            asked.setdefault(case.folded.last.event_id, case.folded.last)
        return await self._graph.causes_of(list(asked.values())) if asked else {}

    async def _answering(
        self,
        cases: Sequence[Case],
        known: Mapping[str, DecisionState],
        causes: Mapping[str, tuple[Cause, ...]],
        index: RunbookIndex,
    ) -> list[Case]:
        """A further delivery whose cause is known is the answer that the alert's waiting decision waits for."""
        answers: dict[int, tuple[DecisionState, Diagnosis]] = {}
        for number, case in enumerate(cases):
            state = None if case.waiting else known.get(case.signal.alert_key)
            if state and state.kind is DecisionKind.WAITING and (diagnosis := self._diagnosed(case, causes, index)):
                answers[number] = state, diagnosis
        if not answers:
            return list(cases)
        events = [(cases[number].signal.tenant, state.event_id) for number, (state, _) in answers.items()]
        waiting = {record.id: record for record in await self._ledger.waiting_for(events)}
        found = list(cases)
        for number, (state, diagnosis) in answers.items():
            if record := waiting.get(state.id):
                folded = replace(cases[number].folded, signal=record.signal, causes=diagnosis.causes)
                found[number] = Case(folded, record)
        return found

    async def _locate_all(
        self, cases: Sequence[Case], causes: Mapping[str, tuple[Cause, ...]], now: datetime, index: RunbookIndex
    ) -> tuple[list[Located], list[tuple[Case, DecisionRecord]]]:
        """Causes and targets."""
        found = await asyncio.gather(*(self._locate(case, causes, now, index) for case in cases))
        located = [one for one in found if isinstance(one, Located)]
        pending = [(c, one) for c, one in zip(cases, found, strict=True) if isinstance(one, DecisionRecord)]
        return located, pending

    def _diagnosed(
        self, case: Case, causes: Mapping[str, tuple[Cause, ...]], index: RunbookIndex, *, last: bool = False
    ) -> Diagnosis | None:
        """The causes of a case; an alert that is only suggested to be its own stands in when nothing else came."""
        if case.signal.run is not None:
            return asked_for(case.signal)
        events = dict.fromkeys((case.signal.event_id, case.folded.last.event_id))
        own = index.own(case.signal)
        alone = own is Own.YES or (own is Own.SUGGESTED and last)
        return diagnose(
            case.folded.received,
            by_event(causes, events),
            self._settings.tables,
            self._settings.self_evident,
            self._settings.alert_confidence if alone else None,
        )

    async def _locate(
        self, case: Case, causes: Mapping[str, tuple[Cause, ...]], now: datetime, index: RunbookIndex
    ) -> Located | DecisionRecord:
        last = bridge.next_check(case.first_seen, case.looks, now, self._settings.back_off) is None
        diagnosis = self._diagnosed(case, causes, index, last=last)
        if diagnosis is None:
            return self._wait(case, now, "no cause found", DecisionKind.NO_CAUSE, "diagnose")
        try:
            async with self._slots:
                target = await self._targets.resolve(diagnosis.causes[0], case.signal)
        except LiveUnavailable as error:
            return self._wait(case, now, str(error), DecisionKind.NO_TARGET, "target", causes=diagnosis.causes)
        if isinstance(target, NoTarget):
            return record_of(
                case,
                DecisionKind.NO_TARGET,
                pending_id(case),
                now,
                check="target",
                message=target.reason,
                causes=diagnosis.causes,
            )
        return Located(case, diagnosis, target)

    def _wait(
        self,
        case: Case,
        now: datetime,
        why: str,
        finally_: DecisionKind,
        check: str,
        *,
        causes: tuple[Cause, ...] = (),
    ) -> DecisionRecord:
        """Look again later, until the deadline."""
        number = pending_id(case)
        following = bridge.next_check(case.first_seen, case.looks, now, self._settings.back_off)
        if following is None:
            return record_of(
                case, finally_, number, now, check=check, message=why, attempt=case.looks + 1, causes=causes
            )
        return record_of(
            case,
            DecisionKind.WAITING,
            number,
            now,
            check=check,
            message=f"{why} so far",
            next_check_at=following,
            attempt=case.looks + 1,
            causes=causes,
            deadline=case.first_seen + self._settings.back_off.deadline,
        )

    async def _correlate(
        self, located: Sequence[Located], now: datetime
    ) -> tuple[list[tuple[Located, Incident, str, int]], list[Written]]:
        """Which cases open an incident (with decision id and attempt), and which repeat one."""
        if not located:
            return [], []
        prints = [problem_of(one.case.signal, one.cause, one.target) for one in located]
        known = await self._ledger.open_incidents(list(dict.fromkeys(prints)))
        opened: dict[str, tuple[Located, Incident, str, int]] = {}
        written: list[Written] = []
        for one, mark in zip(located, prints, strict=True):
            if mark in opened:
                written += joined(one, opened[mark][1], opened[mark][2], now)
                continue
            incident, number, attempt = self._incident(one, known.get(mark), now)
            if attempt:
                opened[mark] = (one, incident, number, attempt)
            else:
                written += joined(one, incident, number, now)
        return list(opened.values()), written

    def _incident(self, one: Located, known: OpenIncident | None, now: datetime) -> tuple[Incident, str, int]:
        """The incident of a case, its decision's id, and the attempt to decide (0: it stands decided)."""
        signal = one.case.signal
        if known and not one.case.waiting and is_counted(one.case.folded, known.taken):
            return as_it_stands(one, known), known.decision_id, 0
        ended = known.finished_at if known and signal.run is None else None
        if ended and signal.seen_at > ended + self._settings.window:
            known = None  # it came back, long enough after the last execution to be another story
        answer = join_or_open(
            signal,
            one.cause,
            one.target,
            known,
            self._settings.window,
            self._settings.max_age,
            count=one.case.folded.count,
            busy=known is not None and known.execution_id != "" and known.finished_at is None,
        )
        if isinstance(answer, Joined) and known is not None:
            return answer.incident, known.decision_id, self._attempt(one, known, now)
        number = one.case.waiting.id if one.case.waiting else decision_id(signal.tenant, answer.incident.id)
        return answer.incident, number, 1

    def _attempt(self, one: Located, known: OpenIncident, now: datetime) -> int:
        """Which attempt a repeat of a known incident begins; 0 when the incident stands decided.

        A refusal for now (paused, locked, cooling down, too many) is asked again after a while: the problem is still
        there. So is a permit that nobody claimed in time. Who asked for a runbook by name has the answer, and can ask
        again.
        """
        if one.case.signal.run is not None:
            return 0
        if not (refused_for_now(known) or never_begun(known)):
            return 0
        since = known.decided_at or known.last_seen
        return known.attempt + 1 if now - since >= self._settings.retry_refused else 0

    def _select(
        self, opened: Sequence[tuple[Located, Incident, str, int]], now: datetime, index: RunbookIndex
    ) -> tuple[list[Proposal], list[Written]]:
        proposals: list[Proposal] = []
        without: list[Written] = []
        for located, incident, number, attempt in opened:
            answer = index.select(incident)
            if isinstance(answer, NoMatch):
                without.append(no_match_record(located, answer, number, now))
            else:
                proposals.append(Proposal(located, answer, number, attempt))
        return proposals, without
