"""Tries that were denied, told to the audit trail. When it is away the answer stays no."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from safety.access import Actor, Denied
from safety.trail import SYSTEM, Entry, EntryKind

log = structlog.get_logger(__name__)

_SECONDS = 20.0


class Trail(Protocol):
    """The part of the audit trail that is needed."""

    async def append(self, tenant: str, entries: Sequence[Entry]) -> None:
        """Write entries."""
        ...


async def tell_denial(trail: Trail, entry: str, actor: Actor, denied: Denied) -> None:
    """Write a denied try; when it cannot be written, the log has it.

    Args:
        trail: of the installation.
        entry: the entry point, such as ``rb pause``.
        actor: who tried.
        denied: what was missing.
    """
    facts = {"permission": denied.permission.value, "scope": str(denied.scope), "person": actor.person}
    told = Entry(EntryKind.DENIED, entry, actor.key, denied.reason, facts)
    try:
        async with asyncio.timeout(_SECONDS):
            await trail.append(SYSTEM, [told])
    except Exception as error:  # noqa: BLE001 - whatever keeps the record away, the answer stays no
        log.warning("access.denial_not_told", entry=entry, actor=actor.key, error=str(error) or type(error).__name__)
