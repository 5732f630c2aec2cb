"""Versions of runbooks in the graph."""

from __future__ import annotations

from collections.abc import Sequence

from safety.trail import PIPELINE, SYSTEM, Entry, EntryKind
from services.audit.trail import Neo4jTrail, Teller
from services.graph.connect import Graph, Row
from services.graph.values import moment
from services.versions import RunbookRollback, VersionRecord, VersionText

_TIMES = ("first_used_at", "last_used_at")


class Neo4jVersions:
    """Implements ``services.versions.VersionStore``."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)

    async def records(self, runbook_ids: Sequence[str]) -> Sequence[VersionRecord]:
        """See the port; one query."""
        if not runbook_ids:
            return ()
        rows = await self._graph.read("versions_of", ids=sorted(set(runbook_ids)))
        return tuple(VersionRecord(**{**row, **{key: moment(row[key]) for key in _TIMES}}) for row in rows)

    async def texts(self, sha: str, runbook_id: str = "") -> Sequence[VersionText]:
        """See the port."""
        return tuple(VersionText(**row) for row in await self._graph.read("version_texts", sha=sha, id=runbook_id))

    async def rollbacks(self) -> Sequence[RunbookRollback]:
        """See the port."""
        rows = await self._graph.read("version_rollbacks")
        return tuple(RunbookRollback(**{**row, "at": moment(row["at"])}) for row in rows)

    async def roll_back(self, rollback: RunbookRollback) -> None:
        """See the port; the time is the server's."""
        names = ("id", "runbook_id", "from_sha", "to_sha", "by", "reason")
        facts = {"rollback": rollback.id, "from_sha": rollback.from_sha, "to_sha": rollback.to_sha}
        kind = EntryKind.RUNBOOK_ROLLED_BACK
        told = Entry(kind, rollback.runbook_id, rollback.by, rollback.reason, facts)
        statement = ("version_roll_back", {name: getattr(rollback, name) for name in names})
        await self._trail.telling(statement, tell=lambda teller, _: teller.tell(SYSTEM, told))

    async def lift(self, runbook_id: str, by: str, reason: str) -> int:
        """See the port."""

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            if results[0]:
                facts = {"rollbacks": [row["id"] for row in results[0]]}
                teller.tell(SYSTEM, Entry(EntryKind.RUNBOOK_ROLLBACK_LIFTED, runbook_id, by, reason, facts))

        statement = ("version_lift", {"runbook_id": runbook_id, "by": by, "reason": reason})
        (rows,) = await self._trail.telling(statement, tell=tell)
        return len(rows)

    async def settle(self, runbook_id: str, sha: str, standing: str, why: str) -> str:
        """See the port."""
        parameters = {"id": runbook_id, "sha": sha, "standing": standing, "why": why}

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            if results[0] and results[0][0]["fresh"]:
                facts = {"sha": sha, "standing": standing}
                teller.tell(SYSTEM, Entry(EntryKind.RUNBOOK_SETTLED, runbook_id, PIPELINE, why, facts))

        (rows,) = await self._trail.telling(("version_settle", parameters), tell=tell)
        return str(rows[0]["standing"]) if rows else ""
