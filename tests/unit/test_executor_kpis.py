"""What an author promises of a runbook, measured in each execution and over many."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.actions import START, Bench, match_for, record_of
from fakes.pipeline_rig import Rig, runbook
from hypothesis import given
from hypothesis import strategies as st

from executor.kpis import error_rate, measured, success_rate
from executor.model import Kpi, Outcome, Promises, StepRun, StepStatus
from executor.planner import Planner
from services.cli.explain import with_success
from services.cli.story import story_text
from services.metrics import Metrics

CHANGE = {"name": "raise", "action": "set", "params": {"name": "memory", "value": "512Mi"}}
FAILS = {
    "name": "extra",
    "action": "set",
    "params": {"name": "x", "value": 1, "fail": "permanent"},
    "on_failure": "continue",
}


async def ended(kpis, *steps):
    bench = Bench()
    raw = {"safety": {"require_approval": False}, "steps": list(steps), "kpis": kpis}
    plan = await Planner(bench.actions, bench.world, {}).plan(match_for(raw), "x1")
    return bench, await bench.start(record_of(plan))


async def test_duration_and_errors_are_measured_and_kept():
    """Half of the steps failed, and it took as long as it settled: both are on record beside their promise."""
    bench, record = await ended({"max_duration": "2s", "max_error_rate": 0.5}, CHANGE, FAILS)
    duration, errors = record.kpis
    assert (duration.name, duration.met, duration.limit) == ("duration_seconds", False, 2)
    assert duration.value == pytest.approx(5, abs=1)
    assert errors == Kpi(name="error_rate", value=0.5, limit=0.5, met=True)
    assert (await bench.journal.load("x1")).kpis == record.kpis
    assert [(facts["kpi"], facts["met"]) for facts in bench.hooks.named("kpi.measured")] == [
        ("duration_seconds", False),
        ("error_rate", True),
    ]


async def test_without_promises_nothing_is_written():
    """No write more than before."""
    bench, record = await ended({}, CHANGE)
    assert (record.outcome, record.kpis) == (Outcome.SUCCESS, ())
    assert bench.hooks.named("kpi.measured") == []


def test_each_promise_that_is_kept_or_broken_is_counted():
    """For alerts on promises that break."""
    metrics = Metrics()
    metrics.event("kpi.measured", execution="e", runbook="oom", kpi="error_rate", value=0.5, met=False)
    assert 'runbook_kpis_total{kpi="error_rate",met="false",runbook_name="oom"} 1.0' in metrics.render().decode()


def runs(statuses, phase="step", **facts):
    return tuple(
        StepRun(
            id=f"x/{number}", phase=phase, index=number, step_id="s", name="s", action="a", status=status,
            started_at=START, **facts,
        )
        for number, status in enumerate(statuses)
    )  # fmt: skip


@given(st.lists(st.sampled_from(StepStatus)))
async def test_the_error_rate_is_a_share_of_what_ended(statuses):
    """Skipped and unfinished steps count for nothing; an unknown effect counts as an error; rollbacks are no steps."""
    _, record = await ended({}, CHANGE)
    bad = sum(status in (StepStatus.FAILED, StepStatus.UNKNOWN) for status in statuses)
    all_ = bad + statuses.count(StepStatus.SUCCEEDED)
    undone = runs([StepStatus.FAILED], "undo")
    rate = error_rate(record.model_copy(update={"steps": runs(statuses) + undone}))
    assert rate == (bad / all_ if all_ else 0)


async def test_the_duration_begins_with_the_first_step():
    """Waiting for a human or a lease is not the runbook's own time."""
    _, record = await ended({"max_duration": "1m"}, CHANGE)
    late = record.model_copy(update={"started_at": START - timedelta(hours=1), "steps": runs([StepStatus.SUCCEEDED])})
    assert measured(late, START + timedelta(seconds=30))[0].value == 30


def test_the_success_rate_needs_executions_to_tell():
    """None of none is no rate, and no promise is none to keep."""
    promise = Promises(min_success_rate=0.95)
    assert success_rate(promise, 0, 0) is None
    assert success_rate(Promises(), 1, 2) is None
    assert success_rate(promise, 19, 20) == Kpi(name="success_rate", value=0.95, limit=0.95, met=True)
    assert not success_rate(promise, 18, 20).met


async def test_rb_explain_tells_promises_assumptions_and_triggers():
    """With what was found while planning, what it came to, and how often the runbook helped lately."""
    rig = Rig(
        runbook(
            kpis={"min_success_rate": 0.95, "max_duration": "5m"},
            assumptions=[{"name": "quota", "description": "the namespace has room"}, {"name": "one", "check": "true"}],
            preconditions=[{"name": "owned", "check": "target.kind == 'Deployment'"}],
            verification={"success_criteria": [{"name": "kind", "check": "target.kind == 'Deployment'"}]},
            rollback={"triggers": [{"health_check_failed": 3}, {"not_fixed": True}]},
        )
    )
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    (story,) = await rig.store.find(rig.decisions()[0].id)
    told = story_text(await with_success(story, rig.store, rig.clock.now()))
    for line in (
        "precondition owned: holds, target.kind == 'Deployment' holds",
        "assumption quota: the namespace has room",
        "assumption one: holds, true holds",
        "success criterion kind: target.kind == 'Deployment'",
        "rolled back when 3 health checks in a row fail",
        "rolled back when it did not help",
        "KPI duration_seconds: 5",
        "promised at most 300: kept",
        "KPI success_rate: 1 (1 of 1 lately), promised at least 0.95: kept",
    ):
        assert line in told
