"""What is kept of the graph: backup and restore, retention with proof, and a schema that is upgraded under load."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import orjson
import pytest
from fakes.graph_samples import RUN, T0, incident, permitted, signal, step_run
from fakes.served import mark, runbook, served, until
from fakes.stores import real_store

from executor.model import Outcome, StepStatus, Verdict
from safety.approvals import ask
from services.audit.keys import TrustedKeys
from services.audit.verifying import Verification
from services.graph.backup import Backup, BadBackup, Restore
from services.graph.retention import Retention, digest

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

LONG_AGO = timedelta(days=100)


@pytest.fixture
async def store(stack):
    async with real_store(stack) as one:
        yield one
        await one.graph.driver.execute_query(
            "MATCH (a:AuditEntry) WHERE a.tenant STARTS WITH $run DETACH DELETE a", run=RUN, database_="neo4j"
        )


@pytest.fixture
def tenant():
    """A tenant of one test."""
    return f"{RUN}-{uuid4().hex[:8]}"


async def query(store, text, **parameters):
    result = await store.graph.driver.execute_query(text, parameters, database_="neo4j")
    return [record.data() for record in result.records]


async def ended(store, tenant, *, at=None, finished=True):
    """An execution with a step, which has ended unless it is left open; ``at`` moves it into the past."""
    written = permitted(of=incident(signal(tenant=tenant)))
    await store.ledger.record([written])
    run = written.execution
    claim = await store.permits.claim(run.id, run.plan.hash, "h", 0)
    await store.journal.intend(run.id, claim.epoch, step_run(run.id))
    await store.journal.outcome(run.id, claim.epoch, step_run(run.id, status=StepStatus.SUCCEEDED))
    if finished:
        await store.journal.finish(run.id, claim.epoch, Outcome.SUCCESS, Verdict.VERIFIED)
    if at:
        await query(
            store,
            """
            MATCH (d:Decision)-[:LED_TO]->(e:RunbookExecution {id: $id})
            SET e.requested_at = $at, e.started_at = $at, d.last_seen = $at
            SET e.finished_at = CASE WHEN e.finished_at IS NULL THEN NULL ELSE $at END
            """,
            id=run.id,
            at=at,
        )
    return written


async def verified(store, tenant):
    """The problems of the tenant's audit trail, without anchors."""
    return (await Verification(store.graph, [], TrustedKeys([])).run(tenant)).problems


def only(source, target, names):
    """A backup with the lines about some names alone, as the backup of a graph that holds nothing else."""
    head, *lines, _ = source.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if any(name.encode() in line for name in names)]
    text = b"".join([head, *kept])
    end = {"nodes": 0, "relationships": 0, "sha256": hashlib.sha256(text).hexdigest()}
    target.write_bytes(text + orjson.dumps({"end": end}) + b"\n")
    return target


async def nodes(store, tenant):
    """Every node of a tenant's executions, with its relationships, to compare."""
    found = await query(
        store,
        """
        MATCH (e:RunbookExecution {tenant: $tenant})
        OPTIONAL MATCH (e)-[:STEP]->(s) OPTIONAL MATCH (d)-[:LED_TO]->(e)
        OPTIONAL MATCH (d)-[:ABOUT]->(event:Episodic) OPTIONAL MATCH (e)-[:USED]->(v)
        RETURN e.id AS id, properties(e) AS e, collect(DISTINCT properties(s)) AS steps, properties(d) AS d,
               collect(DISTINCT event.eid) AS events, v.id AS used
        """,
        tenant=tenant,
    )
    return {row["id"]: row for row in found}


