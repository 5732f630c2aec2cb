"""What every approval store does; the same suite runs on the one in memory and on Neo4j."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fakes.memory_approvals import MemoryApprovalStore
from fakes.voters import NOBODY_KNOWS

from safety.approvals import Approval, ApprovalError, ApprovalProblem, ApprovalStatus, Verb, ask
from safety.quorum import Approver, Bypass, Choice, Escalation, Rule, StandIn, Voter

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TIMEOUT = timedelta(minutes=30)


@pytest.fixture
async def memory():
    return MemoryApprovalStore()


@pytest.fixture
async def neo4j(stack):
    """The store in Neo4j; other approvals may be in the same database."""
    from services.graph.approvals import Neo4jApprovalStore  # noqa: PLC0415 - only where the server is wanted
    from services.graph.connect import GraphSettings, connect  # noqa: PLC0415 - as above
    from services.graph.migrate import migrate  # noqa: PLC0415 - as above

    graph = connect(GraphSettings(stack.neo4j_uri, stack.neo4j_user, stack.neo4j_password))
    await migrate(graph)
    yield Neo4jApprovalStore(graph)
    await graph.driver.execute_query("MATCH (a:Approval) WHERE a.incident_id STARTS WITH 'contract-' DETACH DELETE a")
    await graph.close()


@pytest.fixture(params=["memory", pytest.param("neo4j", marks=pytest.mark.stack)])
def store(request):
    return request.getfixturevalue(request.param)


def question(now: datetime = NOW, plan_hash: str = "hash-1") -> Approval:
    identity = uuid4()
    return ask(
        f"e-{identity}", f"contract-{identity}", plan_hash, ("careful", "irreversible"), now=now, timeout=TIMEOUT
    )


async def say(store, approval, verb=Verb.APPROVE, *, by="ada", now=NOW, plan_hash="hash-1", voter=NOBODY_KNOWS):
    facts = {"by": by, "reason": "because", "now": now, "plan_hash": plan_hash, "voter": voter}
    return await store.answer(approval.id, verb, **facts)


async def test_a_question_is_kept_as_it_was_asked(store):
    """What is stored is what was asked, to the microsecond."""
    asked = question(NOW + timedelta(microseconds=123456))
    assert await store.request(asked) == asked
    assert await store.get(asked.id) == asked
    assert await store.get(str(uuid4())) is None


async def test_asking_again_meets_the_same_question(store):
    """A question that is asked again neither starts anew nor loses its answer."""
    asked = question()
    await store.request(asked)
    answered = await say(store, asked)
    assert await store.request(asked) == answered


async def test_a_yes_is_kept(store):
    """The answer is returned and stored alike."""
    asked = await store.request(question())
    answered = await say(store, asked)
    assert isinstance(answered, Approval)
    assert (answered.status, answered.answered_by, answered.answered_at) == (ApprovalStatus.APPROVED, "ada", NOW)
    assert await store.get(asked.id) == answered


async def test_invariant_1_of_many_answers_at_once_one_counts(store):
    """Ten people answer in the same moment: one answer counts, the others learn who was first."""
    asked = await store.request(question())
    verbs = [Verb.APPROVE, Verb.DENY] * 5
    answers = await asyncio.gather(*(say(store, asked, verb, by=f"p{i}") for i, verb in enumerate(verbs)))
    counted = [answer for answer in answers if isinstance(answer, Approval)]
    assert len(counted) == 1
    assert await store.get(asked.id) == counted[0]
    losers = {answer.problem for answer in answers if isinstance(answer, ApprovalError)}
    assert losers == {ApprovalProblem.NOT_POSSIBLE}


@pytest.mark.parametrize(
    ("verb", "changes", "problem"),
    [
        (Verb.APPROVE, {"now": NOW + TIMEOUT}, ApprovalProblem.EXPIRED),
        (Verb.APPROVE, {"plan_hash": "hash-2"}, ApprovalProblem.PLAN_CHANGED),
        (Verb.APPROVE, {"by": " "}, ApprovalProblem.NO_NAME),
        (Verb.EXPIRE, {}, ApprovalProblem.NOT_EXPIRED),
    ],
)
async def test_an_answer_that_does_not_count_changes_nothing(store, verb, changes, problem):
    """Too late, too early, to another plan, or without a name: an error as a value, and the question stands."""
    asked = await store.request(question())
    refused = await say(store, asked, verb, **changes)
    assert isinstance(refused, ApprovalError)
    assert refused.problem == problem
    assert await store.get(asked.id) == asked


async def test_an_unknown_question_cannot_be_answered(store):
    """There is nothing to answer."""
    refused = await say(store, question())
    assert isinstance(refused, ApprovalError)
    assert refused.problem == ApprovalProblem.UNKNOWN


async def test_an_approved_question_can_be_overtaken(store):
    """The plan changed after the yes: the approval is worth nothing any more."""
    asked = await store.request(question())
    await say(store, asked)
    overtaken = await say(store, asked, Verb.OVERTAKE, by="pipeline", plan_hash="hash-2")
    assert isinstance(overtaken, Approval)
    assert (await store.get(asked.id)).status is ApprovalStatus.OVERTAKEN


async def test_questions_are_listed_by_status_oldest_first(store):
    """Each status has its list, and all together are in the order of asking."""
    asked = [await store.request(question(NOW + timedelta(minutes=i))) for i in (2, 0, 1)]
    await say(store, asked[0], now=NOW + timedelta(minutes=3))
    mine = {each.id for each in asked}

    async def listed(status=None):
        return [each.id for each in await store.list(status) if each.id in mine]

    assert await listed() == [asked[1].id, asked[2].id, asked[0].id]
    assert await listed(ApprovalStatus.PENDING) == [asked[1].id, asked[2].id]
    assert await listed(ApprovalStatus.APPROVED) == [asked[0].id]


async def test_what_is_due_is_found_and_expires(store):
    """Pending questions whose time is over are found until somebody expires them; answered ones are not."""
    over, answered, open_ = [await store.request(question(NOW + timedelta(minutes=i))) for i in (0, 0, 1)]
    await say(store, answered)
    moment = NOW + TIMEOUT
    mine = {over.id, answered.id, open_.id}
    assert [each.id for each in await store.due(moment) if each.id in mine] == [over.id]
    expired = await say(store, over, Verb.EXPIRE, by="pipeline", now=moment)
    assert isinstance(expired, Approval)
    assert expired.status is ApprovalStatus.EXPIRED
    assert [each.id for each in await store.due(moment) if each.id in mine] == []


def ruled(*rules: Rule) -> Approval:
    identity = uuid4()
    asked = (f"e-{identity}", f"contract-{identity}", "hash-1", ("careful",))
    return ask(*asked, now=NOW, timeout=TIMEOUT, rules=rules, bypass=(Bypass("emergency", ("sre-lead",)),))


TWO = Rule(
    "production",
    step="restart",
    approvers=(Approver("role", "on-call", required=True), Approver("team", "platform")),
    order="sequential",
    comment_required=True,
    approve=(Choice("approve", "Approve"),),
    reject=(Choice("investigate", "Investigate first", needs_comment=True), Choice("wrong-service", "Wrong service")),
)


async def test_a_yes_that_is_not_enough_is_kept_and_the_question_stays_open(store):
    """Two different people have to say yes; the first one's is on record, and so is what the runbook asked for."""
    asked = await store.request(ruled(TWO))
    assert await store.get(asked.id) == asked
    first = await say(store, asked, by="ada")
    assert isinstance(first, Approval)
    assert (first.status, first.answered_by, [yes.by for yes in first.yeses]) == (ApprovalStatus.PENDING, "", ["ada"])
    assert first.lacking == ("production: 1 more person (role on-call (required), team platform)",)
    assert await store.get(asked.id) == first
    second = await say(store, asked, by="bob", now=NOW + timedelta(minutes=1))
    assert (second.status, second.answered_by) == (ApprovalStatus.APPROVED, "ada, bob")
    assert [yes.at for yes in second.yeses] == [NOW, NOW + timedelta(minutes=1)]
    assert await store.get(asked.id) == second


