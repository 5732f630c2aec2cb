"""Starts and follows the processes that are killed; see ``victim.py``."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_READY_SECONDS = 120


@dataclass(slots=True)
class Victim:
    """One ``rb serve``.

    Attributes:
        slot: which of the processes that run side by side.
        over: set when it ended; ``status`` is then its exit code, negative for a signal.
    """

    slot: str
    pid: int
    log: Path
    over: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 0

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of one event."""
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if event in line:
                with suppress(ValueError):
                    found.append(json.loads(line))
        return [line for line in found if line.get("event") == event]

    @property
    def url(self) -> str:
        """Address of its HTTP side; empty before it is ready."""
        ready = self.lines("service.ready")
        return str(ready[-1]["url"]) if ready else ""

    async def ready(self) -> bool:
        """Wait until it reads its topics; False when it ended before."""
        end = asyncio.get_running_loop().time() + _READY_SECONDS
        while not self.lines("service.ready"):
            if self.over.is_set():
                return False
            if asyncio.get_running_loop().time() > end:
                raise AssertionError(f"rb serve is not ready: {self.log.read_text()[-3000:]}")
            await asyncio.sleep(0.05)
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that is gone hears nothing."""
        if not self.over.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def kill(self) -> None:
        """It dies without a word."""
        self.signal(signal.SIGKILL)
        await self.over.wait()


class Nursery:
    """Where victims come from."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._began: asyncio.Queue[int] = asyncio.Queue()
        self._ended: dict[int, int] = {}
        self._alive: dict[int, Victim] = {}
        self._one = asyncio.Lock()
        self.victims: list[Victim] = []

    async def start(self, slot: str, folder: Path, config: Path, **more: Any) -> Victim:
        """Start a process.

        Args:
            slot: its name among those that run side by side.
            folder: for its log.
            config: its settings file.
            more: ``points``, ``most`` and ``book`` of its deaths; ``broken``; ``words`` after ``serve``.
        """
        log = folder / f"serve-{slot}-{len(self.victims)}.log"
        log.touch()
        order = {
            "log": str(log),
            "folder": str(folder),
            "config": str(config),
            "words": ["serve", *more.get("words", ())],
            "environment": dict(more.get("environment", {})),
            "points": list(more.get("points", ())),
            "most": more.get("most", 1_000_000),
            "book": str(more.get("book", folder / "deaths")),
            "broken": more.get("broken", ""),
        }
        async with self._one:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            await self._process.stdin.drain()
            pid = await asyncio.wait_for(self._began.get(), _READY_SECONDS)
        victim = Victim(slot, pid, log)
        self.victims.append(victim)
        self._alive[pid] = victim
        if pid in self._ended:
            self._end(pid, self._ended.pop(pid))
        return victim

    async def listen(self) -> None:
        """Hear of beginnings and ends, until the other side is gone."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told: Mapping[str, int] = json.loads(line)
            if "began" in told:
                self._began.put_nowait(told["began"])
            elif told["ended"] in self._alive:
                self._end(told["ended"], told["status"])
            else:
                self._ended[told["ended"]] = told["status"]

    def _end(self, pid: int, status: int) -> None:
        victim = self._alive.pop(pid)
        victim.status = status
        victim.over.set()


@asynccontextmanager
async def nursery(environment: Mapping[str, str] | None = None, words: Sequence[str] = ()) -> AsyncIterator[Nursery]:
    """A nursery; its processes end with it."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ROOTMEND_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.chaos.victim",
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**inherited, **(environment or {})},
    )
    one = Nursery(process)
    listening = asyncio.create_task(one.listen())
    try:
        yield one
    finally:
        for victim in one.victims:
            victim.signal(signal.SIGCONT)
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
        await listening
