"""A request followed to its end: whatever order messages come in, and whichever of them are lost."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from fakes.pipeline_rig import TOPICS, Rig, runbook
from fakes.run_requests import ask
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from services.cli.run_order import _followed
from services.cli.run_show import Lines, Quiet, Table, picture
from services.cli.runtime import CommandError
from services.following import Seen, from_record, lines, take
from services.intake.run_request import RunRequest

AT = datetime(2026, 1, 2, tzinfo=UTC).isoformat()
ID = "request-0000"


def decision(kind="permit", **more):
    said = {"schema": "remediation.decision/v1", "event_id": ID, "kind": kind, "message": "as it is", "check": None}
    return {**said, "execution_id": "x" if kind in {"permit", "approval"} else None, **more}


def event(kind, **more):
    return {"schema": "remediation.execution/v1", "execution_id": "x", "event": kind, "message": "", **more}


def step(name, ended="", **more):
    kind = "step_finished" if ended else "step_started"
    said = {"step": name, "name": name, "phase": "step", "action": "set", "attempt": 1, "result": ended or None}
    return event(kind, **{**said, "seconds": 1.5 if ended else None, **more})


STORY = [
    decision(),
    event("started"),
    step("one"),
    step("one", "succeeded"),
    step("two"),
    step("two", "succeeded"),
    event("verifying"),
    event("finished", verdict="verified", outcome="success"),
]


def after(messages):
    seen = Seen(ID)
    for message in messages:
        seen = take(seen, message)
    return seen


def test_a_story_is_told_line_by_line():
    """What is new with each message, and nothing twice."""
    told, seen = [], Seen(ID)
    for message in STORY:
        following = take(seen, message)
        told += lines(seen, following)
        seen = following
    assert told == [
        "decision: permitted: as it is",
        "execution: x",
        "started",
        "step one (set): running",
        "step one (set): succeeded in 1.5 s",
        "step two (set): running",
        "step two (set): succeeded in 1.5 s",
        "verifying",
        "ended: success, verdict verified",
    ]
    assert seen.done
    assert seen.held


@given(where=st.integers(0, len(STORY) - 1))
def test_the_decision_may_come_late(where):
    """Topics are read side by side: what the execution said before counts all the same."""
    late = [*STORY[1 : where + 1], STORY[0], *STORY[where + 1 :]]
    assert after(late) == after(STORY)


@given(st.lists(st.sampled_from(["their-request", "y"]), max_size=20))
def test_what_others_do_is_not_ours(names):
    """The topics carry everybody's messages."""
    strangers = [decision(event_id=name, execution_id=name) for name in names]
    strangers += [event("finished", execution_id=name, verdict="not_fixed") for name in names]
    assert after([*STORY[:2], *strangers]) == after(STORY[:2])


@pytest.mark.parametrize(
    ("kind", "check", "done", "held"),
    [
        ("refusal", "lock", True, False),
        ("refusal", "dry_run", True, True),
        ("no_match", "select", True, False),
        ("no_target", "target", True, False),
        ("plan_failed", "plan", True, False),
        ("waiting", "target", False, False),
        ("approval", "approval", False, False),
        ("permit", None, False, False),
    ],
)
def test_each_decision_ends_it_or_not(kind, check, done, held):
    """What is not run ends there; only a proof, or a dry run that was asked for, holds."""
    seen = take(Seen(ID), decision(kind, check=check))
    assert (seen.done, seen.held) == (done, held)


def test_a_question_is_shown_with_the_command_that_answers_it():
    """And it is gone when somebody has answered."""
    question = {"schema": "remediation.approval/v1", "execution_id": "x", "approval_id": "a-1", "status": "pending"}
    asked = take(take(Seen(ID), question), decision("approval"))
    assert "waits for a human: rb approvals approve a-1" in list(lines(Seen(ID), asked))
    answered = take(asked, {**question, "status": "approved"})
    assert answered.approval == ""


async def test_the_record_says_the_same_as_the_messages():
    """Where every message was lost, the end is the same."""
    rig = Rig(runbook())
    process = rig.process()
    await process.ingest.on_batch([ask(rig, request_id=ID)])
    await process.quiet()
    (story,) = await rig.store.find(ID, 1)
    seen = from_record(Seen(ID), story)
    assert seen.done
    assert seen.held
    assert [(one.id, one.status) for one in seen.steps] == [("raise", "succeeded")]
    heard = after([*rig.published(TOPICS.decisions), *rig.published(TOPICS.executions)])
    assert (heard.verdict, heard.outcome, heard.execution_id) == (seen.verdict, seen.outcome, seen.execution_id)


# The command's loop


def request():
    return RunRequest.model_validate(
        {"request_id": ID, "runbook": {"id": "r"}, "requested_by": "a", "source": "manual", "requested_at": AT}
    )


def queue(messages):
    values = [json.dumps(message).encode() for message in messages]
    return lambda _: values.pop(0) if values else None


def test_following_ends_with_the_last_message():
    """Garbage on a topic is passed over."""
    values = [b"{", b"[]", *(json.dumps(message).encode() for message in STORY)]
    seen = _followed(request(), lambda _: values.pop(0), lambda seen: seen, Quiet(), 10)
    assert seen.held


@settings(deadline=None, max_examples=20)
@given(st.sets(st.integers(0, len(STORY) - 1)))
def test_lost_messages_are_made_up_for_by_the_record(lost):
    """In a silence, or while only others are heard, the record is looked at."""
    import services.cli.run_order as module  # noqa: PLC0415 - its patience is shortened

    kept = [message for number, message in enumerate(STORY) if number not in lost]
    module._SILENCE_SECONDS, before = 0.0, module._SILENCE_SECONDS
    try:
        seen = _followed(request(), queue(kept), lambda _: after(STORY), Quiet(), 10)
    finally:
        module._SILENCE_SECONDS = before
    assert seen.held


def test_who_waits_too_long_is_told_that_it_goes_on():
    """Nothing is stopped by an impatient reader."""
    with pytest.raises(CommandError, match="it goes on"):
        _followed(request(), lambda _: None, lambda seen: seen, Quiet(), 0.01)


def test_the_table_of_a_terminal_is_drawn_and_left_behind(capsys):
    """What it shows at the end stays to be read."""
    with Table() as shown:
        shown.update(after(STORY[:3]))
        shown.update(after(STORY))
    told = capsys.readouterr().out
    assert "asked for: request-0000" in told
    assert "success, verdict verified" in told


def test_lines_and_table_hide_nothing_and_obey_no_markup(capsys):
    """Names come from outside: control characters and markup are text."""
    messages = [*STORY[:2], step("[red]one\x1b[2J", "failed", message="[link=x]no[/]")]
    shown = Lines()
    shown.update(Seen(ID))
    shown.update(after(messages))
    told = capsys.readouterr().out
    assert "[red]one" in told
    assert "\x1b" not in told
    console = Console(width=120, record=True, force_terminal=False, file=io.StringIO())
    console.print(picture(after([*messages, STORY[-1]])))
    text = console.export_text()
    assert "[red]one" in text
    assert "[link=x]no[/]" in text
    assert "success, verdict verified" in text