async def test_a_backup_is_put_back_as_it_was_and_nothing_of_long_ago_begins_to_act(store, tenant, tmp_path):
    """Ended executions come back with steps, decisions and ties; open ones are ended; the audit chain holds."""
    known, gone = f"known-{tenant}", f"gone-{tenant}"
    for event in (known, gone):
        await query(
            store, "CREATE (:Episodic {eid: $eid, client_id: $t, test_run: $run})", eid=event, t=tenant, run=RUN
        )
    done, open_ = await ended(store, tenant), await ended(store, tenant, finished=False)
    about = [permitted(of=incident(signal(tenant=tenant, event_id=event))) for event in (known, gone)]
    await store.ledger.record(about)
    waiting = about[0].execution
    question = ask(waiting.id, "i", "h", ("why",), now=T0, timeout=timedelta(days=10_000))
    await store.approvals.request(question)
    before = await nodes(store, tenant)
    assert before[about[1].execution.id]["events"] == [gone]
    assert await verified(store, tenant) == []

    whole = tmp_path / "whole.jsonl"
    counted = await Backup(store.graph, "test").write(whole)
    assert counted.nodes >= len(before)
    assert whole.stat().st_mode & 0o077 == 0
    Restore(store.graph).check(whole)
    segments = await query(store, "MATCH (a:AuditEntry {tenant: $t}) RETURN DISTINCT a.segment AS segment", t=tenant)
    names = [
        tenant,
        *before,
        question.id,
        *(row["segment"] for row in segments),
        *(row["d"]["id"] for row in before.values()),
    ]
    mine = only(whole, tmp_path / f"{tenant}.jsonl", names)

    for text in (
        "MATCH (e:RunbookExecution {tenant: $t}) MATCH (a:Approval {execution_id: e.id}) DETACH DELETE a",
        "MATCH (e:RunbookExecution {tenant: $t}) OPTIONAL MATCH (e)-[:STEP]->(s) DETACH DELETE e, s",
        "MATCH (d:Decision {tenant: $t}) DETACH DELETE d",
        "MATCH (c:TargetClaim) WHERE c.key STARTS WITH $t DELETE c",
        "MATCH (a:AuditEntry {tenant: $t}) DETACH DELETE a",
        "MATCH (e:Episodic {client_id: $t, eid: 'gone-' + $t}) DETACH DELETE e",
    ):
        await query(store, text, t=tenant)
    restored = await Restore(store.graph).read(mine, by="ann", reason="the disk was lost")
    after = await nodes(store, tenant)
    assert after[done.execution.id] == before[done.execution.id]
    assert len(after[done.execution.id]["steps"]) == 1
    assert restored.loose >= 1
    assert after[about[0].execution.id]["events"] == [known]
    assert after[about[1].execution.id]["events"] == []
    assert sorted(restored.ended) == sorted({open_.execution.id, *(one.execution.id for one in about)})
    for name in restored.ended:
        assert (after[name]["e"]["status"], after[name]["e"]["outcome"]) == ("done", "aborted")
    assert (await store.approvals.get(question.id)).status.value == "overtaken"
    assert not {*(await store.executions.orphans(limit=10_000, unclaimed_seconds=0)).adopt} & {open_.execution.id}
    assert await verified(store, tenant) == []
    (entry,) = await query(
        store,
        "MATCH (a:AuditEntry {kind: 'graph.restored', actor: 'ann', subject: $s}) RETURN a.facts AS f",
        s=mine.name,
    )
    assert json.loads(entry["f"])["nodes"] == restored.nodes

    again = await Restore(store.graph).read(mine, by="ann", reason="once more")
    assert (again.nodes, again.ended) == (0, [])
    assert await nodes(store, tenant) == after


async def test_a_backup_that_was_changed_cut_off_or_is_of_a_newer_release_is_refused_before_anything_is_written(
    store, tmp_path
):
    """The whole file is checked first, and the message says what was expected."""
    body = orjson.dumps({"rootmend_backup": 1, "schema": 1, "database": "x", "at": "now", "by": "t"}) + b"\n"
    node = orjson.dumps({"n": "Decision", "p": {"id": f"never-{tmp_path.name}"}}) + b"\n"
    end = orjson.dumps({"end": {"nodes": 1, "relationships": 0, "sha256": hashlib.sha256(body + node).hexdigest()}})
    good = body + node + end + b"\n"
    bad = {
        "checksum": good.replace(b"never", b"other"),
        "cut off": body + node,
        "after its last line": good + node,
        "schema is 99": good.replace(b'"schema":1', b'"schema":99'),
        "of form 2": good.replace(b'"rootmend_backup":1', b'"rootmend_backup":2'),
        "expected a backup": b'{"a":1}\n',
        "line of JSON": b"hello\n",
    }
    restore = Restore(store.graph)
    for number, (why, content) in enumerate(bad.items()):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(content)
        with pytest.raises(BadBackup, match=why):
            await restore.read(path, by="ann", reason="x")
    assert not await query(store, "MATCH (d:Decision {id: $id}) RETURN d.id", id=f"never-{tmp_path.name}")


