"""Questions to humans in the middle of an execution, and what runs when a step fails."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fakes.actions import START
from fakes.engine import answering, bench, flaky, play, record, run, statuses, write
from fakes.journal import Crash

from executor.errors import PlanError
from executor.failpoints import Failpoint, arm
from executor.model import Outcome
from safety.approvals import ApprovalStatus, Verb, granted

ASK = {"id": "ask", "name": "Ask", "action": "manual_approval", "params": {"message": "Restart {{ target.name }}?"}}


async def test_a_step_waits_for_a_yes():
    """The question names the step and what it changes, and is bound to the plan."""
    made = bench()
    answering(made, Verb.APPROVE)
    ended = await run(made, {"steps": [write(), write("b", 1, require_approval=True)]})
    assert ended.outcome is Outcome.SUCCESS
    (question,) = made.approvals.approvals.values()
    assert question.reasons == ("step 'Set b' asks before it runs", "b: None -> 1")
    assert (question.plan_hash, question.step) == (ended.plan.hash, "approval/b")
    asked = next(one for one in ended.steps if one.phase == "approval")
    assert asked.output == {"approval": question.id, "by": "ann", "reason": "fine"}
    assert made.journal.written.index(("outcome", "x1/approval/1")) < made.journal.written.index(
        ("intend", "x1/step/1")
    )


async def test_a_no_fails_the_step_and_what_was_done_is_undone():
    """With the reason that was given."""
    made = bench()
    answering(made, Verb.DENY, "not now")
    ended = await run(made, {"steps": [write(), write("b", 1, require_approval=True)]})
    assert ended.outcome is Outcome.ROLLBACK
    assert "no approval: denied by ann: not now" in ended.error
    assert made.tiny.effects == ["set memory=512Mi", "undo memory=256Mi"]


async def test_silence_is_a_no():
    """When the time is over the question is closed; how long that is says the runbook."""
    made = bench()
    runbook = {"safety": {"require_approval": False, "approval_timeout": "20s"}}
    ended = await run(made, {**runbook, "steps": [write(), write("b", 1, require_approval=True)]})
    assert ended.outcome is Outcome.ROLLBACK
    (question,) = made.approvals.approvals.values()
    assert question.status is ApprovalStatus.EXPIRED
    assert question.expires_at == START + timedelta(seconds=20)


async def test_nobody_to_ask_is_a_no():
    """Missing data never permits."""
    made = bench()
    made.approvals = None
    ended = await run(made, {"steps": [write(), write("b", 1, require_approval=True)]})
    assert "nobody can be asked here" in ended.error
    assert "set b=1" not in made.tiny.effects


async def test_a_question_that_holds_only_sometimes():
    """The condition is looked at when the step's turn comes."""
    made = bench()
    again = {"id": "again", "name": "Again", "action": "look", "params": {"name": "memory"}}
    steps = [
        write(),
        again,
        write("b", 1, require_approval="steps.again.output == '1Gi'"),
        write("c", 1, require_approval="steps.again.output == '512Mi'"),
    ]
    answering(made, Verb.APPROVE)
    await run(made, {"steps": steps})
    assert [one.step for one in made.approvals.approvals.values()] == ["approval/c"]


async def test_a_step_can_only_ask():
    """What it asks is rendered; what comes after it has a yes."""
    made = bench()
    answering(made, Verb.APPROVE)
    ended = await run(made, {"steps": [ASK, write()]})
    assert ended.outcome is Outcome.SUCCESS
    (question,) = made.approvals.approvals.values()
    assert question.reasons == ("Restart app?",)


async def test_other_branches_go_on_while_one_waits():
    """The human is asked about one step, not about the rest."""
    made = bench()
    seen = []

    def look():
        if made.approvals.approvals:
            seen.append(list(made.tiny.effects))

    made.clock.on_sleep.append(look)
    steps = [
        write("a", 1, depends_on=[], require_approval=True),
        write("memory", "512Mi", depends_on=[]),
        write("b", 1),
    ]
    runbook = {"safety": {"require_approval": False, "approval_timeout": "30s"}, "steps": steps}
    await run(made, runbook)
    assert seen[-1][:2] == ["set memory=512Mi", "set b=1"]


async def test_an_answer_about_a_step_is_no_leave_for_a_plan():
    """The gate would take it for a yes to everything."""
    made = bench()
    answering(made, Verb.APPROVE)
    await run(made, {"steps": [ASK, write()]})
    (question,) = made.approvals.approvals.values()
    assert question.status is ApprovalStatus.APPROVED
    assert granted(question) is None


async def test_waiting_for_a_human_does_not_use_up_the_time_of_the_runbook():
    """Ten minutes of thinking are no reason to take back what works."""
    made = bench()
    asked = [0]

    def later():
        asked[0] += 1
        if asked[0] == 600:
            answering(made, Verb.APPROVE)

    made.clock.on_sleep.append(later)
    ended = await run(made, {"timeout": "1m", "steps": [write(), ASK, write("b", 1)]})
    assert ended.outcome is Outcome.SUCCESS
    assert made.clock.passed > 500


async def test_invariant_3_a_question_is_asked_once_however_often_the_process_dies():
    """The same question is found again, its time runs on, and the answer counts once."""
    runbook = {"steps": [write(), write("b", 1, require_approval=True)]}
    _, _, crashes = await play(runbook, on_new=lambda made: answering(made, Verb.APPROVE))
    for at in range(1, len(crashes.reached) + 1):
        made, ended, _ = await play(runbook, crashes_at=[at, at + 3], on_new=lambda made: answering(made, Verb.APPROVE))
        assert ended.outcome is Outcome.SUCCESS
        assert len(made.approvals.approvals) == 1
        assert made.tiny.effects == ["set memory=512Mi", "set b=1"]


