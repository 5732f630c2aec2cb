"""What the numbers were measured on."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = ("confluent-kafka", "faststream", "neo4j", "redis", "aiohttp", "pydantic", "uvloop", "orjson")


def describe() -> dict[str, Any]:
    """Processor, memory, kernel, Python and libraries."""
    return {
        "cpu": _first("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": int((_first("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) // 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def load() -> tuple[float, float, float]:
    """Load averages of the last 1, 5 and 15 minutes."""
    return os.getloadavg()


def busy_cores() -> tuple[float, float]:
    """Seconds of processor time that were used and that passed, since the machine started; for differences."""
    fields = [int(text) for text in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]]
    idle = fields[3] + fields[4]
    ticks = os.sysconf("SC_CLK_TCK")
    return (sum(fields[:8]) - idle) / ticks, sum(fields[:8]) / ticks


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used so far; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def settle(patience: float, quiet_cores: float = 0.6, look_seconds: float = 3.0) -> float:
    """Wait until the machine has little else to do, or patience ends.

    Args:
        patience: longest wait in seconds; 0 looks once.
        quiet_cores: so many busy cores are quiet: the servers of the stack are never idle.
        look_seconds: length of one look.

    Returns:
        How many cores were busy at the last look, before any message was sent.
    """
    deadline = time.monotonic() + patience
    while True:
        busy, passed = busy_cores()
        await asyncio.sleep(look_seconds)
        busy_then, passed_then = busy_cores()
        share = (busy_then - busy) / (passed_then - passed)
        cores = share * len(os.sched_getaffinity(0))
        if cores <= quiet_cores or time.monotonic() >= deadline:
            return cores


def _first(path: str, key: str) -> str:
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
