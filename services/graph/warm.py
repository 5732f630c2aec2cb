"""Lets the server plan every query before the first incident needs it.

A server that was just started compiles each query at its first use, which takes seconds altogether; that would be the
first incident's delay. Here each runs once with nothing to do, in a transaction that is rolled back.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

from neo4j import WRITE_ACCESS

from cypher import loader
from services.graph.connect import Graph
from services.graph.errors import translation
from services.graph.journal import ALL_HELD, JOURNAL
from services.graph.ledger import TOGETHER
from services.graph.permits import CLAIM, CLAIMED
from services.graph.schedules import NOTHING_NEW

_SIDE_BY_SIDE = 4
_NAMED = re.compile(r"\$(\w+)")
_TIMES = frozenset({"now", "since", "moment", "at"})
_LISTS = frozenset(
    {
        "rows",
        "asked",
        "audit",
        "audit_append",
        "ids",
        "keys",
        "rids",
        "alert_keys",
        "alerts",
        "events",
        "symptoms",
        "fingerprints",
        "touched",
        "statuses",
        "severities",
        "files",
        "skip",
    }
)
_PREFIXES = ("schema_", "orphans_", "backup_", "restore_")
_OF_COMMANDS = frozenset(
    f"executions_{name}" for name in ("abort", "hand_on", "held", "named", "prunable", "prune", "states")
)
"""What only people ask for can wait for its plan."""
_MAPS = frozenset({"facts", "climber", "standing", "move", "token"})
_NUMBERS = frozenset(
    {
        "limit",
        "lease_ms",
        "window_ms",
        "memory_ms",
        "since_ms",
        "unclaimed_ms",
        "hold_seconds",
        "per_symptom",
        "version",
        "revision",
        "expected",
        "format",
    }
)


async def warm(graph: Graph) -> int:
    """Run every query once, with nothing to do.

    Returns:
        How many statements there are.

    Raises:
        GraphUnavailable: the server did not answer.
    """
    slots = asyncio.Semaphore(_SIDE_BY_SIDE)
    told = {"schedules_arm": NOTHING_NEW}
    elsewhere = {*TOGETHER, *JOURNAL, CLAIM, *told}
    elsewhere |= _OF_COMMANDS
    alone = [name for name in loader.query_names() if not name.startswith(_PREFIXES) and name not in elsewhere]
    composed = [loader.together((*TOGETHER, "audit_append")), loader.told(JOURNAL, ALL_HELD)]
    composed += [loader.told((CLAIM,), CLAIMED, apart=True)]
    composed += [loader.told((name,), holds) for name, holds in told.items()]

    async def one(text: str) -> None:
        async with slots:
            await _once(graph, text)

    with translation():
        await asyncio.gather(*(one(loader.query(name)) for name in alone), *(one(text) for text in composed))
    return len(alone) + len(composed)


async def _once(graph: Graph, text: str) -> None:
    async with graph.driver.session(database=graph.database, default_access_mode=WRITE_ACCESS) as session:
        transaction = await session.begin_transaction()
        try:
            result = await transaction.run(text, {name: _nothing(name) for name in _NAMED.findall(text)})
            await result.consume()
        finally:
            await transaction.rollback()


def _nothing(name: str) -> Any:
    """A value of the parameter's type that finds nothing."""
    if name in _LISTS or name in TOGETHER or name in JOURNAL:
        return []
    if name in _TIMES:
        return datetime.now(UTC)
    if name in _NUMBERS:
        return 1
    if name in _MAPS:
        return {}
    return {"paused": False, "open": False, "strict": False, "untagged": False}.get(name, "")
