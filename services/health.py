"""Health that tells the truth: each dependency is asked, nothing is assumed.

``/healthz`` says whether this process works (restart it when not), ``/readyz`` whether the pipeline can do its work
with what it depends on (send it no work when not). A dependency that is away makes the pipeline wait, not restart.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from executor.ports import Hooks
from services.logs import masker

log = structlog.get_logger(__name__)

Check = Callable[[], Awaitable[bool | str | None]]
"""Asks a dependency. A text is a detail for people; False or an exception means that it is down."""

_LONGEST_DETAIL = 300
_BEAT_SECONDS = 0.25
_STUCK_SECONDS = 5.0
"""A loop that was blocked longer than this misses its heartbeats, and executions lose their leases."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One dependency and how it is asked.

    Attributes:
        name: as it appears in answers and metrics.
        check: the question; it should be cheap, it is asked every few seconds.
        needed: without it the pipeline is not ready; otherwise it is degraded.
        when_down: what the pipeline does without it, for people.
    """

    name: str
    check: Check
    needed: bool = True
    when_down: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a dependency said.

    Attributes:
        seconds: how long the answer took.
    """

    name: str
    up: bool
    needed: bool
    seconds: float
    detail: str = ""

    def as_json(self) -> dict[str, Any]:
        """For people and machines."""
        told = {"up": self.up, "needed": self.needed, "seconds": round(self.seconds, 4)}
        return told | ({"detail": self.detail} if self.detail else {})


@dataclass(frozen=True, slots=True)
class Readiness:
    """All answers together. ``status``: ``ready``, ``degraded: <what that means>`` or ``not ready: <what is away>``."""

    ready: bool
    status: str
    answers: tuple[Answer, ...]

    def as_json(self) -> dict[str, Any]:
        """For people and machines."""
        return {"status": self.status, "ready": self.ready, "dependencies": {a.name: a.as_json() for a in self.answers}}


def judge(answers: Sequence[Answer], when_down: Mapping[str, str]) -> Readiness:
    """Ready when everything needed is up; degraded when only the rest is missing."""
    missing = [a.name for a in answers if a.needed and not a.up]
    weaker = [when_down.get(a.name) or f"without {a.name}" for a in answers if not a.needed and not a.up]
    if missing:
        return Readiness(ready=False, status=f"not ready: {', '.join(missing)}", answers=tuple(answers))
    status = f"degraded: {', '.join(weaker)}" if weaker else "ready"
    return Readiness(ready=True, status=status, answers=tuple(answers))


class Health:
    """Asks the dependencies, watches the event loop, and knows which roles run.

    Args:
        probes: the dependencies.
        hooks: told ``dependency{dependency, up}`` after each round.
        timeout_seconds: a slower dependency counts as down.
        cache_seconds: answers younger than this are given again, so that a busy prober costs nothing.
    """

    def __init__(
        self,
        probes: Sequence[Probe] = (),
        *,
        hooks: Hooks | None = None,
        timeout_seconds: float = 2.0,
        cache_seconds: float = 2.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._probes = tuple(probes)
        self._hooks = hooks
        self._timeout = timeout_seconds
        self._cache = cache_seconds
        self._monotonic = monotonic
        self._asking = asyncio.Lock()
        self._last: tuple[float, Readiness] | None = None
        self._up: dict[str, bool] = {}
        self._roles: dict[str, str] = {}
        self._beat: float | None = None
        self._lags: deque[tuple[float, float]] = deque(maxlen=int(60 / _BEAT_SECONDS))
        self._watch: asyncio.Task[None] | None = None

    def role(self, name: str, state: str = "running") -> None:
        """Note what a role does: ``running``, ``stopped`` (on purpose), or anything else for "broken"."""
        self._roles[name] = state

    async def start(self) -> None:
        """Begin to watch the event loop."""
        self._beat = self._monotonic()
        self._watch = asyncio.create_task(self._watch_loop(), name="health.loop")

    async def stop(self) -> None:
        """Stop watching."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None

    def alive(self) -> tuple[bool, dict[str, Any]]:
        """Whether this process works, with what was seen: the roles and how late the event loop was.

        A loop that is blocked right now cannot answer at all; the prober's timeout tells that.
        """
        now = self._monotonic()
        silent = now - self._beat if self._watch is not None and self._beat is not None else 0.0
        worst = max((lag for at, lag in self._lags if now - at <= 60), default=0.0)  # noqa: PLR2004 - one minute
        broken = sorted(name for name, state in self._roles.items() if state not in {"running", "stopped"})
        watching = self._watch is None or not self._watch.done()
        alive = not broken and silent < _STUCK_SECONDS and watching
        status = "alive" if alive else f"broken: {', '.join(broken) or 'event loop'}"
        loop = {"worst_lag_seconds_last_minute": round(worst, 4)}
        return alive, {"status": status, "roles": dict(self._roles), "event_loop": loop}

    async def readiness(self) -> Readiness:
        """Ask all dependencies side by side, or give the answers that are still fresh."""
        async with self._asking:  # one round at a time, however many probers there are
            now = self._monotonic()
            if self._last is not None and now - self._last[0] < self._cache:
                return self._last[1]
            answers = await asyncio.gather(*(self._ask(probe) for probe in self._probes))
            readiness = judge(answers, {probe.name: probe.when_down for probe in self._probes})
            self._last = (self._monotonic(), readiness)
        for answer in answers:
            self._tell(answer)
        return readiness

    def _tell(self, answer: Answer) -> None:
        """Metrics hear of every answer, the log only of changes."""
        if self._hooks is not None:
            self._hooks.event("dependency", dependency=answer.name, up=answer.up)
        if self._up.get(answer.name, True) != answer.up:
            if answer.up:
                log.info("dependency.back", dependency=answer.name)
            else:
                log.warning("dependency.away", dependency=answer.name, detail=answer.detail)
        self._up[answer.name] = answer.up

    async def _ask(self, probe: Probe) -> Answer:
        began = self._monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                said = await probe.check()
            up, detail = said is not False, said if isinstance(said, str) else ""
        except TimeoutError:
            up, detail = False, f"no answer within {self._timeout:g} s"
        except Exception as error:  # noqa: BLE001 - whatever it is, the dependency is not usable
            up, detail = False, masker.text(f"{type(error).__name__}: {error}")[:_LONGEST_DETAIL]
        if not up and probe.when_down:
            detail = f"{detail} ({probe.when_down})" if detail else probe.when_down
        return Answer(probe.name, up, probe.needed, self._monotonic() - began, detail)

    async def _watch_loop(self) -> None:
        while True:
            before = self._monotonic()
            await asyncio.sleep(_BEAT_SECONDS)
            self._beat = self._monotonic()
            self._lags.append((self._beat, max(0.0, self._beat - before - _BEAT_SECONDS)))
