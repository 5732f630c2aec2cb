"""Causes about what a workload uses: an autoscaler leads to what it scales, a volume claim to what mounts it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fakes.graph_causes import FakeCausalGraph

from executor import health
from matcher.model import Cause, Origin, Signal, SignalStatus, Subject, Target
from matcher.target import NoTarget, TargetResolver
from services.testing.cluster import MemoryCluster

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LABELS = {"app": "shop"}


def deployment(name, claim):
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    labels = {"app": name}
    spec = {"containers": [{"name": "app", "image": "app:1"}], "volumes": [volume]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def autoscaler(kind, name):
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"minReplicas": 1, "maxReplicas": 3, "scaleTargetRef": {"kind": kind, "name": name}},
    }


async def resolved(cluster, kind, name):
    subject = Subject(kind, name, "shop")
    signal = Signal(
        "s", "t", "prod", "Alert", "WARNING", SignalStatus.FIRING, subject, NOW, "rca", "k", Origin("a", 0, 0)
    )
    found = TargetResolver(cluster, FakeCausalGraph(), cluster="prod", cache_seconds=0)
    return await found.resolve(Cause("c", "Alert", subject, 0.9, "w", 0.9), signal)


async def test_an_autoscaler_leads_to_the_workload_that_it_scales():
    """The runbook changes the autoscaler, and the health of the workload proves it."""
    cluster = MemoryCluster()
    cluster.add(deployment("shop", "data"))
    cluster.add(autoscaler("Deployment", "shop"))
    target = await resolved(cluster, "HorizontalPodAutoscaler", "web")
    assert isinstance(target, Target), target
    assert (target.kind, target.name, target.container) == ("Deployment", "shop", "app")


@pytest.mark.parametrize(
    ("kind", "name", "why"), [("Rocket", "x", "scales Rocket x"), ("Deployment", "gone", "does not exist")]
)
async def test_an_autoscaler_of_something_else_has_no_target(kind, name, why):
    """What it scales must be a workload, and must be there."""
    cluster = MemoryCluster()
    cluster.add(autoscaler(kind, name))
    target = await resolved(cluster, "hpa", "web")
    assert isinstance(target, NoTarget)
    assert why in target.reason


async def test_a_claim_leads_to_the_one_workload_that_mounts_it():
    """Its pods say which: a claim of one workload has one target."""
    cluster = MemoryCluster()
    cluster.add(deployment("shop", "data"))
    cluster.add(deployment("other", "else"))
    target = await resolved(cluster, "PersistentVolumeClaim", "data")
    assert isinstance(target, Target), target
    assert (target.kind, target.name, target.resolved_by) == ("Deployment", "shop", "mount")


async def test_a_claim_of_several_workloads_or_none_has_no_target():
    """Nobody guesses which of them is meant."""
    cluster = MemoryCluster()
    cluster.add(deployment("one", "shared"))
    cluster.add(deployment("two", "shared"))
    shared = await resolved(cluster, "PersistentVolumeClaim", "shared")
    unused = await resolved(cluster, "PersistentVolumeClaim", "unused")
    assert isinstance(shared, NoTarget)
    assert "mounted by one, two, not by one" in shared.reason
    assert isinstance(unused, NoTarget)
    assert "no workload" in unused.reason


def job(name, made, condition="", uid="u1"):
    conditions = [{"type": condition, "status": "True"}] if condition else []
    meta = {"name": name, "creationTimestamp": made.isoformat(), "ownerReferences": [{"uid": uid}]}
    return {"kind": "Job", "metadata": meta, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("jobs", "healthy"),
    [
        ([], None),
        ([job("old", NOW - timedelta(hours=1), "Complete")], None),
        ([job("foreign", NOW, "Complete", uid="u2")], None),
        ([job("old", NOW - timedelta(hours=1), "Failed"), job("new", NOW, "Complete")], True),
        ([job("new", NOW, "Failed")], False),
        ([job("new", NOW)], False),
    ],
    ids=["none", "only an old one", "of another CronJob", "the newest counts", "failed", "running"],
)
def test_invariant_8_a_cronjob_is_as_well_as_its_newest_job(jobs, healthy):
    """A job that began before the execution proves nothing about it."""
    assert health.cronjob({"metadata": {"uid": "u1"}}, jobs, NOW).healthy is healthy
