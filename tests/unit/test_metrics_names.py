"""The metrics have the names, labels and buckets that dashboards expect, and count what happened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from executor.model import Outcome, StepStatus
from services.hooks import MultiHooks
from services.metrics import EVENTS, METRICS, Metrics


def sample(metrics, name, /, **labels):
    """The value of one sample on the page that Prometheus reads, or None."""
    for family in text_string_to_metric_families(metrics.render().decode()):
        for found in family.samples:
            if found.name == name and found.labels == labels:
                return found.value
    return None


GUIDE = [
    ("runbook_executions_total", Counter, ("runbook_name", "trigger_type", "outcome"), ()),
    ("runbook_steps_total", Counter, ("runbook_name", "step_name", "status"), ()),
    ("runbook_execution_duration_seconds", Histogram, ("runbook_name",), (10, 30, 60, 120, 300, 600, 1800)),
    (
        "runbook_step_duration_seconds",
        Histogram,
        ("runbook_name", "step_name", "step_type"),
        (1, 5, 10, 30, 60, 120, 300),
    ),
    ("runbook_approval_wait_seconds", Histogram, ("runbook_name", "step_name"), (60, 300, 600, 900, 1800, 3600)),
    ("runbook_approvals_total", Counter, ("runbook_name", "decision"), ()),
    ("runbook_rollbacks_total", Counter, ("runbook_name", "reason", "success"), ()),
    ("runbook_active_executions", Gauge, ("runbook_name",), ()),
]


@pytest.mark.parametrize(("name", "kind", "labels", "buckets"), GUIDE)
def test_names_labels_and_buckets_are_those_of_the_guide(name, kind, labels, buckets):
    """Dashboards and alerts that exist for runbooks go on working."""
    (metric,) = [m for m in METRICS if m.name == name]
    assert (metric.kind, metric.labels, metric.buckets) == (kind, labels, buckets)


def test_an_execution_is_counted_from_start_to_outcome():
    """Running executions, steps, outcomes and durations come from the executor's events alone."""
    metrics = Metrics()
    metrics.event("execution.started", execution="e1", runbook="fix", trigger_type="alert")
    assert sample(metrics, "runbook_active_executions", runbook_name="fix") == 1
    metrics.event(
        "step.finished", runbook="fix", step="patch", action="kubectl_patch", status=StepStatus.SUCCEEDED, seconds=7
    )
    metrics.event(
        "execution.finished",
        execution="e1",
        runbook="fix",
        trigger_type="alert",
        outcome=Outcome.SUCCESS,
        verdict=None,
        seconds=45,
    )
    assert sample(metrics, "runbook_active_executions", runbook_name="fix") == 0
    assert sample(metrics, "runbook_steps_total", runbook_name="fix", step_name="patch", status="succeeded") == 1
    labels = {"runbook_name": "fix", "step_name": "patch", "step_type": "kubectl_patch"}
    assert sample(metrics, "runbook_step_duration_seconds_bucket", **labels, le="5.0") == 0
    assert sample(metrics, "runbook_step_duration_seconds_bucket", **labels, le="10.0") == 1
    assert sample(metrics, "runbook_executions_total", runbook_name="fix", trigger_type="alert", outcome="success") == 1
    assert sample(metrics, "runbook_execution_duration_seconds_bucket", runbook_name="fix", le="60.0") == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["execution.started", "execution.resumed", "execution.suspended", "execution.finished"]),
            st.sampled_from(["e1", "e2", "e3"]),
        )
    )
)
def test_the_active_executions_are_those_that_came_and_did_not_leave(story):
    """Whatever order of starts, hand-overs, adoptions and ends: none is counted twice, none for ever."""
    metrics = Metrics()
    running = set()
    for event, execution in story:
        metrics.event(event, execution=execution, runbook="fix", outcome="success")
        if event in {"execution.started", "execution.resumed"}:
            running.add(execution)
        else:
            running.discard(execution)
    assert (sample(metrics, "runbook_active_executions", runbook_name="fix") or 0) == len(running)


