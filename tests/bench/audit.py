"""What the audit trail costs: appending at several sizes, and checking it, on the real graph."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compose import stack as local
from safety.trail import Entry, EntryKind
from services.audit.books import BookFile
from services.audit.keys import AnchorKey, TrustedKeys
from services.audit.sealing import Sealer
from services.audit.trail import Neo4jTrail
from services.audit.verifying import Verification
from services.graph.connect import Graph, GraphSettings, connect
from services.graph.migrate import migrate

BATCH = 500
SINGLES = 200


async def measure(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """For each size: seconds for one entry at that size, entries a second in batches, and the check of all.

    Args:
        sizes: entries of the trail, growing.
    """
    found = local.up()
    assert found.neo4j
    graph = connect(GraphSettings(found.neo4j.uri, found.neo4j.user, found.neo4j.password))
    tenant = f"bench-{uuid4().hex[:12]}"
    results = []
    try:
        await migrate(graph)
        with TemporaryDirectory() as folder:
            signer = AnchorKey(Ed25519PrivateKey.generate())
            sealer = Sealer(graph, BookFile(Path(folder) / "anchors.jsonl"), signer)
            there = 0
            for size in sorted(sizes):
                results.append(await _at((there, size), graph, tenant, sealer, signer))
                there = size
    finally:
        await _take_away(graph, tenant)
        await graph.close()
    return results


async def _at(sizes: tuple[int, int], graph: Graph, tenant: str, sealer: Sealer, signer: AnchorKey) -> dict[str, Any]:
    """From a size of the trail to the next."""
    (there, size), trail = sizes, Neo4jTrail(graph)
    began, batches = time.perf_counter(), []
    for first in range(there, size - SINGLES, BATCH):
        at = time.perf_counter()
        await trail.append(tenant, [_entry(n) for n in range(first, min(first + BATCH, size - SINGLES))])
        batches.append(time.perf_counter() - at)
    filled = time.perf_counter() - began
    singles = []
    for number in range(SINGLES):
        at = time.perf_counter()
        await trail.append(tenant, [_entry(number)])
        singles.append(time.perf_counter() - at)
    await sealer.seal(others=False)
    before = _peak()
    began = time.perf_counter()
    report = await Verification(graph, [sealer.book.path], TrustedKeys([signer.key])).run(tenant)
    took = time.perf_counter() - began
    assert report.holds, report.problems
    return {
        "entries": report.entries,
        "append_one_ms": round(statistics.median(singles) * 1000, 2),
        "append_one_p99_ms": round(sorted(singles)[int(len(singles) * 0.99)] * 1000, 2),
        "append_batch_per_second": round((size - SINGLES - there) / filled),
        "append_batch_last_ms": round(statistics.median(batches[-20:]) * 1000, 1),
        "verify_seconds": round(took, 2),
        "verify_per_second": round(report.entries / took),
        "verify_grew_mb": round(_peak() - before, 1),
    }


def _entry(number: int) -> Entry:
    facts = {
        "name": "Write fixed",
        "action": "kubectl_patch",
        "status": "succeeded",
        "epoch": number,
        "digest": "0" * 64,
    }
    return Entry(EntryKind.STEP_ENDED, f"execution-{number}/step/0", facts=facts, incident_id=f"incident-{number // 9}")


def _peak() -> float:
    """The most memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _take_away(graph: Graph, tenant: str) -> None:
    """What was measured is not left to others."""
    async with graph.driver.session(database="neo4j") as session:
        result = await session.run(
            "MATCH (a:AuditEntry {tenant: $tenant}) CALL (a) { DETACH DELETE a } IN TRANSACTIONS OF 5000 ROWS",
            tenant=tenant,
        )
        await result.consume()
