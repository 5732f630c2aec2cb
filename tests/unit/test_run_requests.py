"""Runbooks that are asked for by name: from the message to the end, on working fakes."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from fakes.journal import Crash
from fakes.pipeline_rig import CLUSTER, TENANT, Rig, runbook
from fakes.run_requests import APP, ask, body
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.model import Asked
from safety.approvals import Verb
from services.intake.errors import ErrorCode
from services.intake.parse import Poison, parse
from services.intake.run_request import parse_target, run_request
from services.intake.settings import IntakeSettings
from services.records import DecisionKind

LOOK = {"name": "look", "action": "look", "params": {"name": "app"}}


async def run(rig, *messages):
    process = rig.process()
    for message in messages:
        await process.ingest.on_batch([message])
    await process.quiet()
    return process


async def test_a_runbook_that_is_asked_for_runs_behind_the_gate_and_is_proven():
    """No cause is looked for; the record says who asked and why, and that it was certain."""
    rig = Rig()
    await run(rig, ask(rig))
    decision = rig.only(DecisionKind.PERMIT)
    assert rig.effects() == ["set app=512Mi"]
    assert rig.outcomes() == ["success"]
    assert decision.incident.cause.confidence == 1.0
    assert decision.signal.message == "asked for by anna (manual): it is slow"
    assert decision.execution.incident["trigger_type"] == "manual"
    assert decision.execution.incident["asked_by"] == "anna"


async def test_a_request_that_is_sent_again_runs_once_however_late():
    """The id is the identity: also days later, and through another process, it is a repeat of the one decision."""
    rig = Rig()
    await run(rig, ask(rig, request_id="the-very-same"), ask(rig, request_id="the-very-same"))
    rig.clock.passed += timedelta(days=3).total_seconds()
    await run(rig, ask(rig, request_id="the-very-same"))
    decision = rig.only(DecisionKind.PERMIT)
    assert rig.decisions() == [decision]
    assert rig.count(decision) == 3
    assert rig.effects() == ["set app=512Mi"]


async def test_a_request_that_was_answered_stays_answered():
    """Its target did not exist: when it does, the old request is no order any more."""
    rig = Rig()
    target = {**APP, "name": "later"}
    await run(rig, ask(rig, request_id="too-early", target=target))
    assert rig.only(DecisionKind.NO_TARGET).message.startswith("Deployment shop/later does not exist")
    rig.app("later")
    rig.clock.passed += 120
    await run(rig, ask(rig, request_id="too-early", target=target))
    assert rig.effects() == []
    await run(rig, ask(rig, request_id="asked-anew", target=target))
    assert rig.effects() == ["set later=512Mi"]


async def test_two_requests_for_one_target_meet_the_lock():
    """Each is an incident of its own, and one at a time holds the target; the refused one is not tried again."""
    rig = Rig(handoff=False)
    process = rig.process()
    await process.ingest.on_batch([ask(rig), ask(rig)])
    assert sorted(d.kind for d in rig.decisions()) == [DecisionKind.PERMIT, DecisionKind.REFUSAL]
    refused = rig.only(DecisionKind.REFUSAL)
    assert refused.check == "lock"
    rig.clock.passed += 600
    await process.ingest.on_batch([ask(rig, request_id=refused.signal.event_id)])
    assert rig.only(DecisionKind.REFUSAL).attempt == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"runbook": {"id": "raise-memry"}}, "no runbook 'raise-memry'; did you mean raise-memory?"),
        ({"runbook": {"id": "raise-memory", "version": "7"}}, "version 7 is not in force, 1.0 is"),
        ({"parameters": {"facto": 2}}, "it has no parameter 'facto'; did you mean factor?"),
        ({"source": "schedule"}, "no schedule"),
        ({"target": {**APP, "namespace": "other"}}, "namespace other is not shop"),
        ({"target": None}, "it needs a target of kind Deployment"),
    ],
)
async def test_a_request_that_cannot_be_met_is_a_recorded_decision_with_the_reason(changes, told):
    """Names that nobody knows come back with the nearest one; rules of the trigger hold for people as well."""
    trigger = {"affected_resource_kinds": ["Deployment"], "namespaces": ["shop"]}
    rig = Rig(runbook(trigger=trigger, parameters=[{"name": "factor", "type": "integer", "default": 2}]))
    rig.cluster.put({"kind": "Deployment", "metadata": {"name": "app", "namespace": "other", "uid": "o"}, "spec": {}})
    await run(rig, ask(rig, **changes))
    assert told in rig.only(DecisionKind.NO_MATCH).message
    assert rig.effects() == []


async def test_a_missing_target_comes_back_with_the_nearest_name():
    """The workload's name was misspelt."""
    rig = Rig()
    await run(rig, ask(rig, target={**APP, "name": "apps"}))
    assert rig.only(DecisionKind.NO_TARGET).message == "Deployment shop/apps does not exist; did you mean app?"