@pytest.mark.parametrize(
    ("point", "times"),
    [
        (Failpoint.QUESTION_INTENDED, 1),
        (Failpoint.QUESTION_OPEN, 1),
        (Failpoint.QUESTION_TOLD, 2),
        (Failpoint.ANSWER_HEARD, 1),
    ],
)
async def test_people_are_told_of_a_question_wherever_its_process_dies(point, times):
    """A message that may be missing is sent; it comes twice only where nobody knows whether it was sent."""
    reached = []

    def armed(at, _):
        reached.append(at)
        if at is point and reached.count(point) == 1:
            raise Crash("kill -9")

    arm(armed)
    try:
        runbook = {"steps": [write(), write("b", 1, require_approval=True)]}
        made, ended, _ = await play(runbook, on_new=lambda made: answering(made, Verb.APPROVE))
    finally:
        arm(None)
    assert ended.outcome is Outcome.SUCCESS
    assert len(made.approvals.approvals) == 1
    assert reached.count(Failpoint.QUESTION_TOLD) == times


async def test_after_a_failure_a_human_may_say_go_on():
    """The failed step stays failed, and the rest runs."""
    made = bench()
    answering(made, Verb.APPROVE)
    ended = await run(made, {"steps": [write("bad", 1, fail="permanent", on_failure="approve"), write()]})
    assert (ended.outcome, statuses(ended)["memory"]) == (Outcome.PARTIAL, "succeeded")
    (question,) = made.approvals.approvals.values()
    assert question.reasons[0] == "step 'Set bad' failed: it did not work"


@pytest.mark.parametrize("verb", [Verb.DENY, None])
async def test_after_a_failure_a_no_or_silence_rolls_back(verb):
    """Nothing more is done forwards."""
    made = bench()
    if verb:
        answering(made, verb, "no")
    steps = [write(), write("bad", 1, fail="permanent", on_failure="approve"), write("c", 1)]
    ended = await run(made, {"steps": steps})
    assert ended.outcome is Outcome.ROLLBACK
    assert made.tiny.effects == ["set memory=512Mi", "undo memory=256Mi"]


async def test_open_questions_are_closed_when_nobody_needs_them():
    """Another branch failed: who answers later is told that it is too late."""
    made = bench()
    steps = [
        write("a", 1, depends_on=[], require_approval=True),
        {"id": "w", "name": "Wait", "action": "settle", "depends_on": []},
        write("bad", 1, depends_on=["w"], fail="permanent"),
    ]
    ended = await run(made, {"steps": steps})
    (question,) = made.approvals.approvals.values()
    assert question.status is ApprovalStatus.OVERTAKEN
    assert statuses(ended, "approval") == {"a": "skipped"}


@pytest.mark.parametrize(
    ("then", "outcome", "effects"),
    [
        ("continue", Outcome.PARTIAL, ["set help=1", "set memory=512Mi"]),
        ("rollback", Outcome.ROLLBACK, ["set help=1", "undo help=None"]),
        ("abort", Outcome.FAILURE, ["set help=1"]),
    ],
)
async def test_a_procedure_runs_when_a_step_fails(then, outcome, effects):
    """Then comes what the step says; a rollback takes back what the procedure did, too."""
    made = bench()
    steps = [write("bad", 1, fail="permanent", on_failure={"run": "help", "then": then}), write()]
    ended = await run(made, {"steps": steps, "procedures": {"help": [write("help", 1)]}})
    assert ended.outcome is outcome
    assert made.tiny.effects == effects
    assert statuses(ended, "procedure.0") == {"help": "succeeded"}


async def test_a_procedure_that_fails_has_the_last_word():
    """Its step says roll back, whatever should have followed."""
    made = bench()
    steps = [write(), write("bad", 1, fail="permanent", on_failure={"run": "help", "then": "continue"}), write("c", 1)]
    ended = await run(made, {"steps": steps, "procedures": {"help": [write("worse", 1, fail="permanent")]}})
    assert ended.outcome is Outcome.ROLLBACK
    assert "step 'Set worse': it did not work" in ended.error
    assert "set c=1" not in made.tiny.effects


async def test_a_procedure_knows_what_failed():
    """And the values that were saved before."""
    made = bench()
    bad = flaky("bad", ["failed"], save_state={"why": "kept"}, on_failure={"run": "help", "then": "continue"})
    help_ = write("note", "{{ state.why }}: {{ steps.bad.error }}")
    ended = await run(made, {"steps": [write(), bad], "procedures": {"help": [help_]}})
    assert made.tiny.values["note"] == "kept: the answer was wrong"
    assert ended.outcome is Outcome.PARTIAL


@pytest.mark.parametrize(
    ("runbook", "words"),
    [
        (
            {"steps": [write("a", 1, on_failure={"run": "hepl"})], "procedures": {"help": [write("b", 1)]}},
            "no procedure 'hepl'; did you mean help?",
        ),
        (
            {"steps": [write("a", 1)], "procedures": {"p": [write("b", 1, on_failure={"run": "p"})]}},
            "procedure 'p', step 'Set b': a procedure runs when one of the runbook's own steps fails",
        ),
        ({"steps": [write("a", 1)], "rollback": [ASK]}, "rollback step 'Ask': a rollback asks nobody"),
    ],
)
async def test_procedures_and_rollbacks_that_cannot_run_are_refused(runbook, words):
    """While planning, with the place and the nearest name."""
    with pytest.raises(PlanError) as raised:
        await record(bench(), runbook)
    assert words in str(raised.value)