async def test_nobody_counts_twice(store):
    """A second yes of one person is refused, however they spell their name."""
    asked = await store.request(ruled(TWO))
    await say(store, asked, by="ada")
    again = await say(store, asked, by=" Ada ")
    assert isinstance(again, ApprovalError)
    assert again.problem is ApprovalProblem.SAID_ALREADY
    assert (await store.get(asked.id)).status is ApprovalStatus.PENDING


async def test_many_people_at_once_are_counted_one_by_one(store):
    """Of ten who say yes in the same moment the first two count, and no yes is lost or counted twice."""
    asked = await store.request(ruled(TWO))
    answers = await asyncio.gather(*(say(store, asked, by=f"p{number}") for number in range(10)))
    counted = [answer for answer in answers if isinstance(answer, Approval)]
    assert len(counted) == 2
    assert len((await store.get(asked.id)).yeses) == 2


async def test_one_no_is_enough_and_names_its_reason(store):
    """A no needs one of the reasons that the rule offers; a comment where that asks for one. It ends the question."""
    asked = await store.request(ruled(TWO))
    await say(store, asked, by="ada")
    facts = {"by": "bob", "now": NOW, "plan_hash": "hash-1"}
    for reason, choice, words in (
        ("no", "", "investigate, wrong-service"),
        ("no", "later", "there is no choice 'later'"),
    ):
        refused = await store.answer(asked.id, Verb.DENY, reason=reason, choice=choice, **facts)
        assert isinstance(refused, ApprovalError)
        assert refused.problem is ApprovalProblem.NOT_AS_ASKED
        assert words in refused.message
    denied = await store.answer(asked.id, Verb.DENY, reason="look first", choice="investigate", **facts)
    assert (denied.status, denied.choice, denied.answered_by) == (ApprovalStatus.DENIED, "investigate", "bob")
    assert await store.get(asked.id) == denied


