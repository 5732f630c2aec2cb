"""Running a plan: steps, failures, pause, shutdown, and how it ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fakes.actions import Bench, match_for, permit_for, record_of

from executor.errors import Fenced, HandedOver, LeaseLost, NotPermitted
from executor.model import Outcome, Status, StepStatus, Verdict
from executor.planner import Planner

SAFE = {"require_approval": False}
LOOK = {"name": "Look", "action": "look", "params": {"name": "memory"}, "output_var": "current"}


def write(name="memory", value="512Mi", title=None, **more):
    params = {"name": name, "value": value, **{key: more.pop(key) for key in ("fail", "irreversible") if key in more}}
    return {"name": title or f"Set {name}", "action": "set", "params": params, **more}


async def record(bench, steps, rollback=(), **facts):
    runbook = {"safety": SAFE, "steps": steps, "rollback": list(rollback)}
    plan = await Planner(bench.actions, bench.world, {}).plan(match_for(runbook), "x1")
    return record_of(plan, **facts)


async def test_a_fix_that_works_is_a_success_with_evidence():
    """Steps, proof over the settle time, the end: each in the journal."""
    bench = Bench()
    ended = await bench.start(await record(bench, [LOOK, write(value="{{ current * 2 }}")]))
    assert (ended.outcome, ended.verdict, ended.status) == (Outcome.SUCCESS, Verdict.VERIFIED, Status.DONE)
    assert bench.tiny.values["memory"] == "512Mi"
    assert bench.journal.evidence["x1"][-1].healthy
    assert bench.clock.passed >= 5
    stored = await bench.journal.load("x1")
    assert stored.outcome is Outcome.SUCCESS
    assert [run.status for run in stored.steps] == [StepStatus.SUCCEEDED] * 2


async def test_a_wrong_fix_is_not_fixed_and_undone():
    """The world decides, and what was changed is put back as it was."""
    bench = Bench()
    ended = await bench.start(await record(bench, [write(value="300Mi")]))
    assert (ended.outcome, ended.verdict) == (Outcome.ROLLBACK, Verdict.NOT_FIXED)
    assert bench.tiny.values["memory"] == "256Mi"
    assert bench.tiny.effects == ["set memory=300Mi", "undo memory=256Mi"]


async def test_not_fixed_is_kept_when_the_runbook_says_so():
    """An author may want to look at it."""
    bench = Bench()
    ended = await bench.start(await record(bench, [write(value="300Mi")], on_not_fixed="keep"))
    assert (ended.outcome, ended.verdict) == (Outcome.FAILURE, Verdict.NOT_FIXED)
    assert bench.tiny.values["memory"] == "300Mi"


async def test_invariant_8_no_evidence_is_inconclusive_and_never_a_success():
    """The steps ran, but nothing is there that could prove anything: kept, and told."""
    bench = Bench()

    async def vanish():
        bench.cluster.before_read.clear()
        bench.cluster.objects.clear()

    bench.tiny.performing = vanish
    ended = await bench.start(await record(bench, [write()]))
    assert (ended.outcome, ended.verdict) == (Outcome.PARTIAL, Verdict.INCONCLUSIVE)
    assert bench.tiny.values["memory"] == "512Mi"


async def test_a_failing_step_rolls_back_what_was_done_before_it():
    """The default: a half-done runbook is undone, last change first."""
    bench = Bench()
    ended = await bench.start(
        await record(bench, [write(), write("b", 1), write("c", 2, fail="permanent"), write("d", 3)])
    )
    assert ended.outcome is Outcome.ROLLBACK
    assert "step 'Set c': it did not work" in ended.error
    assert bench.tiny.effects == ["set memory=512Mi", "set b=1", "undo b=None", "undo memory=256Mi"]


async def test_on_failure_abort_leaves_what_was_done():
    """The author wants to look at it as it is."""
    bench = Bench()
    ended = await bench.start(await record(bench, [write(), write("c", 2, fail="permanent", on_failure="abort")]))
    assert ended.outcome is Outcome.FAILURE
    assert bench.tiny.effects == ["set memory=512Mi"]


async def test_on_failure_continue_and_verified_is_partial():
    """The fix is proven, and not everything was done."""
    bench = Bench()
    ended = await bench.start(await record(bench, [write("c", 2, fail="permanent", on_failure="continue"), write()]))
    assert (ended.outcome, ended.verdict) == (Outcome.PARTIAL, Verdict.VERIFIED)


async def test_a_message_that_cannot_be_sent_changes_nothing():
    """Nobody undoes a fix because chat is away."""
    bench = Bench()
    ended = await bench.start(
        await record(bench, [write(), {"name": "Say", "action": "say", "params": {"text": "broken"}}])
    )
    assert (ended.outcome, ended.verdict) == (Outcome.SUCCESS, Verdict.VERIFIED)


async def test_drift_before_the_first_change_aborts():
    """The target is no longer what the plan was made from, so nothing is done to it."""
    bench = Bench()
    made = await record(bench, [write()])
    bench.tiny.values["memory"] = "1Gi"
    ended = await bench.start(made)
    assert ended.outcome is Outcome.ABORTED
    assert "memory is 1Gi" in ended.error
    assert bench.tiny.effects == []


async def test_a_refused_dry_run_ends_before_the_first_change():
    """The server says no while nothing has happened yet."""
    bench = Bench()
    bench.tiny.refuse_dry_run = "limit below request"
    ended = await bench.start(await record(bench, [write()]))
    assert ended.outcome is Outcome.ABORTED
    assert "limit below request" in ended.error
    assert bench.tiny.effects == []


async def test_a_temporary_failure_is_tried_again_with_back_off():
    """Two conflicts do not end a remediation."""
    bench = Bench()
    ended = await bench.start(await record(bench, [write(fail="temporary")]))
    assert ended.outcome is Outcome.SUCCESS
    assert bench.tiny.effects == ["set memory=512Mi"]


async def test_a_step_that_takes_too_long_is_stopped_and_undone():
    """The deadline holds for the step as a whole."""
    bench = Bench()
    ended = await bench.start(await record(bench, [write(), write("c", 1, fail="hang", timeout="50ms")]))
    assert ended.outcome is Outcome.ROLLBACK
    assert "not done within 0.05 s" in ended.error


async def test_a_broken_action_ends_its_execution_only():
    """A bug is a failed step, told with its type."""
    bench = Bench()
    ended = await bench.start(await record(bench, [write(), write("c", 1, fail="bug")]))
    assert ended.outcome is Outcome.ROLLBACK
    assert "unexpected KeyError" in ended.error


async def test_a_failing_undo_does_not_stop_the_others_and_is_a_failure():
    """What can be put back is put back; what cannot is told."""
    bench = Bench()
    steps = [write(), write("b", 1, fail="undo"), write("c", 2, fail="permanent")]
    ended = await bench.start(await record(bench, steps))
    assert ended.outcome is Outcome.FAILURE
    assert "'Set b' was not undone: somebody else changed it" in ended.error
    assert bench.tiny.values["memory"] == "256Mi"


async def test_own_rollback_steps_run_instead_of_the_inverse():
    """The author knows better, and the values are those from before."""
    bench = Bench()
    back = write(value="{{ current }}", title="Back")
    ended = await bench.start(await record(bench, [LOOK, write(value="300Mi")], [back]))
    assert ended.outcome is Outcome.ROLLBACK
    assert bench.tiny.effects == ["set memory=300Mi", "set memory=256Mi"]


async def test_a_deferred_write_is_rendered_when_its_turn_comes():
    """With what the earlier step gave, after a human approved the template."""
    bench = Bench()
    seen = {**LOOK, "name": "Again", "output_var": "seen"}
    made = await record(bench, [write(), seen, write("copy", "{{ seen }}")])
    ended = await bench.start(made, approval_id="a1")
    assert ended.outcome is Outcome.SUCCESS
    assert bench.tiny.values["copy"] == "512Mi"


async def test_a_deferred_write_cannot_leave_the_namespaces_of_its_permit():
    """The gate said yes to these namespaces and no others."""
    bench = Bench()
    bench.tiny.values["where"] = "kube-system"
    where = {"name": "Where", "action": "look", "params": {"name": "where"}, "output_var": "where"}
    late = write("x", 1)
    late["params"]["namespace"] = "{{ where }}"
    ended = await bench.start(await record(bench, [write(), where, late]), approval_id="a1")
    assert ended.outcome is Outcome.ROLLBACK
    assert "it would change kube-system" in ended.error


async def test_a_condition_on_an_earlier_output_is_read_when_its_turn_comes():
    """Skipped, when it does not hold then."""
    bench = Bench()
    steps = [write(), {**LOOK, "output_var": "seen"}, write("b", 1, when="seen == '256Mi'")]
    ended = await bench.start(await record(bench, steps))
    assert ended.outcome is Outcome.SUCCESS
    assert "b" not in bench.tiny.values


async def test_invariant_1_a_permit_is_good_for_its_own_plan_only():
    """Another execution, another plan, a plan changed in the store, an ended execution: nothing runs."""
    bench = Bench()
    made = await record(bench, [write()])
    bench.journal.open(made, 1)
    executor = bench.executor()
    with pytest.raises(NotPermitted):
        await executor.run(replace(permit_for(made), execution_id="x2"), made)
    with pytest.raises(NotPermitted):
        await executor.run(replace(permit_for(made), plan_hash="other"), made)
    with pytest.raises(NotPermitted):
        await executor.run(permit_for(made), made.model_copy(update={"status": Status.PERMITTED}))
    step = made.plan.steps[0].model_copy(update={"params": {**made.plan.steps[0].params, "value": "64Gi"}})
    forged = made.model_copy(update={"plan": made.plan.model_copy(update={"steps": (step,)})})
    ended = await executor.run(permit_for(forged), forged)
    assert ended.outcome is Outcome.ABORTED
    assert bench.tiny.effects == []


async def test_invariant_9_what_cannot_be_undone_runs_only_with_an_approval():
    """Every mutation knows its inverse before it is made, or a human has said yes."""
    bench = Bench()
    made = await record(bench, [write(irreversible=True)])
    assert (await bench.start(made)).outcome is Outcome.ABORTED
    assert bench.tiny.effects == []
    assert (await bench.start(made, approval_id="a1")).outcome is Outcome.SUCCESS


async def test_invariant_9_the_prior_object_is_saved_with_the_intent():
    """Before the effect, what undoes it is durable."""
    bench = Bench()
    seen = []

    async def look():
        stored = await bench.journal.load("x1")
        seen.append(stored.steps[0].before)

    bench.tiny.performing = look
    await bench.start(await record(bench, [write()]))
    assert seen == [{"value": "256Mi"}]


async def test_invariant_10_pause_takes_effect_before_the_next_step():
    """The current step ends, the next one waits until the pause is lifted."""
    bench = Bench()

    async def pause():
        bench.guard.paused = "maintenance"

    bench.tiny.performing = pause
    made = await record(bench, [write(), write("b", 1)])
    bench.journal.open(made, 1)
    running = asyncio.create_task(bench.executor().run(permit_for(made), made))
    for _ in range(50):
        await asyncio.sleep(0)
    assert bench.hooks.named("execution.paused")
    assert bench.tiny.effects == ["set memory=512Mi"]
    bench.tiny.performing = None
    bench.guard.paused = ""
    assert (await running).outcome is Outcome.SUCCESS
    assert bench.tiny.effects == ["set memory=512Mi", "set b=1"]


async def test_invariant_10_rollback_is_not_blocked_by_a_pause_or_the_gate():
    """Undo goes on while everything else is paused."""
    bench = Bench()
    made = await record(bench, [write(value="300Mi")])

    async def pause():
        bench.guard.paused = "maintenance"

    bench.tiny.performing = pause
    bench.journal.open(made, 1)
    ended = await bench.executor().run(permit_for(made), made)
    assert ended.outcome is Outcome.ROLLBACK
    assert bench.tiny.values["memory"] == "256Mi"


async def test_invariant_6_a_pause_switch_that_cannot_be_read_holds_the_next_step():
    """No answer is not a yes."""
    bench = Bench()
    made = await record(bench, [write()])
    bench.guard.paused = "the switch cannot be read"
    bench.journal.open(made, 1)
    executor = bench.executor()
    running = asyncio.create_task(executor.run(permit_for(made), made))
    for _ in range(50):
        await asyncio.sleep(0)
    assert bench.tiny.effects == []
    executor.stop()
    with pytest.raises(HandedOver):
        await running


async def test_stopping_finishes_the_step_and_hands_over():
    """SIGTERM: nothing is cut in the middle, the execution stays running for the next holder, who ends it."""
    bench = Bench()
    made = await record(bench, [write(), write("b", 1)])
    bench.journal.open(made, 1)
    executor = bench.executor()

    async def stop():
        executor.stop()

    bench.tiny.performing = stop
    with pytest.raises(HandedOver):
        await executor.run(permit_for(made), made)
    stored = await bench.journal.load("x1")
    assert stored.status is Status.RUNNING
    assert [run.status for run in stored.steps] == [StepStatus.SUCCEEDED]
    bench.tiny.performing = None
    assert (await bench.take_over()).outcome is Outcome.SUCCESS
    assert bench.tiny.effects == ["set memory=512Mi", "set b=1"]


async def test_stopping_while_verifying_keeps_the_window():
    """The next holder goes on with the same deadline."""
    bench = Bench()
    made = await record(bench, [write(value="300Mi")])
    bench.journal.open(made, 1)
    executor = bench.executor()
    bench.clock.on_sleep.append(lambda: executor.stop() if bench.clock.passed > 10 else None)
    with pytest.raises(HandedOver):
        await executor.run(permit_for(made), made)
    bench.clock.on_sleep.clear()
    stored = await bench.journal.load("x1")
    assert stored.status is Status.VERIFYING
    ended = await bench.take_over()
    assert ended.outcome is Outcome.ROLLBACK
    assert bench.clock.passed == pytest.approx(60, abs=2)


async def test_a_lost_lease_stops_at_once():
    """Nothing is written any more."""
    bench = Bench()
    made = await record(bench, [write()])
    bench.guard.lost = True
    bench.journal.open(made, 1)
    with pytest.raises(LeaseLost):
        await bench.executor().run(permit_for(made), made)
    assert bench.journal.written == []
    assert bench.tiny.effects == []


async def test_invariant_4_a_fenced_holder_cannot_write():
    """The old holder's intent is refused, so its effect never happens; the new holder's does, once."""
    bench = Bench()
    made = await record(bench, [write(), write("b", 1)])
    bench.journal.open(made, 1)

    async def replaced():
        bench.tiny.performing = None
        bench.journal.adopt("x1")

    bench.tiny.performing = replaced
    with pytest.raises(Fenced):
        await bench.executor().run(permit_for(made), made)
    assert bench.tiny.effects == ["set memory=512Mi"]
    assert [run.status for run in (await bench.journal.load("x1")).steps] == [StepStatus.INTENDED]
    assert (await bench.take_over()).outcome is Outcome.SUCCESS
    assert bench.tiny.effects == ["set memory=512Mi", "set b=1"]


async def test_while_the_journal_is_away_the_execution_waits():
    """The current step ends, its outcome is written when the journal is back."""
    bench = Bench()

    async def away():
        bench.journal.away = True

    def back():
        if bench.clock.passed > 30:
            bench.journal.away = False

    bench.tiny.performing = away
    bench.clock.on_sleep.append(back)
    ended = await bench.start(await record(bench, [write()]))
    assert ended.outcome is Outcome.SUCCESS
    assert bench.tiny.effects == ["set memory=512Mi"]


async def test_invariant_12_secrets_are_not_stored():
    """Whatever the executor adds to what the author wrote passes through the redactor."""
    bench = Bench()
    broken = RuntimeError(f"denied {bench.secret}")

    async def breaks():
        bench.cluster.before_read.append(lambda: (_ for _ in ()).throw(broken))

    bench.tiny.performing = breaks
    notification = {"on_inconclusive": {"slack": {"channel": "#c", "message": f"leaked {bench.secret}"}}}
    made = await record(bench, [write(value=f"token {bench.secret}")], notification=notification)
    ended = await bench.start(made)
    assert (ended.verdict, ended.error) == (Verdict.INCONCLUSIVE, "it cannot be read: denied ***")
    stored = await bench.journal.load("x1")
    assert stored.steps[0].output == {"value": "token ***"}
    for kept in (stored.steps, stored.error, bench.journal.evidence, bench.journal.actions_taken, bench.chat.posted):
        assert bench.secret not in str(kept)
    assert bench.chat.posted == [("#c", "leaked ***")]


@pytest.mark.parametrize(("value", "on_not_fixed", "left"), [("512Mi", "rollback", 0), ("300Mi", "keep", 1)])
async def test_backups_of_secrets_go_when_nobody_will_need_them(value, on_not_fixed, left):
    """Proven or put back: they are deleted. Kept although it did not work: a human may want them."""
    bench = Bench()
    place = {"name": "rootmend-backup-x1-regcred", "namespace": "shop"}
    labels = {"rootmend.dev/execution": "x1"}
    bench.cluster.put({"kind": "Secret", "metadata": {**place, "uid": "s1", "labels": labels}})
    bench.tiny.saved_too = {"backup": place}
    await bench.start(await record(bench, [write(value=value)], on_not_fixed=on_not_fixed))
    assert len(await bench.cluster.list("Secret")) == left


async def test_people_are_told_with_the_runbooks_own_words():
    """Templates of the notification know the outputs and the error."""
    bench = Bench()
    slack = {"slack": {"channel": "#c", "message": "{{ current }} {{ verdict }} {{ error_message }}"}}
    notification = {"on_start": {"slack": {"channel": "#c", "message": "start"}}, "on_failure": slack}
    made = await record(bench, [LOOK, write(value="300Mi")], notification=notification)
    await bench.start(made)
    assert bench.chat.posted[0] == ("#c", "start")
    assert bench.chat.posted[1][1].startswith("256Mi not_fixed 0 of 1 available")


@pytest.mark.parametrize("trouble", ["configured", "broken"])
async def test_a_notification_that_cannot_be_sent_never_fails_an_execution(trouble):
    """Recorded through the hooks, and nothing else."""
    bench = Bench()
    setattr(bench.chat, trouble, trouble == "broken")
    notification = {"on_success": {"slack": {"channel": "#c", "message": "fixed"}}}
    ended = await bench.start(await record(bench, [write()], notification=notification))
    assert ended.outcome is Outcome.SUCCESS
    assert bench.hooks.named("notification.failed" if trouble == "broken" else "notification.skipped")


async def test_the_hooks_hear_what_metrics_need():
    """Names and facts that services/metrics.py counts."""
    bench = Bench()
    await bench.start(await record(bench, [LOOK, write(value="300Mi")]))
    names = [name for name, _ in bench.hooks.events]
    assert names[0] == "execution.started"
    for name in ("step.started", "step.finished", "execution.verifying", "execution.rolling_back", "rollback.finished"):
        assert name in names
    finished = bench.hooks.named("execution.finished")[0]
    assert finished["outcome"] == "rollback"
    assert {"runbook", "trigger_type", "verdict", "seconds"} <= finished.keys()
    step = bench.hooks.named("step.finished")[1]
    assert {"runbook", "step", "action", "status", "seconds"} <= step.keys()
