"""Breaks one invariant of the product, in a process of the tests, so that the checker can show that it would notice.

Nothing of this is reachable from the product.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

_COMMITTED_SECONDS = 1.0


def no_intents() -> None:
    """Invariant 3: the effect comes without its intent."""
    from services.graph.journal import Neo4jJournal  # noqa: PLC0415 - only in the process that is broken

    async def intend(*_: Any) -> None:
        """Nothing is written."""

    Neo4jJournal.intend = intend  # type: ignore[method-assign,assignment]


def commit_first() -> None:
    """Invariant 2: the offset is committed before anything is durable."""
    from services.kafka import bus  # noqa: PLC0415 - as above

    deliver = bus.KafkaBus._deliver

    async def hasty(self: Any, message: Any, handler: Any, settling: Any) -> None:
        raw = message.raw_message if isinstance(message.raw_message, tuple) else (message.raw_message,)
        settling._commit([(m.topic(), m.partition(), m.offset() + 1) for m in raw])
        await asyncio.sleep(_COMMITTED_SECONDS)  # the commit is on its way, and arrives
        await deliver(self, message, handler, settling)

    bus.KafkaBus._deliver = hasty  # type: ignore[method-assign]


def no_fence() -> None:
    """Invariant 4: a holder that lost its lease goes on, and its writes are taken."""
    from services.graph.journal import Neo4jJournal  # noqa: PLC0415 - as above
    from services.pipeline.act import Holding  # noqa: PLC0415 - as above

    write = Neo4jJournal._write

    async def check(*_: Any) -> None:
        """Everything may go on."""

    async def unfenced(self: Any, query: str, execution_id: str, *rest: Any) -> None:
        found = await self._graph.driver.execute_query(
            "MATCH (e:RunbookExecution {id: $id}) RETURN e.epoch AS epoch", {"id": execution_id}
        )
        await write(self, query, execution_id, found.records[0]["epoch"], *rest[1:])

    Holding.check = check  # type: ignore[method-assign,assignment]
    Neo4jJournal._write = unfenced  # type: ignore[method-assign]


BREAKS: Mapping[str, Callable[[], None]] = {"intent": no_intents, "commit": commit_first, "fence": no_fence}
