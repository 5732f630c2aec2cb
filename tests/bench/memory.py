"""How long ``rb serve`` takes to be ready, and how much memory it needs, with many runbooks."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path
from typing import Any

from tests.bench import runbook
from tests.bench.load import produce, rca_results
from tests.bench.product import Product
from tests.bench.site import Site, draw_events, run

_QUIET_SECONDS = 5.0
_MESSAGES = 1000
_DONE = "MATCH (d:Decision) WHERE d.event_id IN $ids AND d.tenant = $tenant RETURN count(d) AS count"


async def measure(site: Site, results: Path, *, runbooks: int, rounds: int, rate: float) -> dict[str, Any]:
    """Start several times; the last process gets messages.

    Args:
        site: with workloads.
        results: folder for the product's log.
        runbooks: how many are loaded.
        rounds: how often it is started.
        rate: messages a second.
    """
    books = site.folder / "many-runbooks"
    await asyncio.to_thread(runbook.write, books, runbooks - 1)
    ready: list[float] = []
    started: list[float] = []
    after = peak = 0.0
    for number in range(rounds):
        settings = site.settings("memory", books)
        async with Product(settings, results / "serve-memory.log") as product:
            ready.append(product.ready_seconds)
            await asyncio.sleep(_QUIET_SECONDS)
            started.append(product.resident_mb())
            if number == rounds - 1:
                await _work(site, rate)
                after, peak = product.resident_mb(), product.peak_mb()
    return {
        "runbooks": runbooks,
        "ready_seconds": [round(one, 2) for one in ready],
        "ready_seconds_median": round(statistics.median(ready), 2),
        "resident_mb_after_start": [round(one, 1) for one in started],
        "resident_mb_after_messages": round(after, 1),
        "resident_mb_peak": round(peak, 1),
        "messages": _MESSAGES,
    }


async def _work(site: Site, rate: float) -> None:
    messages = rca_results(site, _MESSAGES)
    await draw_events(site, messages)
    sent, _ = await asyncio.to_thread(produce, site.bootstrap, site.topic("rca", "memory"), messages, rate)
    for _ in range(120):
        rows = await run(site.graph, _DONE, ids=list(sent), tenant=site.tenant)
        if rows[0]["count"] == len(sent):
            break
        await asyncio.sleep(0.5)
    await asyncio.sleep(_QUIET_SECONDS)