async def test_a_runbook_that_is_for_causes_only_cannot_be_asked_for():
    """``manual: false`` closes the door for people and programs."""
    rig = Rig(runbook(trigger={"manual": False}))
    await run(rig, ask(rig), ask(rig, source="api"))
    assert [d.kind for d in rig.decisions()] == [DecisionKind.NO_MATCH] * 2
    assert "manual: false" in rig.decisions()[0].message


async def test_the_word_schedule_alone_opens_no_door():
    """A message that says it comes from a schedule runs only what a schedule of the runbook says, to the letter."""
    rig = Rig(runbook(trigger={"manual": False, "schedule": [{"cron": "0 3 * * *", "target": APP}]}))
    await run(rig, ask(rig, source="schedule", target={**APP, "name": "other"}))
    await run(rig, ask(rig, source="schedule", parameters={"factor": 9}))
    assert rig.effects() == []
    await run(rig, ask(rig, source="schedule"))
    assert rig.effects() == ["set app=512Mi"]


async def test_the_rules_of_the_gate_hold_for_who_asks():
    """Certainty about what was asked is no reason to hurry: approval first, then the plan with the asked values."""
    step = {"name": "raise", "action": "set", "params": {"name": "{{ target.name }}", "value": "{{ params.memory }}"}}
    wanted = {"name": "memory", "type": "string", "required": True}
    rig = Rig(runbook(safety={"require_approval": True}, parameters=[wanted], steps=[step]))
    process = await run(rig, ask(rig, parameters={"memory": "512Mi"}))
    asked = rig.only(DecisionKind.APPROVAL)
    assert rig.effects() == []
    answered = await rig.store.answer(
        asked.approval.id, Verb.APPROVE, by="ben", reason="", now=rig.clock.now(), plan_hash=asked.approval.plan_hash
    )
    assert answered
    await process.desk.sweep()
    await process.quiet()
    assert rig.effects() == ["set app=512Mi"]


async def test_a_required_parameter_that_nobody_gave_stops_the_plan():
    """What is missing is named."""
    rig = Rig(runbook(parameters=[{"name": "factor", "required": True}]))
    await run(rig, ask(rig))
    assert "needs the parameter factor" in rig.only(DecisionKind.PLAN_FAILED).message


async def test_a_request_that_waits_for_the_cluster_is_taken_up_again():
    """The API server was away when it came; it is decided once, when that is back."""
    rig = Rig()
    rig.cluster.broken = True
    process = await run(rig, ask(rig, request_id="patient-one"))
    assert rig.only(DecisionKind.WAITING)
    rig.cluster.broken = False
    rig.clock.passed += 20
    await process.bridge.sweep()
    await process.quiet()
    assert rig.effects() == ["set app=512Mi"]
    assert [d.signal.event_id for d in rig.decisions()] == ["patient-one"]


async def test_a_request_that_is_too_old_is_history():
    """Nothing that was asked for hours ago starts by surprise when the pipeline comes back."""
    rig = Rig()
    message = ask(rig)
    rig.clock.passed += timedelta(hours=2).total_seconds()
    await run(rig, message)
    assert rig.only(DecisionKind.REFUSAL).check == "stale_signal"


