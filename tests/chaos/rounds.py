"""Rounds of crashes: at named failpoints, and at random moments."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from executor.failpoints import Failpoint
from tests.chaos.checker import Seen, Violation, violations
from tests.chaos.kinds import Kind
from tests.chaos.nursery import Victim
from tests.chaos.site import SLOTS, Incident, Site
from tests.chaos.watching import look, settled

_LEAST_LIFE, _LONGEST_LIFE = 0.05, 3.0


@dataclass(slots=True)
class Round:
    """What came of a round.

    Attributes:
        name: of the failpoint, or the number of the round of random kills.
        deaths: SIGKILLs.
        kinds: kinds of steps whose incidents were under way, with how many of each.
        outcomes: how their executions ended, counted.
        died: failpoints of the deaths, in their order.
        violations: what must not be.
    """

    name: str
    deaths: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    died: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    seconds: float = 0.0

    def take(self, seen: Seen) -> None:
        """What was seen at its end."""
        self.violations = violations(seen)
        self.outcomes.update(run.outcome or run.status for run in seen.ran)


async def failpoint_round(
    site: Site, name: str, points: Sequence[Failpoint], kinds: Sequence[Kind], *, patience: float = 120, **more: Any
) -> Round:
    """One incident of each kind; the process dies whenever it reaches one of the failpoints for another subject.

    Args:
        site: the installation.
        name: of the round.
        points: where it dies.
        kinds: of the incidents.
        patience: seconds until everything must have come to its end.
        more: for ``Nursery.start``, such as ``most`` deaths.
    """
    began = monotonic()
    book = site.world.folder / f"deaths-{len(site.nursery.victims)}"
    armed = {"points": list(points), "book": book, **more}
    done = Round(name, kinds=Counter(kind.name for kind in kinds))
    await _replace(site, armed)
    if not await site.living["a"].ready():
        raise AssertionError(f"rb serve ended: {site.living['a'].log.read_text()[-3000:]}")
    keeping = asyncio.create_task(_keep_alive(site, "a", armed, done))
    try:
        incidents = await site.incidents(kinds)
        await site.send(incidents)
        await settled(site, incidents, patience)
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
    done.take(await look(site, incidents))
    lines = book.read_text().splitlines() if book.exists() else []
    done.died = [json.loads(line)["point"] for line in lines]
    await site.forget(incidents)
    done.seconds = monotonic() - began
    return done


async def _replace(site: Site, armed: dict[str, Any]) -> None:
    """A process that is armed, in the place of the one that runs."""
    if "a" in site.living:
        await site.living["a"].kill()
    await site.start("a", **armed)


async def _keep_alive(site: Site, slot: str, armed: dict[str, Any], done: Round) -> None:
    """Start the process again whenever it died of its failpoint."""
    while True:
        victim = site.living[slot]
        await victim.over.wait()
        if victim.status != -signal.SIGKILL:
            done.violations.append(Violation("process", slot, f"it ended by itself: {victim.log.read_text()[-2000:]}"))
            return
        done.deaths += 1
        await site.start(slot, **armed)


class RandomKills:
    """Two processes that are killed at random moments of their lives, while incidents keep coming.

    Args:
        seed: of the moments, the kinds and who dies; the same seed makes the same choices. What happens between two
            choices is the servers' and the machine's.
        each: kills of one round; after it everything must come to its end, and is looked at.
        incidents: sent in one round.
    """

    def __init__(self, site: Site, kinds: Sequence[Kind], seed: int, *, each: int = 25, incidents: int = 22) -> None:
        self._site = site
        self._kinds = list(kinds)
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._each = each
        self._incidents = incidents

    async def round(self, number: int, kills: int, patience: float = 150) -> Round:
        """Kill so many times, then look."""
        began = monotonic()
        done = Round(f"random {number}")
        chosen = [self._random.choice(self._kinds) for _ in range(self._incidents)]
        done.kinds.update(kind.name for kind in chosen)
        incidents = await self._site.incidents(chosen)
        await self._alive()
        over = asyncio.Event()
        sending = asyncio.create_task(self._send(incidents, over))
        for slot, life in self._plan(kills):
            await self._live(self._site.living[slot], life)
            await self._site.living[slot].kill()
            done.deaths += 1
            await self._site.start(slot)
        over.set()
        await sending
        await settled(self._site, incidents, patience)
        done.take(await look(self._site, incidents))
        done.violations += [
            Violation("process", victim.slot, f"it ended by itself: {victim.log.read_text()[-2000:]}")
            for victim in self._site.living.values()
            if victim.over.is_set()
        ]
        await self._site.forget(incidents)
        done.seconds = monotonic() - began
        return done

    def _plan(self, kills: int) -> list[tuple[str, float]]:
        """Who dies, and after how many seconds of being ready; some die before they are ready."""
        return [(self._random.choice(SLOTS), self._random.uniform(-0.5, _LONGEST_LIFE)) for _ in range(kills)]

    async def _live(self, victim: Victim, life: float) -> None:
        if life <= 0:
            await asyncio.sleep(_LEAST_LIFE - life)
            return
        await victim.ready()
        await asyncio.sleep(life)

    async def _alive(self) -> None:
        for slot in SLOTS:
            victim = self._site.living.get(slot)
            if victim is None or victim.over.is_set():
                await self._site.start(slot)

    async def _send(self, incidents: Sequence[Incident], over: asyncio.Event) -> None:
        """Incidents one after the other, spread over the kills; what is left at their end comes at once."""
        for one in incidents:
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), 1.5)
            await self._site.send([one])
