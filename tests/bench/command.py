"""How long ``rb --help`` takes."""

from __future__ import annotations

import subprocess
import time
from typing import Any

from tests.bench.product import RB
from tests.bench.stats import summary

_RUNS = 10


def measure() -> dict[str, Any]:
    """Wall time of ``rb --help`` in milliseconds; a first run, which warms the disk cache, does not count."""
    took = []
    for _ in range(_RUNS + 1):
        began = time.perf_counter()
        subprocess.run([str(RB), "--help"], check=True, capture_output=True)
        took.append((time.perf_counter() - began) * 1000)
    return summary(took[1:]).to_json()