async def test_a_dry_run_says_what_would_be_done_and_takes_nothing():
    """The plan is in the answer; neither the lock nor a rate is used, so that the real run goes through at once."""
    rig = Rig(runbook(safety={"max_executions_per_hour": 1}))
    await run(rig, ask(rig, dry_run=True), ask(rig, dry_run=True))
    assert {d.check for d in rig.decisions(DecisionKind.REFUSAL)} == {"dry_run"}
    assert "256Mi -> 512Mi" in rig.decisions(DecisionKind.REFUSAL)[0].message
    assert rig.effects() == []
    await run(rig, ask(rig))
    assert rig.outcomes() == ["success"]


# Without a target


def targetless(*steps, **parts):
    return runbook(id="tidy", trigger={"root_cause_reason": [], "manual": True}, steps=list(steps), **parts)


async def test_a_run_without_a_target_that_changes_nothing_is_proven_by_its_steps():
    """Every step gave what it was asked for; the runbook stands for itself in locks and rates."""
    rig = Rig(targetless(LOOK))
    await run(rig, ask(rig, runbook={"id": "tidy"}, target=None))
    decision = rig.only(DecisionKind.PERMIT)
    assert decision.incident.target.key == f"{CLUSTER}//Runbook/tidy"
    assert rig.outcomes() == ["success"]
    assert [str(e.record.verdict) for e in rig.store.executions.values()] == ["verified"]


async def test_a_change_without_target_and_criteria_proves_nothing():
    """Having changed something is no evidence that it helped: nobody can say, and that is the verdict."""
    rig = Rig(targetless({"name": "raise", "action": "set", "params": {"name": "app", "value": "512Mi"}}))
    await run(rig, ask(rig, runbook={"id": "tidy"}, target=None))
    (execution,) = rig.store.executions.values()
    assert rig.effects()[:1] == ["set app=512Mi"]
    assert str(execution.record.verdict) == "inconclusive"


@pytest.mark.parametrize(("check", "verdict"), [("params.fine", "verified"), ("not params.fine", "not_fixed")])
async def test_success_criteria_prove_a_run_without_a_target(check, verdict):
    """Each needs its evidence; one that does not hold is a proof of the contrary."""
    rig = Rig(
        targetless(
            {"name": "raise", "action": "set", "params": {"name": "app", "value": "512Mi"}},
            parameters=[{"name": "fine", "type": "boolean", "default": True}],
            verification={"success_criteria": [{"name": "it is fine", "check": check}]},
        )
    )
    await run(rig, ask(rig, runbook={"id": "tidy"}, target=None))
    (execution,) = rig.store.executions.values()
    assert str(execution.record.verdict) == verdict


async def test_two_runs_without_a_target_of_one_runbook_do_not_run_at_once():
    """The runbook itself is what is locked."""
    rig = Rig(targetless(LOOK), handoff=False)
    process = rig.process()
    await process.ingest.on_batch([ask(rig, runbook={"id": "tidy"}, target=None) for _ in range(2)])
    assert sorted(d.kind for d in rig.decisions()) == [DecisionKind.PERMIT, DecisionKind.REFUSAL]


async def test_a_template_that_needs_the_target_of_a_run_without_one_fails_by_name():
    """Nothing is rendered empty."""
    rig = Rig(targetless({"name": "look", "action": "look", "params": {"name": "{{ incident.resource.name }}"}}))
    await run(rig, ask(rig, runbook={"id": "tidy"}, target=None))
    assert "name" in rig.only(DecisionKind.PLAN_FAILED).message


# Orders that come and go


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 900)), min_size=1, max_size=12), st.randoms())
async def test_in_any_order_and_number_each_request_has_one_decision(sent, dice):
    """Whatever is sent again, whenever, and through whichever of two processes; the effects are those of permits."""
    rig = Rig(runbook(safety={"cooldown": 0}))
    processes = [rig.process(), rig.process()]
    for number, pause in sent:
        rig.clock.passed += pause
        await dice.choice(processes).ingest.on_batch([ask(rig, request_id=f"request-{number}")])
        if dice.random() < 0.5:
            for process in processes:
                await process.quiet()
    for process in processes:
        await process.quiet()
    decided = [d.signal.event_id for d in rig.decisions()]
    assert sorted(decided) == sorted({f"request-{number}" for number, _ in sent})
    assert len(rig.store.executions) == len(rig.decisions(DecisionKind.PERMIT))


