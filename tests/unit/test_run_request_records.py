"""Requests in the records: how they are explained, kept, and seen by a backtest."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

from bench.incidents import Recorder, runbook_text
from bench.incidents import runbook as recorded_runbook
from fakes.pipeline_rig import Rig, runbook
from fakes.run_requests import ask
from pydantic import TypeAdapter

from matcher.model import Asked, Run, Signal
from runbooks.loader import load_text
from safety.policy import PolicySettings
from services.cli.story import story_text
from services.testing.backtest import Head, Setup, compare, propose_all
from services.testing.history import line_of
from services.testing.proposing import Knobs

KNOBS = Knobs(PolicySettings(max_executions_per_hour_total=1000), timedelta(minutes=10), {})


async def told(rig, **changes):
    process = rig.process()
    message = ask(rig, **changes)
    await process.ingest.on_batch([message])
    await process.quiet()
    (story,) = await rig.store.find(rig.decisions()[-1].id, 1)
    return story_text(story)


async def test_the_story_of_a_request_says_who_asked_and_why():
    """Beside everything that every story says."""
    text = await told(Rig())
    assert "asked for by anna (manual): it is slow" in text
    assert "RunRequested about Deployment shop/app, confidence 1.00" in text


async def test_a_dry_run_is_explained_as_what_it_was_and_not_as_a_no():
    """Nobody refused anything."""
    text = await told(Rig(), dry_run=True)
    assert "nothing was done: nothing else was asked for" in text
    assert "refused" not in text


async def test_a_request_without_a_target_is_explained():
    """It is about the runbook itself."""
    look = {"name": "look", "action": "look", "params": {"name": "app"}}
    rig = Rig(runbook(id="tidy", trigger={"root_cause_reason": [], "manual": True}, steps=[look]))
    text = await told(rig, runbook={"id": "tidy"}, target=None)
    assert "Runbook tidy (found by none)" in text


async def test_a_request_comes_back_from_the_record_as_it_was():
    """Parameters of every type, and who asked: what waits for the cluster is decided with them later."""
    rig = Rig(runbook(parameters=[{"name": "deep", "type": "object"}]))
    await told(rig, parameters={"deep": {"list": [1, 2.5, None, True, "text"]}})
    signal = rig.decisions()[0].signal
    adapter = TypeAdapter(Signal)
    assert adapter.validate_json(adapter.dump_json(signal)) == signal
    assert signal.run.parameters == {"deep": {"list": [1, 2.5, None, True, "text"]}}


def test_a_backtest_leaves_dry_runs_alone():
    """No runbook would have changed what only was to be shown; a real request is planned again as any other."""
    recorder, chance = Recorder(), random.Random(7)  # noqa: S311 - the same numbers each time
    lines = [recorder.line(number, chance) for number in range(200)]
    line = next(one for one in lines if one["kind"] == "permit")
    run = Run(recorded_runbook().runbook.id, Asked.MANUAL, by="anna", dry_run=True)
    asked = {**line, "incident": {**line["incident"], "signal": {**line["incident"]["signal"], "run": vars_of(run)}}}
    shown = {**asked, "kind": "refusal", "check": "dry_run", "executions": [], "message": "only a dry run"}
    changed = load_text(runbook_text().replace("require_approval: false", "require_approval: true"))
    assert differences(shown, changed) == {}
    really = {**line["incident"]["signal"], "run": vars_of(replace(run, dry_run=False))}
    assert differences({**line, "incident": {**line["incident"], "signal": really}}, changed) == {"asked": 1}


def vars_of(run):
    return TypeAdapter(Run).dump_python(run, mode="json")


def differences(line, changed):
    versions = {(recorded_runbook().runbook.id, recorded_runbook().sha): runbook_text()}
    proposals = propose_all([line_of(line)], Setup((changed,), versions, KNOBS), processes=1)
    result = compare(proposals, KNOBS.policy, Head(versions, ()), None, None)
    return {name: count for name, count in result.counts().items() if count}
