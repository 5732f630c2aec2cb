"""An execution keeps the version that it was decided with, and a person can put an earlier version in force."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
from fakes.journal import Crash
from fakes.versioned_rig import VersionedRig

from safety.approvals import ApprovalStatus, Verb
from services.graph.errors import GraphUnavailable
from services.pipeline.sweep import sweep
from services.records import DecisionKind
from services.versions import RunbookRollback, VersionText

SMALL = [{"name": "raise", "action": "set", "params": {"name": "{{ target.name }}", "value": "300Mi"}}]


@pytest.fixture
async def rig(tmp_path):
    made = VersionedRig(tmp_path)
    made.write()
    await made.catalog.follow()
    return made


async def _asked(rig, process):
    rig.write(safety={"require_approval": True, "max_executions_per_hour": 50, "cooldown": 300})
    await rig.handle(process, "app")
    (question,) = await rig.store.list(ApprovalStatus.PENDING)
    return question


async def _yes(rig, process, question):
    await rig.store.answer(
        question.id, Verb.APPROVE, by="ada", reason="seen", now=rig.clock.now(), plan_hash=question.plan_hash
    )
    await process.desk.sweep()
    await process.quiet()


def _rollback(from_sha, to_sha):
    return RunbookRollback(str(uuid4()), "raise-memory", from_sha, to_sha, "ada", "it doubles")


@pytest.mark.parametrize("becomes", ["changed", "removed", "broken"])
@pytest.mark.parametrize("restarted", [False, True])
async def test_an_approved_plan_runs_with_its_own_version_whatever_becomes_of_the_file(rig, becomes, restarted):
    """What was shown and said yes to is what runs, also in a process that never saw the file as it was."""
    process = rig.process()
    question = await _asked(rig, process)
    sha = rig.used()[0]
    file = rig.folder / "raise-memory.yaml"
    if becomes == "changed":
        rig.write(steps=SMALL)
    elif becomes == "removed":
        file.unlink()
    else:
        file.write_text("runbook: [")
    if restarted:
        await rig.catalog.follow()
        rig.catalog = rig.new_catalog()
        process = rig.process()
    rig.catalog.load()
    await _yes(rig, process, question)
    assert (rig.effects(), rig.outcomes(), rig.used()) == (["set app=512Mi"], ["success"], [sha])


async def test_an_execution_that_a_crash_left_behind_goes_on_with_its_own_version(rig):
    """The plan is the execution's; the file may be gone when another process takes over."""
    process = rig.process()
    rig.points.crash("before outcome")
    await rig.handle(process, "app")
    await process.die()
    sha = rig.used()[0]
    (rig.folder / "raise-memory.yaml").unlink()
    rig.write("another", steps=SMALL)
    rig.clock.passed += 20
    other = rig.process()
    await other.care.sweep()
    await other.quiet()
    assert rig.effects() == ["set app=512Mi"]
    assert (rig.outcomes(), rig.used()) == (["success"], [sha])


async def test_a_version_whose_text_was_altered_does_not_run(rig):
    """What the graph holds must have the hash that was approved."""
    process = rig.process()
    question = await _asked(rig, process)
    sha = rig.used()[0]
    await rig.versions.records(["raise-memory"])
    known = rig.versions.known["raise-memory", sha]
    rig.versions.known["raise-memory", sha] = replace(known, text=known.text.replace("512Mi", "999Mi"))
    (rig.folder / "raise-memory.yaml").unlink()
    rig.catalog = rig.new_catalog()
    other = rig.process()
    await _yes(rig, other, question)
    assert (rig.effects(), rig.only(DecisionKind.REFUSAL).check) == ([], "runbook_gone")


async def test_an_approved_plan_of_a_version_that_was_rolled_back_does_not_run(rig):
    """A person took it out of force after another had said yes: the later word counts, with its reason."""
    process = rig.process()
    question = await _asked(rig, process)
    await rig.versions.roll_back(_rollback(rig.used()[0], "b" * 64))
    await _yes(rig, process, question)
    refusal = rig.only(DecisionKind.REFUSAL)
    assert (rig.effects(), refusal.check) == ([], "runbook_rolled_back")
    assert "by ada: it doubles" in refusal.message


async def test_while_the_graph_is_away_an_answer_waits(rig):
    """Whether the version is still in force is not known, so nothing runs, and the answer is not lost."""
    process = rig.process()
    question = await _asked(rig, process)
    rig.versions.away = True
    await _yes(rig, process, question)
    assert (rig.effects(), rig.outcomes()) == ([], ["waiting_approval"])
    rig.versions.away = False
    await process.desk.sweep()
    await process.quiet()
    assert rig.outcomes() == ["success"]


