"""Policies and the ladder of autonomy in the decide path, on working fakes."""

from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.pipeline_rig import NAMESPACE, TENANT, Rig, runbook

from runbooks.conditions import ChangeWindow
from safety.approvals import Verb
from safety.autonomy import Rung, Standing
from safety.policies import Freeze, Policy, PolicySet, Scope
from safety.policy import PolicySettings
from services.pipeline.ruling import Rulings
from services.records import DecisionKind

CHANGING = runbook()


class Everybody:
    """Rungs where everybody stands on the same; None for not read yet."""

    def __init__(self, rung):
        self.rung = rung

    def standing(self, climber):
        assert climber.tenant == TENANT
        return None if self.rung is None else Standing(self.rung, reason="because", by="ada")


def ruled(*policies, rung=None, unsigned=None):
    """A rig with policies and, where one is given, a ladder."""
    rig = Rig()
    rig.policies = list(policies)
    ladder = Everybody(rung) if rung else None
    rig.rulings = Rulings(lambda: PolicySet(rig.policies, rig.policy), ladder, unsigned or (lambda _: ""))
    return rig


def policy(name, *, freezes=(), scope=None, **gives):
    limits = {f"limits.{key}": value for key, value in gives.pop("limits", {}).items()}
    return Policy(name, scope or Scope(), {**limits, **gives}, tuple(freezes), 0, f"v-{name}")


async def decided(rig):
    """The one decision about one alert."""
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    (decision,) = rig.decisions()
    return decision


async def test_a_policy_of_the_namespace_narrows_the_limits_of_the_gate():
    """The gate compares with the limits that were resolved for the question, and the record names the policy."""
    rig = ruled(
        policy("strict", limits={"min_confidence_floor": 0.95}, scope=Scope(namespaces=(NAMESPACE,))),
        policy("elsewhere", limits={"min_confidence_floor": 0.1}, scope=Scope(namespaces=("other",))),
    )
    decision = await decided(rig)
    assert (decision.kind, decision.check) == (DecisionKind.REFUSAL, "confidence")
    assert decision.numbers["threshold"] == 0.95
    assert [(use.id, use.version) for use in decision.policies] == [("strict", "v-strict")]
    assert rig.effects() == []


async def test_a_limit_that_only_the_gate_knows_comes_from_the_policy():
    """Rates are counted by the store; the number that it compares with is the policy's."""
    rig = ruled(policy("none", limits={"cluster_per_day": 0}))
    decision = await decided(rig)
    assert decision.kind is DecisionKind.REFUSAL
    assert decision.check.startswith("cluster")


async def test_a_policy_that_denies_ends_it_before_there_is_a_plan():
    """Nothing is planned and nothing reserved; the reason and the policy are told."""
    rig = ruled(policy("hands-off", deny="a person looks at these"))
    decision = await decided(rig)
    assert (decision.check, decision.numbers["policy"]) == ("policy_denied", "hands-off")
    assert "a person looks at these" in decision.message
    assert [use.id for use in decision.policies] == ["hands-off"]


async def test_a_policy_can_ask_for_a_human():
    """The reason of the question names the policy."""
    rig = ruled(policy("careful", require_approval=True))
    decision = await decided(rig)
    assert decision.kind is DecisionKind.APPROVAL
    assert any("policy careful" in reason for reason in decision.approval.reasons)


async def test_in_a_freeze_nothing_is_changed_and_after_it_the_repeat_is_decided_again():
    """The refusal says until when, and passes with time."""
    rig = ruled()
    now = rig.clock.now()
    rig.policies = [policy("quiet", freezes=[Freeze(now, now + timedelta(minutes=5), "release")])]
    decision = await decided(rig)
    assert decision.check == "policy_freeze"
    assert "release" in decision.message
    rig.clock.passed += 400
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    assert rig.effects() == ["set app=512Mi"]


async def test_outside_of_the_windows_nothing_is_changed():
    """A window without length is never open: the refusal says so."""
    rig = ruled(policy("never", windows=(ChangeWindow(start="03:00", end="03:00"),)))
    decision = await decided(rig)
    assert decision.check == "policy_window"


@pytest.mark.parametrize(("labels", "kind"), [({"tier": "gold"}, DecisionKind.REFUSAL), ({}, DecisionKind.PERMIT)])
async def test_labels_of_the_target_decide(labels, kind):
    """A policy about a label applies exactly where the live object carries it."""
    rig = ruled(policy("gold", deny="gold", scope=Scope(labels={"tier": "gold"})))
    rig.blast.labelled = {f"Deployment/{NAMESPACE}/app": labels}
    assert (await decided(rig)).kind is kind


