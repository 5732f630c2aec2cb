"""The product as a process: started, asked how it is, stopped."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from asyncio.subprocess import Process
from pathlib import Path
from typing import Self

RB = Path(sys.executable).with_name("rb")


class NotReady(Exception):
    """``rb serve`` ended, or did not become ready."""


class Product:
    """One ``rb serve``.

    Args:
        settings: its settings file.
        log: where its log goes.
    """

    def __init__(self, settings: Path, log: Path, *more: str) -> None:
        self._settings = settings
        self._log = log
        self._more = more
        self._process: Process | None = None
        self.ready_seconds = 0.0

    async def __aenter__(self) -> Self:
        began = time.monotonic()
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(RB), "--config", str(self._settings), "serve", *self._more, stderr=log, stdout=log
            )
        try:
            await self._await_ready()
        except BaseException:
            await self.__aexit__()
            raise
        self.ready_seconds = time.monotonic() - began
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), 40)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    @property
    def pid(self) -> int:
        if self._process is None:
            raise NotReady("it was not started")
        return self._process.pid

    def resident_mb(self) -> float:
        """Resident memory, in megabytes of 10**6 bytes."""
        return self._status("VmRSS") * 1024 / 1e6

    def peak_mb(self) -> float:
        """The most resident memory that it ever had, in megabytes of 10**6 bytes."""
        return self._status("VmHWM") * 1024 / 1e6

    def _status(self, key: str) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1])
        raise NotReady(f"/proc does not tell {key}")

    def warnings(self) -> dict[str, int]:
        """Lines of its log at warning or above, counted by their event."""
        found: dict[str, int] = {}
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("level") in {"warning", "error", "critical"}:
                found[entry["event"]] = found.get(entry["event"], 0) + 1
        return found

    async def _await_ready(self, patience: float = 90.0) -> None:
        process = self._process
        deadline = time.monotonic() + patience
        while process is not None and process.returncode is None and time.monotonic() < deadline:
            if b'"service.ready"' in self._log.read_bytes():
                return
            await asyncio.sleep(0.005)
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise NotReady(f"rb serve did not become ready; the end of its log:\n{tail}")
