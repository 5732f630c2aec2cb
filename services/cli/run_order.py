"""How ``rb run`` asks for a runbook, and hears what becomes of it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from services.cli import runtime
from services.cli.runtime import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.cli.run_show import Screen
    from services.following import Seen
    from services.intake.run_request import RunRequest
    from services.settings import Settings

_POLL_SECONDS = 0.25
_SILENCE_SECONDS = 5.0
"""After so long without a message the record is looked at: messages can be lost, the record cannot."""


def order(request: RunRequest, settings: Settings, shown: Screen, patience: float | None) -> Seen | None:
    """Put the request on Kafka; what became of it when somebody waits for that, else None."""
    from services.kafka.model import Outbound  # noqa: PLC0415 - keeps rb --help quick
    from services.kafka.tail import Tail, publish_once  # noqa: PLC0415 - as above
    from services.kafka.topics import ensure_topics  # noqa: PLC0415 - as above

    kafka, topics = settings.kafka, settings.kafka.topics
    listened = (topics.decisions, topics.executions, topics.approvals)
    wanted = [topics.run_requests, *(listened if patience is not None else ())]
    runtime.run(
        ensure_topics(
            kafka.bootstrap_servers,
            wanted,
            client=kafka.client,
            create=kafka.create_topics,
            partitions=kafka.partitions,
        )
    )
    message = Outbound(topics.run_requests, request.key, request.value())
    if patience is None:
        publish_once(kafka.bootstrap_servers, kafka.client, message)
        return None
    tail = Tail(kafka.bootstrap_servers, kafka.client, listened)  # first: nothing that follows may be missed
    try:
        publish_once(kafka.bootstrap_servers, kafka.client, message)
        with shown:
            return _followed(request, tail.poll, lambda seen: _recorded(seen, settings), shown, patience)
    finally:
        tail.close()


def _followed(
    request: RunRequest,
    poll: Callable[[float], bytes | None],
    look: Callable[[Seen], Seen],
    shown: Screen,
    patience: float,
) -> Seen:
    """Take in messages until the end; in a silence, look at the record."""
    from services.following import Seen, take  # noqa: PLC0415 - keeps rb --help quick

    seen = Seen(request.request_id)
    shown.update(seen)
    end, silent_since = time.monotonic() + patience, time.monotonic()
    while not seen.done:
        if time.monotonic() > end:
            why = f"no end within {patience:g} s; it goes on (rb explain {request.request_id})"
            raise CommandError(f"{request.request_id}: {why}")
        value = poll(_POLL_SECONDS)
        after = seen
        if value is not None:
            after = take(seen, _read(value))
        if after == seen and time.monotonic() - silent_since > _SILENCE_SECONDS:
            after, silent_since = look(seen), time.monotonic()
        if after != seen:
            seen, silent_since = after, time.monotonic()
            shown.update(seen)
    return seen


def _read(value: bytes) -> Mapping[str, Any]:
    """A message; what is none of ours says nothing."""
    import orjson  # noqa: PLC0415 - keeps rb --help quick

    with suppress(orjson.JSONDecodeError):
        found = orjson.loads(value)
        if isinstance(found, dict):
            return found
    return {}


def _recorded(seen: Seen, settings: Settings) -> Seen:
    """What the graph knows more; when it is away, nothing."""
    from executor.errors import RemediationError  # noqa: PLC0415 - keeps rb --help quick
    from services.following import from_record  # noqa: PLC0415 - as above
    from services.graph.ledger import Neo4jDecisionLedger  # noqa: PLC0415 - as above

    async def work() -> Seen:
        async with runtime.open_graph(settings) as graph:
            ledger = Neo4jDecisionLedger(graph, settings.matching.default_tenant)
            for story in await ledger.find(seen.request_id, 10):
                if story.decision.signal.event_id == seen.request_id:
                    return from_record(seen, story)
        return seen

    try:
        return runtime.run(work())
    except RemediationError:
        return seen