async def test_a_rollback_puts_the_earlier_version_in_force_until_it_is_lifted(rig):
    """New incidents take the earlier version, the record says why, and lifting ends it."""
    process = rig.process()
    first = rig.catalog.find("raise-memory").sha
    await rig.handle(process, "one")
    second = rig.write(version="2.0", steps=SMALL)
    await rig.versions.roll_back(_rollback(second, first))
    await rig.catalog.follow()
    told = await rig.handle(process, "two")
    assert (told.runbook.sha, told.kind) == (first, DecisionKind.PERMIT)
    lost = {candidate.sha: candidate.lost_because for candidate in told.candidates}
    assert lost == {first: "", second: f"rolled back to {first[:12]} by ada: it doubles"}
    assert rig.catalog.runbooks["raise-memory"].sha == first
    assert rig.catalog.remarks
    await rig.versions.lift("raise-memory", "ada", "fixed")
    await rig.catalog.follow()
    assert (await rig.handle(process, "three")).runbook.sha == second
    assert not rig.catalog.remarks


async def test_a_new_content_of_the_file_is_not_touched_by_a_rollback_and_the_old_one_still_is(rig):
    """The correction takes force by itself; the bad content, put back, stays out of force."""
    process = rig.process()
    first = rig.catalog.find("raise-memory").sha
    await rig.handle(process, "one")
    second = rig.write(version="2.0", steps=SMALL)
    await rig.versions.roll_back(_rollback(second, first))
    await rig.catalog.follow()
    third = rig.write(version="2.1")
    assert (await rig.handle(process, "two")).runbook.sha == third
    assert rig.write(version="2.0", steps=SMALL) == second
    assert (await rig.handle(process, "three")).runbook.sha == first


async def test_a_rollback_to_a_version_that_cannot_be_read_leaves_none_in_force(rig):
    """What is missing never lets the bad version run."""
    process = rig.process()
    sha = rig.catalog.find("raise-memory").sha
    rig.versions.keep(VersionText("raise-memory", "c" * 64, "0.9", "runbook: ["))
    await rig.versions.roll_back(_rollback(sha, "c" * 64))
    await rig.catalog.follow()
    told = await rig.handle(process, "one")
    assert told.kind is DecisionKind.NO_MATCH
    assert "cannot be read, so none is in force" in told.candidates[0].lost_because


async def test_until_the_graph_has_answered_everything_is_only_suggested(rig):
    """A process that starts while versions cannot be read asks a human; once they are read it acts again."""
    rig.versions.away = True
    rig.catalog = rig.new_catalog()
    process = rig.process()
    await sweep([("versions", rig.catalog.follow)])
    told = await rig.handle(process, "one")
    assert told.kind is DecisionKind.APPROVAL
    assert "the graph has not answered which of its versions is in force" in told.message
    rig.versions.away = False
    await rig.catalog.follow()
    assert (await rig.handle(process, "two")).kind is DecisionKind.PERMIT


async def test_what_was_known_stays_when_the_graph_goes_away(rig):
    """A rollback is not forgotten because nobody answers."""
    process = rig.process()
    first = rig.catalog.find("raise-memory").sha
    await rig.handle(process, "one")
    second = rig.write(version="2.0", steps=SMALL)
    await rig.versions.roll_back(_rollback(second, first))
    await rig.catalog.follow()
    rig.versions.away = True
    with pytest.raises(GraphUnavailable):
        await rig.catalog.follow()
    rig.catalog.load()
    assert (await rig.handle(process, "two")).runbook.sha == first


async def test_a_process_that_dies_while_a_rolled_back_runbook_is_decided_repeats_the_same_choice(rig):
    """Reading the batch again meets the same version, so the same execution."""
    process = rig.process()
    first = rig.catalog.find("raise-memory").sha
    await rig.handle(process, "one")
    second = rig.write(version="2.0", steps=SMALL)
    await rig.versions.roll_back(_rollback(second, first))
    await rig.catalog.follow()
    rig.app("two")
    message = rig.event("two")
    rig.points.crash("after record")
    with pytest.raises(Crash):
        await process.ingest.on_batch([message])
    await process.die()
    other = rig.process()
    await other.ingest.on_batch([message])
    await other.quiet()
    assert rig.used() == [first, first]
