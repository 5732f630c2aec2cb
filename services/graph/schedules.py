"""Schedules in the graph: up to when each was fired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from safety.trail import PIPELINE, Entry, EntryKind
from services.audit.trail import Neo4jTrail, Teller
from services.graph.connect import Graph, Row
from services.graph.errors import GraphRejected
from services.graph.values import instant
from services.schedule import Planned


class Neo4jScheduleState:
    """Implements ``services.schedule.ScheduleState``."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)

    async def arm(self, schedules: Sequence[Planned], now: datetime) -> Mapping[str, datetime]:
        """See the port."""
        rows = [{"key": one.key, "now": now, "facts": _facts(one)} for one in sorted(schedules, key=lambda s: s.key)]
        try:
            # Nearly always nothing is new; then one round trip will do, and there is nothing to tell.
            found = await self._trail.guarded(["schedules_arm"], {"rows": rows}, {}, NOTHING_NEW, strict=True)
        except GraphRejected:
            (found,) = await self._trail.telling(("schedules_arm", {"rows": rows}), tell=_Armed(schedules).tell)
        return {row["key"]: instant(row["last"]) for row in found}

    async def fired(self, key: str, at: datetime) -> None:
        """See the port."""

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            for row in results[0]:
                facts = {"runbook": row["runbook_id"], "time": at}
                teller.tell(row["tenant"], Entry(EntryKind.SCHEDULE_FIRED, key, PIPELINE, "", facts))

        await self._trail.telling(("schedules_fired", {"rows": [{"key": key, "at": at}]}), tell=tell)


NOTHING_NEW = "none(one IN told WHERE one.created)"


class _Armed:
    """Tells of schedules that were seen for the first time."""

    def __init__(self, schedules: Sequence[Planned]) -> None:
        self._by_key = {one.key: one for one in schedules}

    def tell(self, teller: Teller, results: list[list[Row]]) -> None:
        for row in results[0]:
            if row["created"]:
                one = self._by_key[row["key"]]
                teller.tell(one.tenant, Entry(EntryKind.SCHEDULE_ARMED, one.key, PIPELINE, "", _facts(one)))


def _facts(one: Planned) -> dict[str, str]:
    """What it is about, for people who look at the graph."""
    schedule = one.schedule
    return {
        "tenant": one.tenant,
        "cluster": one.cluster,
        "runbook_id": one.runbook,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
    }
