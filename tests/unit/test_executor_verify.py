"""Verification: what the owner workload, its pods, the node and fresh signals prove."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.actions import NAMESPACE, START, Bench, deployment, match_for, pod, record_of, replica_set
from hypothesis import given
from hypothesis import strategies as st

from executor import health
from executor.health import Failure, Reading
from executor.judge import Observation, judge
from executor.model import ObjectRef, StepRun, StepStatus, Verdict
from executor.planner import Planner
from executor.verify import Verifier

APP = ObjectRef(kind="Deployment", name="app", namespace=NAMESPACE, uid="d1")
NODE = ObjectRef(kind="Node", name="node-1")
SETTLE, WINDOW = timedelta(seconds=5), timedelta(seconds=60)


def seen(*readings, every=1.0):
    """Observations, one a second."""
    return [Observation(START + timedelta(seconds=every * number), reading) for number, reading in enumerate(readings)]


UP = Reading(healthy=True, detail="up")
DOWN = Reading(healthy=False, detail="down")
NOTHING = Reading(None, "nothing")
GIVEN_UP = Reading(healthy=False, detail="gave up", proof=True)


def died(number, reason="OOMKilled", container="p/app"):
    return Reading(healthy=False, detail="died", failures=frozenset({Failure(container, number, reason)}))


@pytest.mark.parametrize(
    ("readings", "at", "verdict"),
    [
        ([], 1, None),
        ([], 60, Verdict.INCONCLUSIVE),
        ([UP] * 5, 5, None),
        ([UP] * 6, 5, Verdict.VERIFIED),
        ([UP, UP, UP, DOWN, UP, UP], 5, None),
        ([UP, UP, UP, NOTHING, UP, UP], 5, None),
        ([DOWN] * 6, 5, None),
        ([DOWN] * 61, 60, Verdict.NOT_FIXED),
        ([NOTHING] * 61, 60, Verdict.INCONCLUSIVE),
        ([DOWN] * 60 + [NOTHING], 60, Verdict.INCONCLUSIVE),
        ([DOWN] * 60 + [UP], 60, None),
        ([DOWN] * 60 + [UP] * 6, 65, Verdict.VERIFIED),
        ([DOWN] * 60 + [UP] * 3 + [DOWN], 63, Verdict.NOT_FIXED),
        ([GIVEN_UP], 1, Verdict.NOT_FIXED),
        ([died(1)], 1, None),
        ([died(1), died(2)], 2, Verdict.NOT_FIXED),
        ([died(1), died(2, "Error")], 2, None),
        ([died(1), died(1, container="q/app")], 2, None),
        ([died(1), died(2), UP], 3, None),
    ],
)
def test_the_verdict_table(readings, at, verdict):
    """One row, one rule."""
    assert judge(seen(*readings), SETTLE, START + timedelta(seconds=at), START + WINDOW) is verdict


@given(st.lists(st.sampled_from([DOWN, NOTHING, died(1)]), max_size=80), st.integers(0, 200))
def test_invariant_8_without_a_healthy_look_nothing_is_ever_verified(readings, at):
    """Success needs positive evidence."""
    assert judge(seen(*readings), SETTLE, START + timedelta(seconds=at), START + WINDOW) is not Verdict.VERIFIED


@given(st.lists(st.sampled_from([UP, DOWN, NOTHING]), min_size=1, max_size=80))
def test_verified_means_healthy_for_the_whole_settle_time(readings):
    """Any break in the last settle time is no success."""
    verdict = judge(seen(*readings), SETTLE, START + timedelta(seconds=len(readings)), START + WINDOW)
    assert (verdict is Verdict.VERIFIED) == (len(readings) >= 6 and all(one is UP for one in readings[-6:]))


async def bench_with(settle=5, **facts):
    bench = Bench()
    bench.cluster.before_read.clear()
    runbook = {"safety": {"require_approval": False}, "steps": [{"name": "S", "action": "settle"}]}
    plan = await Planner(bench.actions, bench.world, {}).plan(match_for(runbook), "x1")
    record = record_of(plan, verify_from=START, settle_seconds=settle, **facts)
    return bench, record


async def verdict_of(bench, record, target=APP):
    proof = await Verifier(bench.world.cluster, bench.fresh, bench.clock).verify(record, target)
    return proof.verdict, proof.evidence


def healthy(bench):
    for item in (deployment(), replica_set(), pod()):
        bench.cluster.put(item)


async def test_a_healthy_deployment_is_verified_right_after_the_settle_time():
    """Neither before it nor long after."""
    bench, record = await bench_with()
    healthy(bench)
    verdict, evidence = await verdict_of(bench, record)
    assert verdict is Verdict.VERIFIED
    assert bench.clock.passed == pytest.approx(5, abs=0.5)
    assert evidence[0].detail == "1 of 1 available, all of the current revision; 1 pods ready"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (deployment(generation=2, observedGeneration=1), "has not seen the latest change"),
        (deployment(updatedReplicas=0), "0 of 1 replicas updated"),
        (deployment(total=2), "1 old replicas are still there"),
        (deployment(available=0), "0 of 1 available"),
        (deployment(unavailableReplicas=1), "1 of 1 available"),
    ],
)
async def test_an_incomplete_rollout_is_not_fixed_at_the_deadline(broken, words):
    """Each part of a rollout has to be there."""
    bench, record = await bench_with()
    healthy(bench)
    bench.cluster.put(broken)
    verdict, evidence = await verdict_of(bench, record)
    assert verdict is not Verdict.VERIFIED
    assert words in evidence[-1].detail
    assert bench.clock.passed == pytest.approx(60, abs=1)


async def test_an_exceeded_progress_deadline_is_proof_and_an_old_one_is_not():
    """The controller gave up on this rollout; what it said of an earlier one does not count."""
    for at, expected in ((START + timedelta(seconds=3), 0.0), (START - timedelta(hours=1), 60.0)):
        bench, record = await bench_with()
        healthy(bench)
        condition = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "lastUpdateTime": at.isoformat()}
        bench.cluster.put(deployment(available=0, conditions=[condition]))
        verdict, _ = await verdict_of(bench, record)
        assert verdict is Verdict.NOT_FIXED
        assert bench.clock.passed == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("reason", ["CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull"])
async def test_a_pod_in_trouble_is_not_fixed_although_the_deployment_looks_well(reason):
    """The controller's counts are not the pods' own story."""
    bench, record = await bench_with()
    healthy(bench)
    bench.cluster.put(pod(state={"waiting": {"reason": reason}}))
    verdict, evidence = await verdict_of(bench, record)
    assert verdict is Verdict.NOT_FIXED
    assert f"app-1/app is in {reason}" in evidence[-1].detail


def revised(number, **more):
    """The workload, whose controller has told the revision."""
    made = deployment(generation=number, **more)
    made["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": str(number)}
    return made


async def test_the_replica_set_is_looked_for_once_for_each_revision(monkeypatch):
    """A later rollout is noticed, and its own pods count; until then one answer serves all looks."""
    bench, record = await bench_with()
    bench.cluster.put(revised(1))
    bench.cluster.put(replica_set())
    bench.cluster.put(pod())
    listed = []
    plain = bench.cluster.list

    async def counting(kind, namespace="", **selectors):
        listed.append((kind, bench.clock.passed))
        return await plain(kind, namespace, **selectors)

    monkeypatch.setattr(bench.cluster, "list", counting)

    def roll_out():
        if bench.clock.passed > 2 and ("ReplicaSet", NAMESPACE, "app-r2") not in bench.cluster.objects:
            bench.cluster.put(revised(2))
            bench.cluster.put(replica_set("r2", 2))

    bench.cluster.before_read.append(roll_out)
    verdict, evidence = await verdict_of(bench, record)
    assert verdict is Verdict.INCONCLUSIVE  # the only pod is one of the revision before
    assert evidence[0].healthy
    assert len([at for kind, at in listed if kind == "ReplicaSet"]) == 2
    assert len([at for kind, at in listed if kind == "Pod"]) > 5


async def test_a_replica_set_is_not_remembered_before_its_controller_has_seen_the_change():
    """What is found then may be the one of the revision before."""
    bench, record = await bench_with()
    healthy(bench)
    behind = revised(2)
    behind["status"]["observedGeneration"] = 1
    bench.cluster.put(behind)
    bench.cluster.put(pod(state={"waiting": {"reason": "CrashLoopBackOff"}}))

    def catch_up():
        if bench.clock.passed > 2:
            bench.cluster.put(revised(2))
            bench.cluster.put(replica_set("r2", 2))
            bench.cluster.put(pod("app-2", owner="r2"))

    bench.cluster.before_read.append(catch_up)
    verdict, evidence = await verdict_of(bench, record)
    assert verdict is Verdict.VERIFIED
    assert "1 pods ready" in evidence[-1].detail


async def test_a_restart_starts_the_settle_time_again():
    """A container that died in between was not healthy, however it looks at each look."""
    bench, record = await bench_with()
    healthy(bench)

    def restart():
        if 2 < bench.clock.passed < 4:
            bench.cluster.put(pod(restarts=1))

    bench.cluster.before_read.append(restart)
    verdict, evidence = await verdict_of(bench, record)
    assert verdict is Verdict.VERIFIED
    assert any("app-1/app restarted" in line.detail for line in evidence)
    assert bench.clock.passed > 6.5


async def test_a_container_that_dies_again_for_the_same_reason_is_early_proof():
    """Waiting for the deadline would tell nothing new."""
    bench, record = await bench_with()
    bench.cluster.put(deployment(available=0))
    bench.cluster.put(replica_set())

    def oom():
        count = 1 + int(bench.clock.passed // 4)
        last = {"terminated": {"reason": "OOMKilled", "finishedAt": bench.clock.now().isoformat()}}
        waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
        bench.cluster.put(pod(ready=False, restarts=count, state=waiting, lastState=last))

    bench.cluster.before_read.append(oom)
    verdict, evidence = await verdict_of(bench, record)
    assert verdict is Verdict.NOT_FIXED
    assert "after OOMKilled" in evidence[-1].detail
    assert bench.clock.passed < 10


@pytest.mark.parametrize(
    "items",
    [
        [],
        [deployment(replicas=0, available=0)],
        [deployment(), replica_set()],
        [deployment(), replica_set(), replica_set("r2", 2), pod()],
        [{"kind": "CronJob", "metadata": {"name": "app", "namespace": NAMESPACE}}],
    ],
    ids=["gone", "zero replicas", "no pods", "only pods of an old revision", "a kind that proves nothing"],
)
async def test_invariant_8_no_evidence_is_inconclusive(items):
    """Nothing there that could prove anything, so nobody claims a success."""
    bench, record = await bench_with()
    for item in items:
        bench.cluster.put(item)
    target = APP.model_copy(update={"kind": items[0]["kind"]}) if items else APP
    verdict, _ = await verdict_of(bench, record, target)
    assert verdict is Verdict.INCONCLUSIVE


async def test_invariant_6_an_unreadable_cluster_is_inconclusive():
    """Missing data never proves a fix."""
    bench, record = await bench_with()
    healthy(bench)
    bench.cluster.broken = True
    verdict, evidence = await verdict_of(bench, record)
    assert verdict is Verdict.INCONCLUSIVE
    assert "the API server is away" in evidence[-1].detail


async def test_a_fresh_signal_outweighs_green_objects_and_only_for_a_settle_time():
    """New signals start the settle time again; a late one from a windowed rule does not condemn for ever."""
    bench, record = await bench_with()
    healthy(bench)
    bench.fresh.lines = [(START + timedelta(seconds=3), "OOMKilled of app-1")]
    verdict, evidence = await verdict_of(bench, record)
    assert verdict is Verdict.VERIFIED
    assert any("new signals: OOMKilled of app-1" in line.detail for line in evidence)
    assert bench.clock.passed > 12
    bench, record = await bench_with()
    healthy(bench)
    bench.fresh.lines = [(START + timedelta(seconds=second), "again") for second in range(100)]
    assert (await verdict_of(bench, record))[0] is Verdict.NOT_FIXED


async def test_the_window_counts_from_when_the_steps_were_done():
    """A process that takes over has the same deadline, and looks at a whole settle time itself."""
    bench, record = await bench_with()
    bench.cluster.put(deployment(available=0))
    bench.clock.passed = 50
    assert (await verdict_of(bench, record))[0] is Verdict.NOT_FIXED
    assert bench.clock.passed == pytest.approx(60, abs=1)


def workload(kind, **status):
    return {"kind": kind, "metadata": {"name": "app"}, "spec": {"replicas": 2}, "status": status}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (workload("StatefulSet", replicas=2, availableReplicas=2, updateRevision="b", currentRevision="b"), True),
        (workload("StatefulSet", replicas=2, availableReplicas=2, updateRevision="b", currentRevision="a"), False),
        (workload("DaemonSet", desiredNumberScheduled=3, updatedNumberScheduled=3, numberAvailable=3), True),
        (workload("DaemonSet", desiredNumberScheduled=3, updatedNumberScheduled=2, numberAvailable=3), False),
        (workload("DaemonSet", desiredNumberScheduled=3, updatedNumberScheduled=3, numberAvailable=2), False),
        (workload("DaemonSet"), None),
        (workload("ReplicaSet", replicas=2, availableReplicas=2), True),
        (workload("Job", conditions=[{"type": "Complete", "status": "True"}]), True),
        (workload("Job", conditions=[{"type": "Failed", "status": "True"}]), False),
        (workload("Job"), False),
        (workload("Rollout"), None),
    ],
)
def test_each_kind_has_its_own_proof(item, expected):
    """StatefulSets, DaemonSets, ReplicaSets and Jobs say it in their own words."""
    assert health.workload(item, START).healthy is expected


def node(*, is_ready=True, closed=False):
    return {
        "kind": "Node",
        "metadata": {"name": "node-1"},
        "spec": {"unschedulable": closed},
        "status": {"conditions": [{"type": "Ready", "status": "True" if is_ready else "Unknown"}]},
    }


def on_node(item, **meta):
    return {**item, "spec": {"nodeName": "node-1"}, "metadata": {**item["metadata"], **meta}}


def drained(record, *, saved_only=False):
    moved = [{"name": "app-1", "namespace": NAMESPACE, "uid": "u", "owner": "ReplicaSet app-r1"}]
    moved.append({"name": "old", "namespace": NAMESPACE, "uid": "v", "owner": "nobody, it has ended"})
    run = StepRun(
        id="x1/step/0",
        index=0,
        step_id="drain",
        name="Drain",
        action="kubectl_drain",
        status=StepStatus.SUCCEEDED,
        before={"pods": moved},
        output={"evicted": [] if saved_only else moved},
        started_at=START,
    )
    return record.model_copy(update={"steps": (run,)})


def owner_set(available):
    return replica_set() | {"spec": {"replicas": 1}, "status": {"replicas": 1, "availableReplicas": available}}


async def test_a_node_that_is_back_is_verified():
    """Ready and schedulable."""
    bench, record = await bench_with()
    bench.cluster.put(node())
    assert (await verdict_of(bench, record, NODE))[0] is Verdict.VERIFIED


@pytest.mark.parametrize(
    ("available", "left", "alive", "expected"),
    [
        (1, None, False, Verdict.VERIFIED),
        (0, None, False, Verdict.NOT_FIXED),
        (1, {}, False, Verdict.NOT_FIXED),
        (1, {"deletionTimestamp": "2026-01-02T03:04:05Z"}, False, Verdict.VERIFIED),
        (1, {"deletionTimestamp": "2026-01-02T03:04:05Z"}, True, Verdict.NOT_FIXED),
        (1, {"ownerReferences": [{"kind": "DaemonSet", "uid": "x"}]}, True, Verdict.VERIFIED),
    ],
)
async def test_a_drained_node_is_proven_by_its_emptiness_and_the_owners_of_its_pods(available, left, alive, expected):
    """Cordoned, empty, and what ran there runs elsewhere; a dead node's terminating pods count as gone."""
    bench, record = await bench_with()
    bench.cluster.put(node(is_ready=alive, closed=True))
    bench.cluster.put(owner_set(available))
    if left is not None:
        bench.cluster.put(on_node(pod(), **left))
    assert (await verdict_of(bench, drained(record), NODE))[0] is expected


async def test_pods_that_a_crashed_drain_moved_count_too():
    """The second try lists only what was left; the owners of all of them must be well."""
    bench, record = await bench_with()
    bench.cluster.put(node(is_ready=False, closed=True))
    bench.cluster.put(owner_set(0))
    assert (await verdict_of(bench, drained(record, saved_only=True), NODE))[0] is Verdict.NOT_FIXED


async def test_a_broken_node_that_still_takes_pods_is_not_fixed():
    """Nothing was done to it."""
    bench, record = await bench_with()
    bench.cluster.put(node(is_ready=False))
    assert (await verdict_of(bench, record, NODE))[0] is Verdict.NOT_FIXED


async def test_an_empty_selector_selects_nothing():
    """An empty selector would be every pod of the namespace (lesson 10)."""
    bench, record = await bench_with()
    healthy(bench)
    item = deployment()
    item["spec"]["selector"] = {}
    bench.cluster.put(item)
    assert (await verdict_of(bench, record))[0] is Verdict.INCONCLUSIVE