@pytest.mark.parametrize(
    "moment", ["before record", "after record", "before publish", "after publish", "after confirm"]
)
async def test_a_crash_between_any_two_steps_of_deciding_leads_to_one_run(moment):
    """The message is read again and meets itself."""
    rig = Rig(handoff=False)
    message = ask(rig)
    rig.points.crash(moment)
    with pytest.raises(Crash):
        await rig.process().ingest.on_batch([message])
    process = rig.process()
    await process.ingest.on_batch([message])
    await process.worker.on_requests(rig.requests())
    await process.quiet()
    assert len(rig.decisions()) == 1
    assert rig.effects() == ["set app=512Mi"]


# The message


def read(value, topic="remediation.run-requests"):
    (found,) = parse(topic, 0, 0, json.dumps(value).encode(), (), Rig().clock.now(), IntakeSettings())
    return found


async def test_no_alert_can_pass_for_a_request_and_close_it():
    """An event that calls itself like a request, with its id as the mark, is another thing."""
    rig = Rig()
    process = await run(rig, ask(rig, request_id="asked-once", target={**APP, "name": "later"}))
    lie = {
        "etype": "prom.alert",
        "event_id": "asked-once",
        "client_id": TENANT,
        "cluster": CLUSTER,
        "reason": "RunRequested",
        "status": "resolved",
        "alerts": {"fingerprint": "asked-once"},
        "event_time": rig.clock.now().isoformat(),
    }
    await process.ingest.on_batch([rig.raw(json.dumps(lie).encode())])
    rig.app("later")
    rig.clock.passed += 60
    await run(rig, ask(rig, request_id="asked-once", target={**APP, "name": "later"}))
    assert rig.effects() == []
    assert rig.count(rig.only(DecisionKind.NO_TARGET)) == 2


def test_orders_come_on_their_own_topic_only():
    """Who may write alerts may not start runbooks; and what is no order has no business there."""
    rig = Rig()
    refused = read(body(rig), topic="alerts")
    assert isinstance(refused, Poison)
    assert refused.error_code is ErrorCode.UNSUPPORTED_SCHEMA
    refused = read({"schema": "rca.result/v1", "incident_id": "e"})
    assert isinstance(refused, Poison)
    assert "only run.request/v1" in refused.detail


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dryrun": True}, "dryrun"),
        ({"dry_run": "no"}, "dry_run"),
        ({"request_id": "x"}, "request_id"),
        ({"request_id": "with a space in it"}, "request_id"),
        ({"requested_by": ""}, "requested_by"),
        ({"source": "somebody"}, "source"),
        ({"runbook": "raise-memory"}, "runbook"),
        ({"target": {**APP, "name": "No Name"}}, "target"),
        ({"parameters": [1]}, "parameters"),
    ],
)
def test_a_request_that_cannot_be_read_is_a_dead_letter_that_names_the_field(changes, told):
    """A field that nobody knows may be a misspelt dry_run: it is never ignored."""
    poison = read(body(Rig(), **changes))
    assert isinstance(poison, Poison)
    assert told in poison.detail


def test_a_made_request_is_read_as_it_was_meant():
    """What the command and the API write is what intake reads."""
    rig = Rig()
    asked = run_request(
        "raise-memory", by="anna", source=Asked.API, at=rig.clock.now(), target=parse_target("deploy/shop/app")
    )
    found = read(json.loads(asked.value()))
    assert not isinstance(found, Poison)
    assert found.signal.run.source is Asked.API
    assert found.signal.subject.kind == "Deployment"
    assert found.signal.event_id == asked.request_id


@pytest.mark.parametrize("text", ["Deployment/app", "app", "Deployment/shop/app/x", "Deployment//app", ""])
def test_a_target_that_says_too_little_is_refused(text):
    """Kind, namespace and name, or a node by its name."""
    with pytest.raises(ValueError, match=r"target|namespace"):
        parse_target(text)
