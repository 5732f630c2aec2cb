"""The project's own runbooks with the real actions on an API server in memory, whole and in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.actions import ListedSignals, RecordingHooks, SwitchGuard, match_for, permit_for, record_of
from fakes.cluster import FakeCluster
from fakes.journal import Crash, Crashes, MemoryJournal
from fakes.world import FakeWorld

import runbooks
from executor.actions import default_actions
from executor.model import Outcome, Verdict
from executor.planner import Planner
from executor.runner import Executor
from matcher.model import Match
from runbooks.loader import load_file
from runbooks.quantities import parse_memory

CATALOG = Path(runbooks.__file__).parent / "catalog"
TEMPLATE = {
    "metadata": {"labels": {"app": "app"}},
    "spec": {"containers": [{"name": "app", "image": "app:1", "resources": {"limits": {"memory": "256Mi"}}}]},
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "app", "namespace": "shop"},
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "app"}}, "template": TEMPLATE},
}


class MortalCluster(FakeCluster):
    """A process can die before and after each change."""

    crashes = Crashes()

    async def patch(self, ref, body, *, dry_run=False, **how: Any):
        return await self._mortal(f"patch {ref}", super().patch(ref, body, dry_run=dry_run, **how), dry_run=dry_run)

    async def create(self, body, *, dry_run=False):
        return await self._mortal(f"create {body['kind']}", super().create(body, dry_run=dry_run), dry_run=dry_run)

    async def evict(self, ref, *, grace_seconds=None, dry_run=False):
        return await self._mortal(
            "evict", super().evict(ref, grace_seconds=grace_seconds, dry_run=dry_run), dry_run=dry_run
        )

    async def _mortal(self, what, work, *, dry_run):
        if dry_run:
            return await work
        try:
            self.crashes.reach(f"before {what}")
        except Crash:
            work.close()
            raise
        answer = await work
        self.crashes.reach(f"after {what}")
        return answer


def needs(memory):
    """The kubelet: containers below this limit are killed."""

    def health(pod):
        limit = pod["spec"]["containers"][0]["resources"]["limits"]["memory"]
        return "OOMKilled" if parse_memory(limit) < parse_memory(memory) else ""

    return health


def pull_secret(pod):
    names = [entry["name"] for entry in pod["spec"].get("imagePullSecrets") or ()]
    return "" if "regcred" in names else "ImagePullBackOff"


def oom(cluster):
    cluster.health = needs("512Mi")
    return "oomkilled-increase-memory", {}


def hopeless(cluster):
    cluster.health = needs("2Gi")
    return "oomkilled-increase-memory", {}


def pull(cluster):
    cluster.health = pull_secret
    return "imagepullbackoff-registry-credentials", {}


def dead_node(cluster):
    cluster.change("Node", "node-1", "", {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})
    return "nodenotready-cordon-drain", {"kind": "Node", "name": "node-1", "namespace": "", "uid": ""}


CASES = {
    "oom": (oom, Outcome.SUCCESS, Verdict.VERIFIED),
    "hopeless": (hopeless, Outcome.ROLLBACK, None),
    "pull": (pull, Outcome.SUCCESS, Verdict.VERIFIED),
    "dead node": (dead_node, Outcome.SUCCESS, Verdict.VERIFIED),
}


async def play(case, crashes_at=()):
    """One runbook of the catalog, process after process."""
    world = FakeWorld(cluster=MortalCluster())
    world.secrets.values["registry_config"] = '{"auths": "hunter2"}'
    journal, alive = MemoryJournal(), list(crashes_at)
    world.cluster.crashes = journal.crashes
    made = world.cluster.add(DEPLOYMENT)
    name, target = CASES[case][0](world.cluster)
    world.cluster.change("Deployment", "app", "shop", {})
    loaded = load_file(CATALOG / name / "runbook.yaml")
    base = match_for(
        {"steps": [{"name": "x", "action": "wait"}]}, **({"uid": made["metadata"]["uid"], "container": "app"} | target)
    )
    match = Match(base.incident, loaded, ())
    actions = default_actions()
    plan = await Planner(actions, world.ports, {}).plan(match, "x1234567")
    runbook = loaded.runbook
    record = record_of(
        plan, "x1234567", started_at=world.clock.now(), settle_seconds=runbook.verification.settle.total_seconds()
    )
    journal.open(record, 1)
    epoch = 1
    while True:
        crashes = Crashes(alive.pop(0) if alive else None)
        world.cluster.crashes = journal.crashes = crashes
        executor = Executor(
            actions=actions,
            world=world.ports,
            journal=journal,
            guard=SwitchGuard(),
            clock=world.clock,
            hooks=RecordingHooks(),
            fresh=ListedSignals(),
        )
        try:
            ended = await executor.run(permit_for(record, epoch, "a1"), record)
        except Crash:
            stored = await journal.load("x1234567")
            if stored.outcome is not None:
                return world.cluster, stored, crashes
            epoch = journal.adopt("x1234567")
            record = stored.model_copy(update={"resumed": True})
            continue
        return world.cluster, ended, crashes


def state(cluster, ended):
    """What must not depend on crashes."""
    deployment = cluster.look("Deployment", "app", "shop")
    node = cluster.look("Node", "node-1")
    secret = cluster.look("Secret", "regcred", "shop")
    pods = sorted(pod["spec"]["nodeName"] for pod in cluster.items("Pod"))
    return (
        deployment["spec"], deployment["metadata"]["generation"], node["spec"], (secret or {}).get("data"), pods,
        ended.outcome, ended.verdict, sorted((run.id, run.status) for run in ended.steps),
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_each_runbook_of_the_catalog_ends_as_it_should(case):
    """The fix is proven, or undone."""
    cluster, ended, _ = await play(case)
    _, outcome, verdict = CASES[case]
    assert ended.outcome is outcome, ended.error
    assert verdict is None or ended.verdict is verdict
    memory = cluster.look("Deployment", "app", "shop")["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert memory == {"limits": {"memory": "512Mi" if case == "oom" else "256Mi"}}
    assert not any(item["metadata"]["name"].startswith("rootmend-backup") for item in cluster.items("Secret"))


@pytest.mark.parametrize("case", CASES)
async def test_invariant_3_a_crash_at_any_moment_of_a_real_runbook_changes_nothing(case):
    """The target says by its stamps what happened; the cluster ends in the same state, with no change made twice."""
    cluster, ended, crashes = await play(case)
    expected = state(cluster, ended)
    for moment in range(1, len(crashes.reached) + 1):
        again = state(*(await play(case, [moment]))[:2])
        assert again == expected, f"died at {crashes.reached[moment - 1]}"


async def test_invariant_12_a_real_runbook_stores_no_secret():
    """The registry's password is in the cluster, and nowhere in the journal."""
    _, ended, _ = await play("pull")
    text = ended.model_dump_json()
    assert "hunter2" not in text
    assert "aHVudGVyMg" not in text
