"""Versions of runbooks in memory, with the graph's behaviour; how each did is read from a memory store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from fakes.memory_store import MemoryStore

from executor.model import Outcome, Status, Verdict
from services.graph.errors import GraphUnavailable
from services.versions import RunbookRollback, VersionRecord, VersionText

_EVER = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryVersions:
    """Implements ``services.versions.VersionStore``.

    Attributes:
        away: nothing is answered.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.away = False
        self.known: dict[tuple[str, str], VersionText] = {}
        self.standing: dict[tuple[str, str], tuple[str, str]] = {}
        self.taken: list[RunbookRollback] = []

    def keep(self, text: VersionText) -> None:
        """As the ledger keeps the text of what a decision uses."""
        self.known.setdefault((text.id, text.sha), text)

    def _answer(self) -> None:
        if self.away:
            raise GraphUnavailable("the graph does not answer")
        for held in self.store.decisions.values():
            use, ran = held.record.runbook, held.record.execution
            if use and ran:
                self.keep(VersionText(use.id, use.sha, use.version, use.text))

    async def records(self, runbook_ids: Sequence[str]) -> Sequence[VersionRecord]:
        self._answer()
        found = [self._record(known) for known in self.known.values() if known.id in runbook_ids]
        found.sort(key=lambda record: record.sha)
        found.sort(key=lambda record: record.last_used_at or record.first_used_at or _EVER, reverse=True)
        return tuple(sorted(found, key=lambda record: record.id))

    def _record(self, known: VersionText) -> VersionRecord:
        runs = [
            held.record
            for held in self.store.executions.values()
            if (held.record.plan.runbook_id, held.record.plan.runbook_sha) == (known.id, known.sha)
        ]
        over = [
            run for run in runs if run.status is Status.DONE and run.started_at and run.outcome is not Outcome.ABORTED
        ]
        failed = [
            run
            for run in over
            if run.verdict is Verdict.NOT_FIXED or (run.verdict is None and run.outcome is not Outcome.SUCCESS)
        ]
        times = [run.requested_at for run in runs if run.requested_at]
        standing, why = self.standing.get((known.id, known.sha), ("", ""))
        return VersionRecord(
            id=known.id,
            sha=known.sha,
            version=known.version,
            has_text=bool(known.text),
            standing=standing,
            standing_why=why,
            first_used_at=min(times, default=_EVER),
            last_used_at=max(times, default=None),
            executions=len(runs),
            ended=len(over),
            verified=sum(run.verdict is Verdict.VERIFIED for run in over),
            failed=len(failed),
        )

    async def texts(self, sha: str, runbook_id: str = "") -> Sequence[VersionText]:
        self._answer()
        return tuple(
            self.known[key] for key in sorted(self.known) if key[1].startswith(sha) and runbook_id in {"", key[0]}
        )

    async def rollbacks(self) -> Sequence[RunbookRollback]:
        self._answer()
        return tuple(sorted(self.taken, key=lambda one: (one.runbook_id, one.from_sha)))

    async def roll_back(self, rollback: RunbookRollback) -> None:
        self._answer()
        same = (rollback.runbook_id, rollback.from_sha)
        self.taken = [one for one in self.taken if (one.runbook_id, one.from_sha) != same]
        self.taken.append(replace(rollback, at=datetime.now(UTC)))

    async def lift(self, runbook_id: str, by: str, reason: str) -> int:
        self._answer()
        left = [one for one in self.taken if one.runbook_id != runbook_id]
        lifted, self.taken = len(self.taken) - len(left), left
        return lifted

    async def settle(self, runbook_id: str, sha: str, standing: str, why: str) -> str:
        self._answer()
        if (runbook_id, sha) not in self.known:
            return ""
        return self.standing.setdefault((runbook_id, sha), (standing, why))[0]