async def test_old_executions_go_in_batches_and_the_trail_says_which(store, tenant):
    """What is open or young stays; each batch leaves an entry with a hash of what went, and the chain holds."""
    now = datetime.now(UTC)
    old = [await ended(store, tenant, at=now - LONG_AGO) for _ in range(3)]
    young = await ended(store, tenant)
    open_ = await ended(store, tenant, at=now - LONG_AGO, finished=False)
    asked = await ended(store, tenant, at=now - LONG_AGO)
    question = ask(asked.execution.id, "i", "h", ("why",), now=now, timeout=timedelta(days=1))
    await store.approvals.request(question)
    before, retention = now - timedelta(days=90), Retention(store.graph, batch=2)
    told = {"by": "ann", "reason": "policy 7", "tenant": tenant}
    with pytest.raises(ValueError, match="at least 31d"):
        await retention.prune(now - timedelta(days=20), now, **told)
    assert (await retention.prune(before, now, dry_run=True, **told)).executions == 3
    assert len(await nodes(store, tenant)) == 6
    rows = {name: row["e"] for name, row in (await nodes(store, tenant)).items()}
    done = await retention.prune(before, now, **told)
    assert (done.executions, done.batches) == (3, 2)
    assert set(await nodes(store, tenant)) == {one.execution.id for one in (young, open_, asked)}
    ids = [one.execution.id for one in old]
    assert not await query(store, "MATCH (s:StepRun) WHERE s.execution_id IN $ids RETURN s.id", ids=ids)
    assert not await query(store, "MATCH (d:Decision) WHERE d.id IN $ids RETURN d.id", ids=[one.id for one in old])
    entries = await query(
        store,
        "MATCH (a:AuditEntry {tenant: $t, kind: 'executions.pruned'}) RETURN a.actor AS actor, a.facts AS facts",
        t=tenant,
    )
    facts = [json.loads(one["facts"]) for one in entries]
    assert sorted(name for one in facts for name in one["ids"]) == sorted(ids)
    assert {one["actor"] for one in entries} == {"ann"}
    for one in facts:
        gone = [{"id": n, "plan_hash": rows[n]["plan_hash"], "outcome": rows[n]["outcome"]} for n in one["ids"]]
        assert one["sha256"] == digest(gone)
    assert await verified(store, tenant) == []
    assert (await retention.prune(before, now, **told)).executions == 0


async def test_the_schema_is_upgraded_while_a_pipeline_works(stack, tmp_path):
    """Every input that comes meanwhile is decided, and the migration is on record."""
    async with served(stack, tmp_path / "site") as world:
        namespace = await world.namespace()
        world.runbook("fix", runbook("TestTrouble", mark("fixed")))
        await world.serve()
        messages = [world.rca(f"app-{n}", namespace, "NeverHeardOf") for n in range(60)]
        newest = "MATCH (m:SchemaMigration) WITH max(m.version) AS v RETURN v"
        (row,) = await world.query(newest)

        async def load():
            for first in range(0, len(messages), 6):
                await world.send(messages[first : first + 6])

        async def upgrade():
            for _ in range(3):
                # As in a database that was last used by the release before.
                await world.query("MATCH (m:SchemaMigration {version: $v}) DELETE m", v=row["v"])
                answer = await world.rb("migrate", "--json")
                assert answer.returncode == 0, answer.stderr
                assert isinstance(json.loads(answer.stdout), list)

        await asyncio.gather(load(), upgrade())

        async def decided():
            return len(await world.decisions()) >= len(messages)

        await until(decided, "every input is decided", 120)
        assert await world.query(newest) == [row]
