"""What would be done: the forecast says it, and does nothing of it."""

from __future__ import annotations

from functools import partial

import pytest
from fakes import actions as tiny_world
from fakes.pipeline_rig import CLUSTER, TENANT, Rig, runbook
from fakes.run_requests import APP

from executor.actions.base import World
from executor.dryrun import problems_by_dry_run
from executor.errors import Unavailable
from executor.settings import ExecutorSettings
from matcher.model import Asked
from matcher.select import RunbookIndex
from matcher.target import TargetResolver
from services.cli.run_show import forecast_json, forecast_text
from services.forecast import Durations, Forecaster
from services.intake.run_request import RunTarget, run_request


class KnownDurations:
    """Implements services.forecast.DurationHistory. ``broken`` is raised instead."""

    def __init__(self, known=None):
        self.known = known or Durations()
        self.broken = None

    async def durations(self, runbook_id, tenant):
        if self.broken:
            raise self.broken
        return self.known


def forecaster(rig, history=None):
    process = rig.process()
    none = tiny_world.NoPort()
    world = World(rig.cluster, none, rig.chat, none, rig.secrets, rig.clock)

    async def rehearse(plan):
        return await problems_by_dry_run(plan.steps, rig.actions, world, ExecutorSettings())

    return Forecaster(
        index=RunbookIndex(rig.runbooks),
        targets=TargetResolver(rig.cluster, rig.graph, cluster=CLUSTER, clock=rig.clock.monotonic),
        permits=process.permits,
        rehearse=rehearse,
        history=history or KnownDurations(),
        clock=rig.clock,
    )


def asked(rig, target=APP, **more):
    ask = partial(run_request, more.pop("runbook", "raise-memory"), by="anna", source=Asked.MANUAL)
    return ask(
        at=rig.clock.now(), target=RunTarget(**target) if target else None, tenant=TENANT, cluster=CLUSTER, **more
    )


async def test_a_forecast_renders_everything_and_does_nothing():
    """Every write with its undo and the server's word; nothing is reserved, so that the real run goes through."""
    rig = Rig(runbook(safety={"max_executions_per_hour": 1}))
    history = KnownDurations(Durations(3, 42.0, {"raise": 1.5}))
    found = await forecaster(rig, history).forecast(asked(rig))
    (step,) = found.steps
    assert found.holds
    assert (found.gate, found.approvals, found.target) == ("permit", 0, "Deployment/shop/app on kind")
    assert (step.server, step.seconds, step.type, step.access) == ("", 1.5, "set", "write")
    assert "256Mi -> 512Mi" in step.would[0]
    assert rig.effects() == []
    assert rig.decisions() == []
    text = forecast_text(found)
    assert "Estimated time: 42.0 s, the median of 3 runs" in text
    assert "Nothing was changed." in text
    assert forecast_json(found)["plan_hash"] == found.plan.hash


async def test_who_would_be_asked_is_counted():
    """Once for the plan, once for the step."""
    step = {"name": "raise", "action": "set", "params": {"name": "app", "value": "1"}, "require_approval": True}
    rig = Rig(runbook(safety={"require_approval": True}, steps=[step]))
    found = await forecaster(rig).forecast(asked(rig))
    assert (found.gate, found.approvals) == ("approval", 2)
    assert found.holds
    assert "the runbook asks for approval" in found.gate_says
    assert "[approval] raise" in forecast_text(found)


async def test_a_write_that_the_server_refuses_does_not_hold():
    """Said beside the step that it is about."""
    rig = Rig()
    rig.tiny.refuse_dry_run = "the quota is used up"
    found = await forecaster(rig).forecast(asked(rig))
    assert found.steps[0].server == "the quota is used up"
    assert not found.holds
    assert "would not take it: the quota is used up" in forecast_text(found)


async def test_what_the_gate_would_refuse_is_said_with_its_numbers():
    """What nobody can measure is a no here as well."""
    rig = Rig()
    rig.blast.unknown = True
    found = await forecaster(rig).forecast(asked(rig))
    assert (found.gate, found.holds) == ("refusal", False)
    assert "not known from: graph" in found.gate_says[0]


async def test_what_can_only_be_rendered_later_is_said_so_and_not_asked_about():
    """It depends on what a step gives that has not run."""
    steps = [
        {"name": "settle", "action": "settle", "params": {"name": "app"}, "output_var": "seen"},
        {"name": "raise", "action": "set", "params": {"name": "app", "value": "{{ seen }}"}},
    ]
    rig = Rig(runbook(steps=steps))
    found = await forecaster(rig).forecast(asked(rig))
    assert found.steps[1].server is None
    assert "rendered when its turn comes" in " ".join(found.steps[1].would)
    assert found.gate == "approval"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"runbook": "raise-memry"}, "did you mean raise-memory?"),
        ({"target": {**APP, "name": "apps"}}, "did you mean app?"),
        ({"parameters": {"facto": 1}}, "did you mean factor?"),
        ({"parameters": {"factor": "x"}}, "plan: "),
    ],
)
async def test_what_would_not_run_says_why(changes, told):
    """The same words as the recorded decision would have."""
    rig = Rig(runbook(parameters=[{"name": "factor", "type": "integer"}]))
    found = await forecaster(rig).forecast(asked(rig, **changes))
    assert told in found.problem
    assert not found.holds
    assert f"It would not run: {found.problem}" in forecast_text(found)


async def test_without_the_graph_there_is_no_estimate_and_the_rest_is_told():
    """A new installation, or a graph that is away."""
    rig = Rig()
    history = KnownDurations()
    history.broken = Unavailable("away")
    found = await forecaster(rig, history).forecast(asked(rig))
    assert found.holds
    assert "not known, it has not run yet" in forecast_text(found)


async def test_a_run_without_a_target_is_forecast_as_well():
    """Reads are done now, and said to be."""
    look = {"name": "look", "action": "look", "params": {"name": "app"}}
    rig = Rig(runbook(id="tidy", trigger={"root_cause_reason": [], "manual": True}, steps=[look]))
    found = await forecaster(rig).forecast(asked(rig, target=None, runbook="tidy"))
    assert (found.target, found.holds) == ("none", True)
    assert found.steps[0].would == ("read just now",)