@pytest.mark.parametrize("how", ["raises", "missing"])
async def test_labels_that_cannot_be_read_are_a_no_for_now(how):
    """The decision is refused, and a later repeat asks again."""
    rig = ruled(policy("gold", deny="gold", scope=Scope(labels={"tier": "gold"})))
    rig.blast.labelled = {f"Deployment/{NAMESPACE}/app": None}
    rig.blast.broken = ConnectionError("away") if how == "raises" else None
    decision = await decided(rig)
    assert (decision.kind, decision.check) == (DecisionKind.REFUSAL, "labels_unknown")


async def test_labels_are_not_read_where_no_policy_depends_on_them():
    """The hot path asks the API server nothing for policies without labels."""
    rig = ruled(policy("wide", limits={"max_blast_radius": 3}))

    async def never(_):
        raise AssertionError("labels were read")

    rig.blast.labels = never
    assert (await decided(rig)).kind is DecisionKind.PERMIT


async def test_a_policy_that_wants_signatures_refuses_what_is_not_signed():
    """Where nobody can verify a signature, nothing is signed."""
    wants = policy("signed", required_signature=True)
    rig = ruled(wants)
    rig.rulings = Rulings(lambda: PolicySet([wants], rig.policy))
    decision = await decided(rig)
    assert (decision.kind, decision.check) == (DecisionKind.REFUSAL, "policy_signature")
    assert (await decided(ruled(wants))).kind is DecisionKind.PERMIT


@pytest.mark.parametrize(
    ("rung", "kind", "check"),
    [
        (Rung.OBSERVE, DecisionKind.REFUSAL, "observed"),
        (Rung.SUGGEST, DecisionKind.REFUSAL, "suggested"),
        (Rung.APPROVE, DecisionKind.APPROVAL, "approval"),
        (Rung.AUTO, DecisionKind.PERMIT, ""),
    ],
)
async def test_the_rung_decides_how_far_a_runbook_goes(rung, kind, check):
    """Observe records, suggest tells, approve asks, auto runs; the rung is on record with each decision."""
    rig = ruled(rung=rung)
    decision = await decided(rig)
    assert (decision.kind, decision.check) == (kind, check)
    assert decision.numbers["autonomy"] == rung.value
    assert rig.effects() == (["set app=512Mi"] if rung is Rung.AUTO else [])
    if kind is DecisionKind.REFUSAL:
        assert decision.suggested, "the plan is on record"
        assert "the gate would let it run" in decision.message
        assert not rig.store.approvals, "nobody is asked"


async def test_a_ceiling_of_a_policy_holds_whatever_was_earned():
    """A runbook on auto asks where a policy allows no more than approve; one below the ceiling stays below."""
    rig = ruled(policy("ceiling", autonomy=Rung.APPROVE), rung=Rung.AUTO)
    decision = await decided(rig)
    assert decision.kind is DecisionKind.APPROVAL
    assert any("policy ceiling allows no more than approve" in reason for reason in decision.approval.reasons)
    low = await decided(ruled(policy("ceiling", autonomy=Rung.APPROVE), rung=Rung.OBSERVE))
    assert low.check == "observed"


async def test_a_rung_that_was_not_read_is_a_no_for_now():
    """Missing data never permits."""
    rig = ruled()
    rig.rulings = Rulings(lambda: PolicySet((), rig.policy), Everybody(None))
    assert (await decided(rig)).check == "autonomy_unknown"


async def test_what_is_only_suggested_is_told_to_people():
    """The message carries the plan, goes to the channel of the settings, and says that nothing can be approved."""
    rig = ruled(rung=Rung.SUGGEST)
    process = rig.process()
    told = []
    process.committer._suggested = told.append
    await process.ingest.on_batch([rig.event()])
    (record,) = told
    content = record.notification["on_suggestion"]["slack"]
    assert "nothing can be approved" in content["message"]
    assert record.plan.context["suggestion"]["changes"]


async def test_an_approved_plan_is_refused_once_the_runbook_may_only_suggest():
    """A demotion between the question and the yes counts: the plan does not run."""
    rig = ruled(rung=Rung.APPROVE)
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    (question,) = rig.store.approvals.values()
    rig.rulings._rungs.rung = Rung.SUGGEST
    await rig.store.answer(
        question.id, Verb.APPROVE, by="ada", reason="", now=rig.clock.now(), plan_hash=question.plan_hash
    )
    await process.desk.sweep()
    await process.quiet()
    assert rig.effects() == []
    (decision,) = rig.decisions()
    assert (decision.kind, decision.check) == (DecisionKind.REFUSAL, "suggested")


async def test_limits_of_policies_are_those_of_the_gate_where_nothing_is_given():
    """Without policies the question brings no limits of its own."""
    rig = ruled()
    rig.policy = replace(PolicySettings(), min_confidence_floor=0.99)
    assert (await decided(rig)).check == "confidence"
