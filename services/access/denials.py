"""Tries that were denied, told to the audit trail. When it is away the answer stays no."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from executor.ports import Clock
from safety.access import Actor, Denied
from safety.trail import SYSTEM, Entry, EntryKind

log = structlog.get_logger(__name__)

NOBODY = "unproven"
"""The actor of a try whose sender proved nothing; whom it claims to be from stands in its facts."""
MOST_A_MINUTE = 30
_MINUTE = 60.0
_SECONDS = 20.0
_LONGEST = 200


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


@dataclass(frozen=True, slots=True)
class Try:
    """Something that somebody tried in vain.

    Attributes:
        entry: where, such as ``slack approve``.
        actor: key of who it was; ``NOBODY`` where nothing was proven.
        why: it was denied.
        facts: what was tried, in short texts; what others claim is masked and cut.
        incident_id, execution_id: that it was about, where that is known.
    """

    entry: str
    actor: str
    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    incident_id: str = ""
    execution_id: str = ""


@dataclass(slots=True)
class _Minute:
    began: float = float("-inf")
    told: int = 0
    left_out: int = 0


class Denials:
    """Tells of tries on surfaces that anybody reaches: so many a minute, and how many more there were.

    Tries of people who are known and of nobody in particular have a minute each, so that who floods one with forged
    requests hides nothing of the other. Each process counts for itself.

    Args:
        trail: of the installation.
        redact: takes secrets out of what others wrote.
        clock: of durations.
    """

    def __init__(self, trail: Trail, redact: Callable[[str], str], clock: Clock) -> None:
        self._trail = trail
        self._redact = redact
        self._clock = clock
        self._minutes: dict[bool, _Minute] = {True: _Minute(), False: _Minute()}

    async def tell(self, tried: Try) -> None:
        """Write it down; when that does not work, the log has it."""
        minute = self._minutes[tried.actor == NOBODY]
        now = self._clock.monotonic()
        if now - minute.began >= _MINUTE:
            minute.began, minute.told = now, 0
        if minute.told >= MOST_A_MINUTE:
            minute.left_out += 1
            return
        minute.told += 1
        left_out, minute.left_out = minute.left_out, 0
        try:
            async with asyncio.timeout(_SECONDS):
                await self._trail.append(SYSTEM, [self._entry(tried, left_out)])
        except Exception as error:  # noqa: BLE001 - whatever keeps the record away, the answer stays no
            minute.left_out += left_out + 1
            why = str(error) or type(error).__name__
            log.warning("access.denial_not_told", entry=tried.entry, actor=self._short(tried.actor), error=why)

    def _entry(self, tried: Try, left_out: int) -> Entry:
        facts = {name: self._short(value) if isinstance(value, str) else value for name, value in tried.facts.items()}
        if left_out:
            facts["left_out_before"] = left_out
        return Entry(
            EntryKind.DENIED,
            self._short(tried.entry),
            self._short(tried.actor),
            self._short(tried.why),
            facts,
            incident_id=tried.incident_id,
            execution_id=tried.execution_id,
        )

    def _short(self, text: str) -> str:
        clean = "".join(letter if letter.isprintable() else "?" for letter in self._redact(text))
        return clean if len(clean) <= _LONGEST else clean[: _LONGEST - 1] + "…"
