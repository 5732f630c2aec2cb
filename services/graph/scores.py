"""What the graph knows of incidents and executions, for rating runbooks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from matcher.model import Incident
from services.graph.connect import Graph
from services.graph.values import moment

_PAGE = 2000
_INCIDENT: TypeAdapter[Incident] = TypeAdapter(Incident)


@dataclass(frozen=True, slots=True)
class Seen:
    """A recorded incident.

    Attributes:
        by_hand: seconds until its alert was over, when no execution of ours began; None when that is not known.
    """

    incident: Incident
    by_hand: float | None


@dataclass(frozen=True, slots=True)
class Ran:
    """Executions of one version of a runbook that began and were carried through."""

    runbook_id: str
    sha: str
    ended: int
    verified: int
    seconds: tuple[float, ...]


class Neo4jScores:
    """Reads what ``rb score`` rates with."""

    def __init__(self, graph: Graph, *, page: int = _PAGE) -> None:
        self._graph = graph
        self._page = page

    async def incidents(self, since: datetime, until: datetime) -> AsyncIterator[Seen]:
        """Incidents that were decided in this time; runbooks that were asked for by name are none."""
        start, last = since, ""
        while True:
            rows = await self._graph.read("score_incidents", since=start, after_id=last, until=until, limit=self._page)
            for row in rows:
                incident = _INCIDENT.validate_json(row["incident"])
                if incident.signal.run is None:
                    took = None if row["begun"] else _seconds(moment(row["opened_at"]), moment(row["closed_at"]))
                    yield Seen(incident, took)
            if len(rows) < self._page:
                return
            start, last = rows[-1]["decided_at"], rows[-1]["id"]

    async def executions(self, runbook_ids: Sequence[str], since: datetime) -> tuple[Ran, ...]:
        """Executions of these runbooks that were asked for since then, one for each version."""
        rows = await self._graph.read("score_executions", ids=sorted(set(runbook_ids)), since=since)
        return tuple(Ran(**{**row, "seconds": tuple(row["seconds"])}) for row in rows)


def _seconds(opened: datetime | None, closed: datetime | None) -> float | None:
    """The time between; none when either is missing or they stand the wrong way round (clocks of two senders)."""
    if opened is None or closed is None or closed < opened:
        return None
    return (closed - opened).total_seconds()
