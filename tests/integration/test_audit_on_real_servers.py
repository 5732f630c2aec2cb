"""The audit trail on the real graph: whole beside what it tells, found when it is touched, readable by others."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from uuid import uuid4

import pytest
from fakes.audited import entry, key
from fakes.served import until

from safety.anchors import Seal
from safety.trail import Entry, EntryKind, spelled
from services.audit.books import BookFile
from services.audit.keys import TrustedKeys
from services.audit.pruning import Pruning
from services.audit.sealing import Sealer
from services.audit.trail import Neo4jTrail
from services.audit.verifying import Verification
from services.graph.connect import Graph, GraphSettings, connect
from services.graph.errors import GraphRejected, GraphUnavailable
from services.graph.formats import FORMAT
from services.graph.migrate import migrate

pytestmark = pytest.mark.stack

LONG = bool(os.environ.get("LONG_TESTS"))
ROUNDS = 1_000 if LONG else 32
SIGNER = key()


class Site:
    """A tenant of its own on the shared graph, with a book of its own."""

    def __init__(self, graph: Graph, folder, settings: GraphSettings) -> None:
        self.graph = graph
        self.settings = settings
        self.tenant = f"audited-{uuid4().hex[:12]}"
        self.trail = Neo4jTrail(graph)
        self.book = BookFile(folder / "anchors.jsonl")
        self.sealer = Sealer(graph, self.book, SIGNER)
        self.trust = TrustedKeys([SIGNER.key])

    async def cypher(self, text: str, **given):
        records, _, _ = await self.graph.driver.execute_query(text, tenant=self.tenant, database_="neo4j", **given)
        return [record.data() for record in records]

    async def fill(self, *sizes: int) -> None:
        """Segments of these sizes, sealed and closed."""
        for size in sizes:
            for number in range(size):
                await self.trail.append(self.tenant, [entry(number, self.tenant)])
            self.graph.segments._free.clear()
        await self.sealer.close()

    async def verified(self):
        return await Verification(self.graph, [self.book.path], self.trust, page=50).run(self.tenant)

    async def kinds(self) -> list[str]:
        rows = await self.cypher(
            "MATCH (a:AuditEntry {tenant: $tenant}) RETURN a.kind AS kind ORDER BY a.segment, a.seq"
        )
        return [row["kind"] for row in rows]


@pytest.fixture
async def site(stack, tmp_path):
    settings = GraphSettings(stack.neo4j_uri, stack.neo4j_user, stack.neo4j_password)
    graph = connect(settings)
    await migrate(graph)
    made = Site(graph, tmp_path, settings)
    yield made
    await made.cypher("MATCH (a:AuditEntry {tenant: $tenant}) DETACH DELETE a")
    await graph.close()


async def test_invariant_11_entries_of_many_tasks_are_whole_chains(site):
    """Nobody waits for anybody, and nothing is lost or written twice."""
    tasks = [site.trail.append(site.tenant, [entry(n, site.tenant), entry(n + 1, site.tenant)]) for n in range(40)]
    await asyncio.gather(*tasks)
    await site.sealer.seal(others=False)
    report = await site.verified()
    assert report.problems == []
    assert report.entries - report.segments == 80
    assert report.sealed == report.segments


async def test_invariant_11_a_change_and_its_entry_are_written_together_or_not_at_all(site):
    """A transaction that fails after its change leaves neither; one that is refused after its entry neither."""
    number = f"{site.tenant}-pause"
    parameters = {
        **dict.fromkeys(("by", "reason", "part"), "x"),
        "id": number,
        "paused": True,
        "scope": site.tenant,
        "until_ms": None,
    }

    def fails(_, __):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await site.trail.telling(("pause_set", parameters), tell=fails)
    told = {site.tenant: [entry(1, site.tenant)]}
    with pytest.raises(GraphRejected):
        await site.trail.guarded(["permit_claim"], claim("nobody"), told, "size(told) = 1", strict=True)
    assert await site.cypher("MATCH (p:PauseSwitch {id: $number}) RETURN p", number=number) == []
    assert await site.kinds() == []


async def test_invariant_11_what_was_not_done_is_not_told(site):
    """A claim that is refused changes nothing, and its number is used by the next entry."""
    told = {site.tenant: [entry(1, site.tenant)]}
    assert await site.trail.guarded(["permit_claim"], claim("nobody"), told, "size(told) = 1") == []
    await site.trail.append(site.tenant, [Entry(EntryKind.LOGIN, "ann")])
    assert await site.kinds() == ["segment.begun", "access.login"]
    await site.sealer.seal(others=False)
    assert (await site.verified()).problems == []


@pytest.mark.parametrize("kind", [EntryKind.DENIED, EntryKind.OVERRIDE, EntryKind.PAUSED])
async def test_what_is_critical_is_sealed_at_once_and_cannot_be_cut_off(site, kind):
    """The interval is an hour: an ordinary entry waits for it, and a critical one takes along what was before it."""
    sealer = Sealer(site.graph, site.book, SIGNER, seconds=3600)
    running = asyncio.create_task(sealer.run())
    try:
        await site.trail.append(site.tenant, [Entry(EntryKind.LOGIN, "ann")])
        await site.trail.append(site.tenant, [Entry(kind, "ann")])

        async def sealed():
            return (await site.verified()).sealed or None

        await until(sealed, "an anchor is there", 60)
    finally:
        running.cancel()
    assert (await site.verified()).problems == []
    await site.cypher("MATCH (a:AuditEntry {tenant: $tenant, kind: $kind}) DETACH DELETE a", kind=kind.value)
    assert (await site.verified()).problems, "the entry is missed"


def claim(execution):
    asked = {"execution_id": execution, "plan_hash": "", "holder": "", "lease_ms": 1, "format": FORMAT}
    return {**asked, "claim_id": uuid4().hex}


async def test_invariant_11_a_write_whose_answer_was_lost_leaves_its_segment_and_the_trail_holds(site, monkeypatch):
    """It may have happened: its segment is not written again, and is sealed where it ended."""
    await site.trail.append(site.tenant, [entry(1, site.tenant)])
    real = site.graph.run_repeatable

    async def loses(text, parameters):
        await real(text, parameters)
        raise GraphUnavailable("the answer was lost")

    monkeypatch.setattr(site.graph, "run_repeatable", loses)
    with pytest.raises(GraphUnavailable):
        await site.trail.append(site.tenant, [entry(2, site.tenant)])
    monkeypatch.setattr(site.graph, "run_repeatable", real)
    await site.trail.append(site.tenant, [entry(3, site.tenant)])
    # Nothing can still be under way here.
    await Sealer(site.graph, site.book, SIGNER, doubt_seconds=-1).seal(others=False)
    report = await site.verified()
    assert (report.problems, report.segments, report.entries, report.sealed) == ([], 2, 5, 2)
    assert site.graph.segments.doubtful == []


async def test_invariant_11_segments_of_a_process_that_is_gone_are_sealed_by_another(site, tmp_path):
    """A command that wrote an entry has no key; a process that died cannot use its own."""
    gone = connect(site.settings)
    await Neo4jTrail(gone).append(site.tenant, [entry(1, site.tenant)])
    await gone.close()
    assert (await site.verified()).sealed == 0
    await site.sealer.seal()
    assert (await site.verified()).sealed == 1


# Each changes something and gives how to put it back.
CHANGES = {
    "a property": "MATCH (a) WHERE elementId(a) = $one SET a.reason = a.reason + '!'",
    "a hash": "MATCH (a) WHERE elementId(a) = $one SET a.hash = reverse(a.hash) + 'x'",
    "facts": "MATCH (a) WHERE elementId(a) = $one SET a.facts = '{}', a.actor = 'mallory'",
    "a property more": "MATCH (a) WHERE elementId(a) = $one SET a.note = 'harmless'",
    "a property less": "MATCH (a) WHERE elementId(a) = $one REMOVE a.execution_id",
    "an entry": "MATCH (a) WHERE elementId(a) = $one DETACH DELETE a",
    "a number": "MATCH (a) WHERE elementId(a) = $one SET a.seq = a.seq + 100000",
    "a tail": "MATCH (a) WHERE elementId(a) = $one MATCH (b:AuditEntry {segment: a.segment}) "
    "WHERE b.seq >= a.seq DETACH DELETE b",
    "a segment": "MATCH (a) WHERE elementId(a) = $one MATCH (b:AuditEntry {segment: a.segment}) DETACH DELETE b",
    "an entry more": "MATCH (a) WHERE elementId(a) = $one MATCH (l:AuditEntry {segment: a.segment}) "
    "WITH l ORDER BY l.seq DESC LIMIT 1 CREATE (b:AuditEntry) "
    "SET b = l {.*, begins: NULL, seq: l.seq + 1, prev: l.hash} CREATE (l)-[:NEXT]->(b)",
    "a stray entry": "MATCH (a) WHERE elementId(a) = $one CREATE (b:AuditEntry) "
    "SET b = a {.*, segment: a.segment + 'x'}",
    "the order": "MATCH (a) WHERE elementId(a) = $one MATCH (b) WHERE elementId(b) = $other AND a <> b "
    "WITH a, b, properties(a) AS pa, properties(b) AS pb SET a.reason = pb.reason + ' ', b.reason = pa.reason + ' ', "
    "a.hash = pb.hash, b.hash = pa.hash",
    "a splice": "MATCH (a) WHERE elementId(a) = $one MATCH (b:AuditEntry {segment: a.segment}) WHERE b.seq >= a.seq "
    "SET b.segment = b.segment + '-spliced'",
    "a join": "MATCH (a)-[n:NEXT]-() WHERE elementId(a) = $one DELETE n",
    "a wrong join": "MATCH (a) WHERE elementId(a) = $one MATCH (b) WHERE elementId(b) = $other MERGE (a)-[:NEXT]->(b) "
    "MERGE (a)-[:NEXT]->(a)",
    "the tenant": "MATCH (a) WHERE elementId(a) = $one SET a.tenant = 'others'",
}


async def test_invariant_11_random_tamperings_of_the_real_graph_are_found(site):
    """A thousand with LONG_TESTS=1; what was changed is put back before the next one, and then the trail holds."""
    await site.fill(6, 3, 9)
    nodes = await site.cypher(
        "MATCH (a:AuditEntry {tenant: $tenant}) RETURN elementId(a) AS id, properties(a) AS properties"
    )
    chance = random.Random(11)  # noqa: S311 - the same each time
    missed = []
    for number in range(ROUNDS):
        what, change = list(CHANGES.items())[number % len(CHANGES)]
        ids = [
            row["id"] for row in await site.cypher("MATCH (a:AuditEntry {tenant: $tenant}) RETURN elementId(a) AS id")
        ]
        one, other = chance.sample(sorted(ids), 2)
        await site.cypher(change, one=one, other=other)
        report = await site.verified()
        if report.holds:
            missed.append((number, what))
        await put_back(site, [row["properties"] for row in nodes])
    assert missed == []
    assert (await site.verified()).problems == []


async def put_back(site, properties):
    """The trail as it was written."""
    segments = sorted({one["segment"] for one in properties})
    await site.cypher(
        "MATCH (a:AuditEntry) WHERE a.tenant = $tenant OR any(s IN $segments WHERE a.segment STARTS WITH s) "
        "DETACH DELETE a",
        segments=segments,
    )
    await site.cypher("UNWIND $rows AS row CREATE (a:AuditEntry) SET a = row", rows=properties)
    await site.cypher(
        "MATCH (a:AuditEntry) WHERE a.segment IN $segments "
        "MATCH (b:AuditEntry {segment: a.segment, seq: a.seq + 1}) MERGE (a)-[:NEXT]->(b)",
        segments=segments,
    )


async def test_invariant_11_old_entries_can_be_taken_away_and_the_rest_still_holds(site):
    """A signed tombstone stands for them; without it the same would be found as missing."""
    old = [replace(entry(n, site.tenant), at=moment(2020, n)) for n in range(12)]
    await site.trail.append(site.tenant, old)
    await site.cypher("MATCH (a:AuditEntry {tenant: $tenant, seq: 0}) RETURN a")
    await site.trail.append(site.tenant, [entry(n, site.tenant) for n in range(5)])
    await site.sealer.seal(others=False)
    pruning = Pruning(site.graph, site.sealer, [site.book.path], site.trust)
    tried = await pruning.run(moment(2030), site.tenant, by="ann", reason="policy", dry_run=True)
    assert (tried.entries, tried.segments) == (18, 1)
    begun = await site.cypher("MATCH (a:AuditEntry {tenant: $tenant, seq: 0}) RETURN a.at AS at")
    before = moment_of(begun[0]["at"])
    assert (await pruning.run(before, site.tenant, by="ann", reason="policy")).entries == 0
    done = await pruning.run(moment(2030), site.tenant, by="ann", reason="policy")
    assert done == tried
    assert await site.kinds() == ["trail.pruned"]
    await site.trail.append(site.tenant, [entry(50, site.tenant)])
    await site.sealer.seal(others=False)
    assert (await site.verified()).problems == []
    lines = site.book.path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"pruned":[]' in line]
    site.book.path.write_bytes(b"".join(kept))
    assert not (await site.verified()).holds


def moment(year, day=0):
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415 - beside its use

    return datetime(year, 1, 1, tzinfo=UTC) + timedelta(days=day)


def moment_of(text):
    from datetime import datetime  # noqa: PLC0415 - beside its use

    return datetime.fromisoformat(text)


async def test_a_broken_trail_is_not_pruned(site):
    """What is wrong with it would be gone."""
    from services.audit.errors import TrailBroken  # noqa: PLC0415 - beside its use

    await site.fill(5)
    await site.cypher("MATCH (a:AuditEntry {tenant: $tenant, seq: 2}) SET a.actor = 'mallory'")
    with pytest.raises(TrailBroken, match="changed"):
        await Pruning(site.graph, site.sealer, [site.book.path], site.trust).run(
            moment(2030), site.tenant, by="ann", reason="policy"
        )
    assert len(await site.kinds()) == 6


def test_two_writers_of_one_book_keep_its_order(tmp_path):
    """The processes of a machine share one file."""
    book = BookFile(tmp_path / "anchors.jsonl")
    seals = [Seal(spelled(moment(2026)), f"w{n}", "store") for n in range(3)]
    made = [BookFile(book.path).append(seal, SIGNER) for seal in seals]
    assert [one.number for one in made] == [1, 2, 3]
    assert [one.prev for one in made[1:]] == [one.hash for one in made[:-1]]
    assert len({one.book for one in made}) == 1
    assert book.path.stat().st_mode & 0o777 == 0o600