async def test_a_comment_that_a_rule_asks_for_is_part_of_every_yes(store):
    """Without it the yes is none."""
    asked = await store.request(ruled(Rule("why", comment_required=True)))
    silent = await store.answer(asked.id, Verb.APPROVE, by="ada", reason=" ", now=NOW, plan_hash="hash-1")
    assert isinstance(silent, ApprovalError)
    assert silent.problem is ApprovalProblem.NOT_AS_ASKED
    assert (await say(store, asked)).status is ApprovalStatus.APPROVED


ONCALL, PLATFORM = Voter(("role:on-call",)), Voter(("team:platform",))


async def test_in_a_sequence_the_second_is_asked_after_the_first_said_yes(store):
    """A yes out of turn is none, and changes nothing."""
    asked = await store.request(ruled(TWO))
    assert [str(one) for one in asked.wanted] == ["role on-call (required)"]
    early = await say(store, asked, by="bob", voter=PLATFORM)
    assert isinstance(early, ApprovalError)
    assert early.problem is ApprovalProblem.NOT_ASKED
    first = await say(store, asked, by="ada", voter=ONCALL)
    assert [str(one) for one in first.wanted] == ["team platform"]
    assert (await say(store, asked, by="bob", voter=PLATFORM)).status is ApprovalStatus.APPROVED


async def test_nobody_says_yes_to_their_own_but_may_say_no(store):
    """Who asked for the run needs somebody else, also through somebody who stands in for them."""
    base = ruled(Rule("two", approvers=(Approver("role", "on-call"),)))
    asked = await store.request(
        ask(
            base.execution_id,
            "contract-i",
            "hash-1",
            ["why"],
            now=NOW,
            timeout=TIMEOUT,
            rules=base.rules,
            barred=("ada",),
        )
    )
    own = await say(store, asked, by=" Ada", voter=ONCALL)
    assert isinstance(own, ApprovalError)
    assert own.problem is ApprovalProblem.OWN_REQUEST
    for_her = Voter((), (StandIn("ada", ("role:on-call",)),))
    assert (await say(store, asked, by="bob", voter=for_her)).problem is ApprovalProblem.NOT_ASKED
    assert (await store.get(asked.id)) == asked
    assert (await say(store, asked, Verb.DENY, by="ada")).status is ApprovalStatus.DENIED


