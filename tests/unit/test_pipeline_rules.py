"""Limits and approval rules of a runbook, from the alert to the decision and through the answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.pipeline_rig import Rig, runbook
from fakes.voters import NOBODY_KNOWS

from safety.approvals import ApprovalError, ApprovalStatus, Verb
from services.cli import approvals as commands
from services.cli.approvals import Question, outcome
from services.cli.story import story_text
from services.records import DecisionKind

FREE = {"require_approval": False}
RULE = {
    "name": "production",
    "step": "raise",
    "when": "target.namespace == 'shop'",
    "approvers": [{"type": "role", "value": "on-call", "required": True}, {"type": "team", "value": "platform"}],
    "order": "sequential",
    "timeout": "10m",
    "comment_required": True,
    "reject": [{"label": "Wrong service", "value": "wrong"}],
}


async def decided(*runbooks, **settings):
    rig = Rig(*runbooks, **settings)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    return rig, process


async def pending(rig):
    (question,) = await rig.store.list(ApprovalStatus.PENDING)
    return question


async def yes(rig, question, by, **facts):
    return await rig.store.answer(
        question.id,
        Verb.APPROVE,
        by=by,
        now=rig.clock.now(),
        plan_hash=question.plan_hash,
        **{"reason": "looked at it", "voter": NOBODY_KNOWS, **facts},
    )


async def test_a_rule_that_applies_asks_the_people_that_it_names():
    """The question has the rule's reason, its approvers and its time; the plan runs after the second person's yes."""
    approvals = {"rules": [RULE], "bypass": [{"roles": "sre-lead"}]}
    rig, process = await decided(runbook(safety=FREE, approvals=approvals))
    question = await pending(rig)
    assert question.reasons == ("the approval rule 'production' about step 'raise'",)
    assert question.expires_at - question.requested_at == timedelta(minutes=10)
    told = commands.told(Question(question, None))
    assert "rule production about step raise: role on-call (required), team platform, one after the other" in told
    assert "still needed: production: 2 more people" in told
    assert "emergency bypass emergency-bypass (for sre-lead)" in told
    first = await yes(rig, question, "ada")
    assert outcome(first).startswith("Your yes is kept")
    await process.desk.sweep()
    assert (rig.effects(), rig.outcomes()) == ([], ["waiting_approval"])
    assert outcome(await yes(rig, question, "bob")).startswith("Approved by ada, bob")
    await process.desk.sweep()
    await process.quiet()
    assert rig.outcomes() == ["success"]
    (story,) = await rig.store.find(rig.only(DecisionKind.PERMIT).id)
    assert "yes by ada" in story_text(story)


@pytest.mark.parametrize(
    ("changes", "asks"),
    [
        ({"when": "target.namespace == 'bank'"}, False),
        ({"when": "target.nmespace == 'bank'"}, True),
        ({"when": False}, False),
        ({"step": ""}, True),
        ({"step": "skipped"}, False),
    ],
)
async def test_a_rule_applies_when_its_condition_holds_or_cannot_be_read(changes, asks):
    """Missing data never permits; a rule about a step that will not run asks nobody."""
    steps = [
        {"name": "raise", "action": "set", "params": {"name": "{{ target.name }}", "value": "512Mi"}},
        {"name": "skipped", "action": "set", "when": False, "params": {"name": "x", "value": "1"}},
    ]
    rig, _ = await decided(runbook(safety=FREE, steps=steps, approvals={"rules": [{**RULE, **changes}]}))
    assert rig.outcomes() == (["waiting_approval"] if asks else ["success"])


async def test_a_no_needs_the_reason_that_the_rule_asks_for():
    """And ends the execution, whoever said yes before."""
    rig, process = await decided(runbook(safety=FREE, approvals={"rules": [RULE]}))
    question = await pending(rig)
    await yes(rig, question, "ada")
    facts = {"by": "bob", "now": rig.clock.now(), "plan_hash": question.plan_hash, "reason": "no"}
    assert isinstance(await rig.store.answer(question.id, Verb.DENY, **facts), ApprovalError)
    await rig.store.answer(question.id, Verb.DENY, choice="wrong", **facts)
    await process.desk.sweep()
    assert (rig.outcomes(), rig.effects()) == (["aborted"], [])


async def test_require_approval_may_be_an_expression():
    """It asks when it holds, and when it cannot be read."""
    for expression, outcome_ in (
        ("target.namespace == 'bank'", "success"),
        ("target.namespace == 'shop'", "waiting_approval"),
        ("target.nothing == 1", "waiting_approval"),
    ):
        rig, _ = await decided(runbook(safety={"require_approval": expression}))
        assert rig.outcomes() == [outcome_]


GROWS = [
    {"name": "now", "action": "look", "params": {"name": "{{ target.name }}"}, "output_var": "current"},
    {"name": "raise", "action": "set", "params": {"name": "{{ target.name }}", "value": "{{ current * 2 }}"}},
]


async def twice(rig, process):
    """A second incident of the same target, after everything about the first is over."""
    rig.tiny.values["app"] = "256Mi"
    rig.clock.passed += 2 * 3600
    await process.ingest.on_batch([rig.event()])
    await process.quiet()


async def test_what_grows_asks_a_human_the_second_time_within_a_day():
    """Also where the author says nothing about it; what sets a fixed value does not."""
    rig, process = await decided(runbook(safety=FREE, steps=GROWS))
    assert rig.outcomes() == ["success"]
    await twice(rig, process)
    assert rig.outcomes() == ["success", "waiting_approval"]
    assert (await pending(rig)).reasons == ("the runbook ran for this target once in the last 1d already",)
    rig, process = await decided(runbook(safety=FREE))
    await twice(rig, process)
    assert rig.outcomes() == ["success", "success"]


async def test_an_author_may_choose_when_to_be_asked_again():
    """ask_again works for every runbook, and a shorter time than a day for one that grows."""
    for again, outcomes in (
        ({"executions": 1, "within": "1h"}, ["success", "success"]),
        ({"executions": 1, "within": "3h"}, ["success", "waiting_approval"]),
        ({"executions": 2, "within": "3h"}, ["success", "success"]),
    ):
        rig, process = await decided(runbook(safety={**FREE, "ask_again": again}, steps=GROWS))
        await twice(rig, process)
        assert rig.outcomes() == outcomes


@pytest.mark.parametrize(
    ("safety", "change", "check"),
    [
        ({"protected_namespaces": "sh*"}, {}, "protected_namespace"),
        ({"protected_labels": {"tier": "payment"}}, {"labelled": {"Deployment/shop/app": {"tier": "payment"}}}, None),
        ({"protected_labels": {"tier": "payment"}}, {"labelled": {"Deployment/shop/app": None}}, "labels_unknown"),
        ({"protected_labels": {"tier": "payment"}}, {}, ""),
        ({"blast_radius_percent": 10}, {"there": 10}, ""),
        ({"blast_radius_percent": 9}, {"there": 10}, "blast_share"),
        ({"blast_radius_percent": 100}, {"there": None}, "blast_radius_unknown"),
    ],
)
async def test_limits_of_the_runbook_are_measured_and_enforced(safety, change, check):
    """Namespaces, labels and shares of the pods; what could not be measured is a no of its own name."""
    rig = Rig(runbook(safety={**FREE, **safety}))
    for name, value in change.items():
        setattr(rig.blast, name, value)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    if check == "":
        assert rig.outcomes() == ["success"]
    else:
        assert rig.only(DecisionKind.REFUSAL).check == (check or "protected_label")
        assert rig.effects() == []


async def test_labels_that_can_be_read_later_let_the_repeat_through():
    """An API server that did not answer is no reason for ever."""
    rig = Rig(runbook(safety={**FREE, "protected_labels": {"tier": "payment"}}))
    rig.blast.labelled["Deployment/shop/app"] = None
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    rig.blast.labelled.clear()
    rig.clock.passed += 120
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    assert rig.outcomes() == ["success"]


async def test_one_execution_at_a_time_and_the_rest_when_it_is_over():
    """max_concurrent holds across targets; the refused one is decided again when its alert repeats."""
    rig = Rig(runbook(safety={**FREE, "max_concurrent": 1}), handoff=False)
    rig.app("web")
    process = rig.process()
    await process.ingest.on_batch([rig.event("app"), rig.event("web")])
    assert rig.only(DecisionKind.REFUSAL).check == "concurrent"
    await process.worker.on_requests(rig.requests())
    await process.quiet()
    rig.clock.passed += 120
    await process.ingest.on_batch([rig.event("app"), rig.event("web")])
    await process.worker.on_requests(rig.requests(1))
    await process.quiet()
    assert rig.outcomes() == ["success", "success"]
