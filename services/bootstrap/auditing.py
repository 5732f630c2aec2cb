"""The seals of the audit trail, and whose seals count."""

from __future__ import annotations

import structlog

from services.audit.books import BookFile
from services.audit.keys import TrustedKeys, open_key
from services.audit.sealing import Announce, Sealer
from services.bootstrap.parts import Parts
from services.graph.connect import Graph
from services.kafka.model import Outbound
from services.settings import Settings

log = structlog.get_logger(__name__)


def make_sealer(parts: Parts) -> Sealer:
    """Who seals the segments of this process.

    Raises:
        AuditMisconfigured: the key or the folder cannot be used.
    """
    topic = parts.settings.audit.topic
    writer = parts.graph.segments.writer = parts.holder

    async def announce(line: bytes) -> None:
        await parts.bus.publish([Outbound(topic, writer, line)])

    return open_sealer(parts.settings, parts.graph, announce if topic else None)


def open_sealer(settings: Settings, graph: Graph, announce: Announce | None = None) -> Sealer:
    """A sealer without Kafka, for commands; errors as of ``make_sealer``."""
    audit = settings.audit
    signer = open_key(audit.key)
    log.debug("audit.key", key=signer.key, book=str(audit.book))
    return Sealer(graph, BookFile(audit.book), signer, seconds=audit.anchor_seconds, announce=announce)


def trusted_keys(settings: Settings) -> TrustedKeys:
    """The keys whose anchors count: the own one and the named ones; errors as of ``make_sealer``."""
    audit = settings.audit
    own = [open_key(audit.key).key] if audit.key.exists() else []
    return TrustedKeys([*own, *audit.trusted_keys])
