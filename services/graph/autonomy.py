"""The ladder of autonomy in the graph: rungs, their history, and the executions that they are earned by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from safety.autonomy import Climber, Ended, Move, Rung, Standing
from safety.trail import Entry, EntryKind
from services.audit.trail import Neo4jTrail, Teller
from services.autonomy.ports import MoveMade, kind_of, result_of
from services.graph.connect import Graph, Row
from services.graph.values import instant, moment

_PAGE = 5000
_MOVE = uuid5(NAMESPACE_URL, "https://rootmend.dev/ids/autonomy-move")
_TIMES = ("judged_until", "counted_from", "forgiven_until")


class Neo4jAutonomy:
    """Implements ``services.autonomy.ports.AutonomyStore``."""

    def __init__(self, graph: Graph, *, page: int = _PAGE) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._page = page

    async def standings(self) -> Mapping[Climber, Standing]:
        """See the port."""
        rows = await self._graph.read("autonomy_standings")
        return {_climber(row["s"]): _standing(row["s"]) for row in rows}

    async def evidence(self, since: datetime) -> Sequence[tuple[Climber, Ended]]:
        """See the port; read in pages."""
        found: list[tuple[Climber, Ended]] = []
        start: Any = since
        last = ""
        while True:
            rows = await self._graph.read("autonomy_evidence", since=start, after_id=last, limit=self._page)
            found += [_ended(row) for row in rows]
            if len(rows) < self._page:
                return found
            start, last = rows[-1]["at"], rows[-1]["id"]

    async def move(self, move: Move) -> bool:
        """See the port; recorded together with its entry in the audit trail."""
        climber, standing = move.climber, move.standing
        parameters = {
            "id": str(
                uuid5(_MOVE, f"{climber.key}|{standing.revision}|{standing.rung}|{standing.by}|{standing.reason}")
            ),
            "key": climber.key,
            "revision": standing.revision,
            "climber": {"tenant": climber.tenant, "runbook": climber.runbook, "kind": climber.kind},
            "standing": {
                "rung": standing.rung.value,
                "by": standing.by,
                "reason": standing.reason,
                **{name: getattr(standing, name) for name in _TIMES},
            },
            "move": _told(move),
        }

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            if results[0] and results[0][0]["fresh"]:
                entry = Entry(EntryKind.AUTONOMY_CHANGED, climber.key, standing.by, standing.reason, _told(move))
                teller.tell(climber.tenant, entry)

        (rows,) = await self._trail.telling(("autonomy_move", parameters), tell=tell)
        return bool(rows)

    async def history(self, climbers: Sequence[Climber]) -> Sequence[MoveMade]:
        """See the port."""
        rows = await self._graph.read("autonomy_history", keys=[one.key for one in climbers])
        return [
            MoveMade(
                _climber(row["m"]),
                Rung(row["m"]["before"]),
                Rung(row["m"]["after"]),
                instant(row["m"]["at"]),
                row["m"]["by"],
                row["m"]["reason"],
                row["m"]["evidence"],
            )
            for row in rows
        ]


def _told(move: Move) -> dict[str, Any]:
    return {
        "before": move.before.value,
        "after": move.standing.rung.value,
        "by": move.standing.by,
        "reason": move.standing.reason,
        "evidence": str(move.tally),
        "ended": move.tally.ended,
        "verified": move.tally.verified,
        "against": move.tally.against,
        "lower": move.tally.lower,
    }


def _climber(row: Mapping[str, Any]) -> Climber:
    return Climber(row["tenant"], row["runbook"], row["kind"])


def _standing(row: Mapping[str, Any]) -> Standing:
    times = {name: moment(row.get(name)) for name in (*_TIMES, "since")}
    return Standing(Rung(row["rung"]), row["revision"], by=row["by"], reason=row["reason"], **times)


def _ended(row: Mapping[str, Any]) -> tuple[Climber, Ended]:
    climber = Climber(row["tenant"], row["runbook_id"], kind_of(row["target_key"]))
    return climber, Ended(row["id"], instant(row["at"]), result_of(row["outcome"], row["verdict"]))
