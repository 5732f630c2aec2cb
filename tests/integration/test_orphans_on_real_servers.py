"""What nobody looks after, on the real servers: found, explained, carried on, ended, mended; in nobody's way."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from fakes import graph_samples as samples
from fakes.served import mark, runbook, served, until
from fakes.stores import real_store

from executor.model import Outcome, Status
from executor.planhash import plan_hash
from matcher.model import Target
from safety.approvals import ask
from safety.model import GateRecord
from safety.ports import Claim
from safety.redis_gate import RedisGate
from services.clock import SystemClock
from services.connections import policy_of
from services.records import DecisionKind
from services.settings import load_settings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

LONG = {"action": "wait", "params": {"condition": "deployment/not-there available", "timeout": "5m"}}


@pytest.fixture
async def world(stack, tmp_path):
    settings = {"audit": {"folder": str(tmp_path / "audit")}}
    async with served(stack, tmp_path / "site", settings=settings) as one:
        yield one
        await one.query("MATCH (a:AuditEntry {tenant: $name}) DETACH DELETE a")


@pytest.fixture
async def store(stack):
    async with real_store(stack) as one:
        yield one


class Left:
    """Writes executions as a process that died would have left them."""

    def __init__(self, world, store):
        self.world, self.store = world, store

    def incident(self, app="gone", namespace="web"):
        sent = samples.signal(tenant=self.world.name, cluster=self.world.name)
        target = Target(self.world.name, "Deployment", app, namespace, resolved_by="owner")
        return samples.incident(sent, target=target)

    async def permitted(self, app, seconds=60, **plan):
        """A permitted execution; ``plan`` changes its plan, whose hash stays right."""
        problem = self.incident(app, plan.pop("namespace", "web"))
        record = samples.execution(problem, requested_at=datetime.now(UTC))
        made = record.plan.model_copy(update=plan)
        made = made.model_copy(update={"hash": plan_hash(made)})
        record = record.model_copy(
            update={
                "plan": made,
                "settle_seconds": 0.0,
                "verify_timeout_seconds": 60.0,
                "incident": {**record.incident, "cluster": self.world.name},
            }
        )
        await self.store.ledger.record([samples.permitted(of=problem, execution=record, seconds=seconds)])
        return record

    async def begun(self, app, lease_seconds=0, **plan):
        """An execution that somebody claimed; with no lease he is gone for two minutes."""
        record = await self.permitted(app, **plan)
        claim = await self.store.permits.claim(record.id, record.plan.hash, "a-dead-process", lease_seconds)
        assert isinstance(claim, Claim)
        if not lease_seconds:
            await self.change(record.id, "SET c.lease_until_ms = timestamp() - 120000")
        return record

    async def asked(self, app, minutes):
        """An execution that waits for an answer to a question that ended so many minutes ago."""
        problem = self.incident(app)
        then = datetime.now(UTC) - timedelta(minutes=minutes + 5)
        record = samples.execution(problem, status=Status.WAITING_APPROVAL, requested_at=then)
        question = ask(record.id, problem.id, record.plan.hash, ("why",), now=then, timeout=timedelta(minutes=5))
        decision = samples.decision(
            DecisionKind.APPROVAL, signal=problem.signal, incident=problem, execution=record, approval=question
        )
        await self.store.ledger.record([decision])
        return record, question

    async def change(self, execution_id, what):
        await self.world.query(
            "MATCH (e:RunbookExecution {id: $id}) OPTIONAL MATCH (c:TargetClaim {key: e.claim_key}) " + what,
            id=execution_id,
        )

    async def node(self, execution_id):
        (row,) = await self.world.query(
            """
            MATCH (e:RunbookExecution {id: $id}) OPTIONAL MATCH (c:TargetClaim {key: e.claim_key})
            RETURN properties(e) AS e, properties(c) AS c
            """,
            id=execution_id,
        )
        return row["e"], row["c"]

    async def told(self, kind, subject):
        rows = await self.world.query(
            "MATCH (a:AuditEntry {tenant: $name, kind: $kind, subject: $subject}) RETURN properties(a) AS a",
            kind=kind,
            subject=subject,
        )
        return [row["a"] for row in rows]


@pytest.fixture
def left(world, store):
    return Left(world, store)


async def orphans(world):
    """What ``rb executions orphans`` says: its exit code, and kinds by id."""
    answer = await world.rb("executions", "orphans", "--json")
    assert answer.returncode in {0, 1}, answer.stderr
    found = json.loads(answer.stdout)
    assert all(one["why"] and one["do"] for one in found)
    return answer.returncode, {one["id"]: one["kind"] for one in found}


def gate_of(world):
    settings = load_settings(world.config)
    return RedisGate(world.redis, policy_of(settings), SystemClock(), prefix=settings.redis.prefix, timeout_seconds=5)


def held(world, execution_id, target):
    """What the gate remembers of an execution that holds its target."""
    now = datetime.now(UTC)
    return GateRecord(
        execution_id=execution_id,
        tenant=world.name,
        cluster=world.name,
        runbook_id="oom-raise-memory",
        target_key=target,
        plan_hash="h",
        token=1,
        granted_at=now,
        expires_at=now,
        holds_target=True,
        cooldown_until=None,
        approval_id="",
        namespaces=("web",),
        blast=1,
    )


async def test_every_kind_of_orphan_is_found_and_mended_where_production_is_not_touched(world, left):
    """Each is named with what to do; repair says what it would do, then does it; what needs a person stays."""
    lease = await left.begun("lease")
    alive = await left.begun("alive", lease_seconds=600)
    unclaimed = await left.permitted("unclaimed", seconds=-120)
    overdue, question = await left.asked("overdue", 10)
    fresh, _ = await left.asked("fresh", -10)
    mute, lost_question = await left.asked("mute", -10)
    await world.query("MATCH (a:Approval {id: $id}) DETACH DELETE a", id=lost_question.id)
    ended, abandoned = await left.asked("ended", -10)
    await left.change(ended.id, "SET e.status = 'done', e.outcome = 'aborted', e.finished_at = datetime()")
    dreaming, both, unclaimed_run = [await left.begun(name) for name in ("dreaming", "both", "never")]
    await left.change(dreaming.id, "SET e.status = 'dreaming'")
    await left.change(both.id, "SET e.outcome = 'success'")
    await left.change(unclaimed_run.id, "DELETE c")
    broken, newer = await left.begun("broken"), await left.begun("newer")
    await left.change(broken.id, "SET e.plan = '{broken'")
    await left.change(newer.id, "SET e.format = 99")
    ghost_target = f"{world.name}/web/Deployment/ghost"
    gate = gate_of(world)
    records = [held(world, "ghost", ghost_target), held(world, ended.id, ended.plan.target_key)]
    records.append(held(world, alive.id, alive.plan.target_key))
    await gate.restore(records)

    expected = {
        lease.id: "lease_lost",
        unclaimed.id: "unclaimed",
        question.id: "approval_overdue",
        abandoned.id: "approval_abandoned",
        mute.id: "impossible",
        dreaming.id: "unreadable",
        both.id: "impossible",
        unclaimed_run.id: "impossible",
        broken.id: "unreadable",
        newer.id: "newer",
        "ghost": "lock_without_execution",
        ended.id: "lock_without_execution",
    }
    if await world.query("MATCH (a:Approval {id: $id}) WHERE a.status = 'expired' RETURN a.id", id=question.id):
        del expected[question.id]  # whoever serves this graph lets questions expire, whatever cluster they are about
    assert await orphans(world) == (1, expected)

    looked = await world.rb("executions", "repair", "--json")
    assert looked.returncode == 0, looked.stderr
    assert {one["outcome"] for one in json.loads(looked.stdout)} == {"would"}
    assert await orphans(world) == (1, expected)
    unsaid = await world.rb("executions", "repair", "--apply")
    assert (unsaid.returncode, "--reason" in unsaid.stderr) == (2, True)

    mended = await world.rb("executions", "repair", "--apply", "--reason", "after the outage", "--by", "ann", "--json")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert {one["outcome"] for one in json.loads(mended.stdout)} == {"done"}
    still = {name: kind for name, kind in expected.items() if kind in {"lease_lost", "unreadable", "newer"}}
    still |= {both.id: "impossible", unclaimed_run.id: "impossible"}
    assert await orphans(world) == (1, still)
    for name in (unclaimed.id, overdue.id, mute.id):
        node, _ = await left.node(name)
        assert (node["status"], node["outcome"]) == ("done", "aborted")
        assert await left.told("execution.ended", name)
    assert (await left.node(fresh.id))[0]["status"] == "waiting_approval"
    assert (await left.node(alive.id))[0]["status"] == "running"
    locked = await world.redis.hget(f"{world.name}:{{{world.name}}}:target:{alive.plan.target_key}", "holder")
    assert locked.decode() == alive.id


async def test_an_orphan_is_ended_by_a_person_and_its_target_is_free(world, left):
    """With a reason and an actor on record; one that is held by somebody alive is left to him."""
    orphan, alive = await left.begun("orphan"), await left.begun("alive", lease_seconds=600)
    broken = await left.begun("broken")
    await left.change(broken.id, "SET e.plan = '{broken'")
    old_epoch = (await left.node(orphan.id))[1]["epoch"]
    choice = await world.rb("executions", "abort", orphan.id, "--reason", "x", "--by", "ann")
    assert (choice.returncode, "--rollback or --no-rollback" in choice.stderr) == (2, True)
    refused = await world.rb("executions", "abort", alive.id, "--no-rollback", "--reason", "x", "--by", "ann")
    assert (refused.returncode, "a-dead-process is alive" in refused.stderr) == (1, True)
    unknown = await world.rb("executions", "abort", "ffffffff", "--no-rollback", "--reason", "x", "--by", "ann")
    assert (unknown.returncode, "no execution is on record" in unknown.stderr) == (1, True)
    for one in (orphan, broken):
        words = ["executions", "abort", one.id[:18], "--no-rollback", "--reason", "fixed by hand", "--by", "ann"]
        answer = await world.rb(*words)
        assert answer.returncode == 0, answer.stderr
        node, claim = await left.node(one.id)
        told = {key: node[key] for key in ("status", "outcome", "error")}
        assert told == {"status": "done", "outcome": "aborted", "error": "aborted by ann: fixed by hand"}
        assert claim.get("execution_id") is None
        assert claim["epoch"] > old_epoch or one is broken
        (entry,) = await left.told("execution.ended", one.id)
        assert (entry["actor"], entry["reason"]) == ("ann", "aborted by ann: fixed by hand")
    assert await orphans(world) == (0, {})
    again = await left.store.permits.adopt(orphan.id, "late", 30)
    assert again == "it is done"


async def test_one_bad_record_keeps_nobody_waiting_and_is_told_of_once(world, left):
    """Records that cannot be read lie among good ones; a running process carries the good ones on."""
    namespace = await world.namespace()
    await world.app("good", namespace)
    await world.app("fresh", namespace)
    world.runbook("fix", runbook("TestTrouble", mark("fixed")))
    broken, newer, aside = [await left.begun(name) for name in ("broken", "newer", "aside")]
    await left.change(broken.id, "SET e.plan = '{broken', e.requested_at = datetime('2026-01-01T00:00:00Z')")
    await left.change(newer.id, "SET e.format = 99, e.requested_at = datetime('2026-01-01T00:00:00Z')")
    kept = (await left.node(aside.id))[0]["plan"]
    await left.change(aside.id, "SET e.plan = '[]'")
    target = {"kind": "Deployment", "name": "good", "namespace": namespace, "cluster": world.name}
    good = await left.begun("good", namespace=namespace, steps=(), context={"target": target, "incident": {}})
    text = json.loads((await left.node(good.id))[0]["plan"])
    await world.query(
        "MATCH (e:RunbookExecution {id: $id}) SET e.plan = $plan, e.of_tomorrow = 1",
        id=good.id,
        plan=json.dumps({**text, "of_tomorrow": {"a": [1]}}),
    )
    _, question = await left.asked("late", 10)
    await world.query("MATCH (a:Approval {id: $id}) SET a.rules = '{broken'", id=question.id)
    process = await world.serve()

    async def ended():
        node, _ = await left.node(good.id)
        return node if node["status"] == "done" else None

    node = await until(ended, "the good one ends", 120)
    assert node["outcome"] in {Outcome.SUCCESS, Outcome.PARTIAL, Outcome.FAILURE}, node["error"]
    assert "cannot be read" not in node["error"]

    # A new incident goes its whole way; many sweeps have passed by then.
    message = world.rca("fresh", namespace)
    await world.send([message])
    event = json.loads(message[1])["incident_id"]
    assert (await world.execution(event, "done", seconds=120))["status"] == "done"
    for name in (broken.id, aside.id, question.id):
        lines = [line for line in process.log("record.unreadable") if line.get("id") == name]
        assert len(lines) == 1, lines
    assert not [line for line in process.log() if newer.id in json.dumps(line)]
    assert (await left.node(newer.id))[0]["status"] == "running"
    code, found = await orphans(world)
    assert code == 1
    assert {name: found.get(name) for name in (broken.id, newer.id, aside.id, question.id)} == {
        broken.id: "unreadable",
        newer.id: "newer",
        aside.id: "unreadable",
        question.id: "unreadable",
    }

    # Mended by hand, and given to the running process, which had put it aside.
    await world.query("MATCH (e:RunbookExecution {id: $id}) SET e.plan = $plan", id=aside.id, plan=kept)
    before = (await left.node(aside.id))[0]["epoch"]
    answer = await world.rb("executions", "adopt", aside.id, "--reason", "mended by hand", "--by", "ann")
    assert answer.returncode == 0, answer.stderr
    after = (await left.node(aside.id))[0]
    assert after["epoch"] > before
    assert after["holder"] != "a-dead-process"
    (entry,) = await left.told("execution.adoption_asked", aside.id)
    assert (entry["actor"], entry["reason"]) == ("ann", "mended by hand")
    assert await left.told("execution.adopted", aside.id)


async def test_an_orphan_is_taken_back_when_a_person_says_so(world, left):
    """What a killed process had done is undone by the next one, under a larger epoch, with the reason on record."""
    namespace = await world.namespace()
    await world.app("half", namespace)
    world.runbook("half", runbook("TestTrouble", mark("fixed"), {"id": "long", "name": "Long", **LONG}))
    process = await world.serve()
    message = world.rca("half", namespace)
    await world.send([message])
    event = json.loads(message[1])["incident_id"]
    run = await world.execution(event, "running", seconds=120)

    async def marked():
        return (await world.steps(run["id"])).get(("step", "long")) == "intended"

    await until(marked, "the long step has begun", 120)
    await process.kill()
    words = ["executions", "abort", run["id"], "--rollback", "--reason", "wrong target", "--by", "ann", "--wait", "0"]

    async def asked():
        answer = await world.rb(*words)
        return answer if answer.returncode == 0 else None  # until its lease has run out

    await until(asked, "its lease ran out", 120)
    await world.serve()
    node = await world.execution(event, "done", seconds=120)
    assert node["outcome"] == "rollback", node["error"]
    assert "aborted by ann: wrong target" in node["error"]
    assert node["epoch"] > run["epoch"]
    deployment = await world.admin.get("Deployment", "half", namespace)
    assert not [key for key in deployment["metadata"].get("annotations", {}) if key.endswith("/fixed")]