async def test_a_stand_in_says_yes_for_somebody_who_then_cannot_say_it_too(store):
    """The record says for whom; one person's answer counts once."""
    asked = await store.request(ruled(Rule("two", approvers=(Approver("role", "on-call", count=2),))))
    first = await say(store, asked, by="bob", voter=Voter((), (StandIn("ada", ("role:on-call",)),)))
    assert (first.status, first.yeses[0].stands_for) == (ApprovalStatus.PENDING, ("ada",))
    assert await store.get(asked.id) == first
    assert (await say(store, asked, by="ada", voter=ONCALL)).problem is ApprovalProblem.SAID_ALREADY
    assert (await say(store, asked, by="eve", voter=ONCALL)).status is ApprovalStatus.APPROVED


async def test_a_bypass_approves_with_its_name_and_justification_and_only_once(store):
    """It is kept apart from a yes; without a justification it is none."""
    asked = await store.request(ruled(TWO))
    facts = {"by": "ada", "now": NOW, "plan_hash": "hash-1", "choice": "emergency"}
    silent = await store.answer(asked.id, Verb.BYPASS, reason=" ", **facts)
    assert isinstance(silent, ApprovalError)
    assert silent.problem is ApprovalProblem.NO_REASON
    done = await store.answer(asked.id, Verb.BYPASS, reason="shop is down", **facts)
    assert (done.status, done.bypassed, done.yeses) == (ApprovalStatus.APPROVED, "emergency", ())
    assert await store.get(asked.id) == done
    again = await store.answer(asked.id, Verb.BYPASS, reason="shop is down", **facts)
    assert again.problem is ApprovalProblem.NOT_POSSIBLE


async def test_who_is_escalated_to_counts_from_that_moment_on(store):
    """Before it their yes is none; they never take the place of a person who is required by name."""
    steps = (Escalation(300, ("manager",)),)
    boss = Voter(("role:manager",))
    asked = await store.request(ruled(Rule("r", approvers=(Approver("role", "on-call"),), escalation=steps)))
    early = await say(store, asked, by="mia", voter=boss, now=NOW + timedelta(seconds=299))
    assert isinstance(early, ApprovalError)
    assert early.problem is ApprovalProblem.NOT_ASKED
    late = await say(store, asked, by="mia", voter=boss, now=NOW + timedelta(seconds=300))
    assert late.status is ApprovalStatus.APPROVED
    named = await store.request(ruled(Rule("r", approvers=(Approver("user", "ada", required=True),), escalation=steps)))
    no = await say(store, named, by="mia", voter=boss, now=NOW + timedelta(seconds=300))
    assert no.problem is ApprovalProblem.NOT_ASKED


async def test_half_of_the_yeses_expire_with_their_question(store):
    """No answer is no, and so is half of one."""
    asked = await store.request(ruled(TWO))
    await say(store, asked, by="ada")
    late = NOW + TIMEOUT
    assert asked.id in {each.id for each in await store.due(late)}
    expired = await store.answer(asked.id, Verb.EXPIRE, by="rootmend", reason="late", now=late, plan_hash="hash-1")
    assert expired.status is ApprovalStatus.EXPIRED


async def test_a_question_about_a_step_is_kept_with_its_step(store):
    """It is another question than the one about the plan, and the same one when it is asked again."""
    facts = {"now": NOW, "timeout": TIMEOUT}
    execution = f"contract-{uuid4()}"
    plan = ask(execution, "contract-i", "h1", ["why"], **facts)
    step = ask(execution, "contract-i", "h1", ["why"], **facts, step="approval/restart")
    assert plan.id != step.id
    for asked in (plan, step, step):
        await store.request(asked)
    assert (await store.get(step.id)) == step
    assert (await store.get(plan.id)).step == ""
    answered = await store.answer(step.id, Verb.APPROVE, by="ann", reason="", now=NOW, plan_hash="h1")
    assert (answered.status, answered.step) == (ApprovalStatus.APPROVED, "approval/restart")
    assert (await store.get(plan.id)).status is ApprovalStatus.PENDING