@pytest.mark.parametrize(
    ("event", "facts", "name", "labels", "value"),
    [
        ("approval.answered", {"runbook": "r", "step": "s", "decision": "approved", "seconds": 70},
         "runbook_approvals_total", {"runbook_name": "r", "decision": "approved"}, 1),
        ("approval.answered", {"runbook": "r", "step": "s", "decision": "denied", "seconds": 70},
         "runbook_approval_wait_seconds_sum", {"runbook_name": "r", "step_name": "s"}, 70),
        ("rollback.finished", {"runbook": "r", "reason": "not_fixed", "success": False},
         "runbook_rollbacks_total", {"runbook_name": "r", "reason": "not_fixed", "success": "false"}, 1),
        ("input.received", {"topic": "alerts", "shape": "alertmanager", "count": 3},
         "rootmend_inputs_total", {"topic": "alerts", "shape": "alertmanager"}, 3),
        ("input.dead", {"error": "bad_json"}, "rootmend_dead_letters_total", {"error": "bad_json"}, 1),
        ("decision", {"kind": "refusal", "check": "cooldown"},
         "rootmend_decisions_total", {"kind": "refusal", "check": "cooldown"}, 1),
        ("decision", {"kind": "permit"}, "rootmend_decisions_total", {"kind": "permit", "check": ""}, 1),
        ("gate.asked", {"seconds": 0.002, "count": 9}, "rootmend_gate_seconds_count", {}, 1),
        ("first_step", {"seconds": 0.4}, "rootmend_rca_to_first_step_seconds_sum", {}, 0.4),
        ("verified", {"seconds": 33}, "rootmend_time_to_verified_seconds_bucket", {"le": "60.0"}, 1),
        ("verified", {"seconds": -0.2}, "rootmend_time_to_verified_seconds_sum", {}, 0),
        ("lag", {"topic": "alerts", "partition": 2, "value": 41},
         "rootmend_kafka_lag", {"topic": "alerts", "partition": "2"}, 41),
        ("approvals.waiting", {"count": 4}, "rootmend_waiting_approvals", {}, 4),
        ("runbooks.loaded", {"loaded": 3, "rejected": 1}, "rootmend_runbooks_rejected", {}, 1),
        ("dependency", {"dependency": "redis", "up": False}, "rootmend_dependency_up", {"name": "redis"}, 0),
    ],
)  # fmt: skip
def test_each_event_moves_its_metric(event, facts, name, labels, value):
    """One event, one row."""
    metrics = Metrics()
    metrics.event(event, **facts)
    assert sample(metrics, name, **labels) == value


def test_the_version_is_told():
    """A dashboard can show which build runs."""
    assert b"rootmend_build_info{version=" in Metrics().render()


def test_two_registries_do_not_meet():
    """Tests and several pipelines in one process count apart."""
    one, other = Metrics(), Metrics()
    one.event("input.dead", error="x")
    assert sample(other, "rootmend_dead_letters_total", error="x") is None


@given(
    st.one_of(st.sampled_from(sorted(EVENTS)), st.text()),
    st.dictionaries(
        st.sampled_from(["runbook", "seconds", "outcome", "topic", "partition", "value", "up", "dependency", "count"]),
        st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.binary()),
    ),
)
def test_hooks_never_raise(name, facts):
    """Counting must not stop a fix, whatever it is told."""
    metrics = Metrics()
    metrics.event(name, **facts)
    list(text_string_to_metric_families(metrics.render().decode()))


def test_a_broken_listener_disturbs_nobody():
    """The others hear of the event, and the caller notices nothing."""

    class Broken:
        def event(self, name, **facts):
            raise RuntimeError(name)

    metrics = Metrics()
    hooks = MultiHooks(Broken(), metrics)
    hooks.event("input.dead", error="x")
    hooks.event("input.dead", error="x")
    assert sample(metrics, "rootmend_dead_letters_total", error="x") == 2


def test_a_long_label_is_cut():
    """An error message as a label would make a series of its own each time."""
    metrics = Metrics()
    metrics.event("input.dead", error="e" * 500 + "\nmore")
    assert sample(metrics, "rootmend_dead_letters_total", error="e" * 64) == 1
