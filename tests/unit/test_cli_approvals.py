"""Approvals on the command line: the plan is seen before it is answered, and an answer counts once."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from fakes import graph_samples as samples
from fakes.memory_approvals import MemoryApprovalStore
from fakes.recording_publisher import RecordingPublisher
from fakes.voters import voters

from executor.model import Change, ObjectRef, Status
from safety.approvals import ApprovalStatus, ask
from services.cli import app, approvals
from services.settings import Topics


class Executions:
    """The one question that the commands ask of the execution store."""

    def __init__(self, *records):
        self.records = {record.id: record for record in records}

    async def load(self, execution_id):
        return self.records.get(execution_id)


def waiting(**changes):
    """An execution that waits for a human, and the question about it."""
    incident = samples.incident(samples.signal())
    change = Change(
        ref=ObjectRef(kind="Deployment", name="shop", namespace="web"),
        verb="patch",
        summary="memory limit of app: 256Mi -> 512Mi",
        undo="put 256Mi back",
    )
    plan = samples.plan("prod/web/Deployment/shop")
    step = plan.steps[0].model_copy(update={"changes": (change,)})
    record = samples.execution(
        incident,
        plan=plan.model_copy(update={"steps": (step,)}),
        status=Status.WAITING_APPROVAL,
        incident={"id": incident.id, "reason": "OOMKilled", "confidence": 0.91},
    )
    now = changes.pop("now", datetime.now(UTC))
    question = ask(
        record.id, incident.id, record.plan.hash, ("the runbook asks for it",), now=now, timeout=timedelta(minutes=30)
    )
    return record, question


@pytest.fixture
async def desk(monkeypatch, tmp_path):
    """The commands on a store in memory, with one question in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROOTMEND_CONFIG", raising=False)
    monkeypatch.delenv("ROOTMEND_STATE", raising=False)
    record, question = waiting()
    stores = approvals.Stores(MemoryApprovalStore(), Executions(record), voters())
    stores.approvals.approvals[question.id] = question
    publisher = RecordingPublisher()

    @contextlib.asynccontextmanager
    async def opened(_settings):
        yield stores

    async def announce(_settings, answered):
        return await approvals.wake_up(publisher, answered.approval, "prod/web/Deployment/shop", Topics())

    monkeypatch.setattr(approvals, "_open", opened)
    monkeypatch.setattr(approvals, "_announce", announce)
    return SimpleNamespace(
        stores=stores,
        publisher=publisher,
        record=record,
        question=question,
        status=lambda: stores.approvals.approvals[question.id].status,
    )


def test_what_waits_is_listed_with_its_reason(desk, capsys):
    """Who looks sees what is asked and why a human is needed."""
    assert app.main(["approvals", "list"]) == 0
    out = capsys.readouterr().out
    assert desk.question.id[:13] in out
    assert "oom-raise-memory" in out
    assert app.main(["approvals", "list", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["id"] == desk.question.id
    assert told["steps"][0]["changes"][0]["summary"] == "memory limit of app: 256Mi -> 512Mi"


def test_the_plan_is_shown_with_each_change_and_its_undo(desk, capsys):
    """A yes is given to something that was seen."""
    assert app.main(["approvals", "show", desk.question.id[:8]]) == 0
    out = capsys.readouterr().out
    assert "Deployment/web/shop: memory limit of app: 256Mi -> 512Mi [undo: put 256Mi back]" in out
    assert "OOMKilled (confidence 0.91)" in out


def test_a_yes_is_recorded_and_wakes_the_pipeline(desk, capsys):
    """The answer is in the store, and on Kafka under the target's key."""
    words = ["approvals", "approve", desk.question.id[:8], "--yes", "--by", "alice", "--reason", "agreed"]
    assert app.main(words) == 0
    stored = desk.stores.approvals.approvals[desk.question.id]
    assert (stored.status, stored.answered_by, stored.answer_reason) == (ApprovalStatus.APPROVED, "alice", "agreed")
    (message,) = desk.publisher.messages
    assert (message.topic, message.key) == ("remediation.approvals", "prod/web/Deployment/shop")
    assert json.loads(message.value)["status"] == "approved"
    assert "Approved by alice" in capsys.readouterr().out


def test_the_execution_names_its_approval_too(desk):
    """People have the id of the execution from a message or the graph."""
    assert app.main(["approvals", "approve", desk.record.id, "--yes", "--by", "alice"]) == 0
    assert desk.status() is ApprovalStatus.APPROVED


def test_without_a_terminal_nothing_is_approved_unseen(desk, capsys):
    """A script has to say --yes; the plan is shown to whoever reads its output."""
    assert app.main(["approvals", "approve", desk.question.id, "--by", "alice"]) == 2
    err = capsys.readouterr().err
    assert "--yes" in err
    assert "256Mi -> 512Mi" in err
    assert desk.status() is ApprovalStatus.PENDING


def test_a_no_needs_a_reason(desk, capsys):
    """The record says why nothing was done."""
    assert app.main(["approvals", "deny", desk.question.id, "--yes", "--by", "bob"]) == 2
    assert "--reason" in capsys.readouterr().err
    assert desk.status() is ApprovalStatus.PENDING
    assert app.main(["approvals", "deny", desk.question.id, "--yes", "--by", "bob", "--reason", "deploying"]) == 0
    assert desk.status() is ApprovalStatus.DENIED


def test_the_second_answer_does_not_count(desk, capsys):
    """Whoever is first decides; the other one is told who that was."""
    assert app.main(["approvals", "deny", desk.question.id, "--yes", "--by", "bob", "--reason", "no"]) == 0
    assert app.main(["approvals", "approve", desk.question.id, "--yes", "--by", "alice"]) == 1
    assert "denied by bob" in capsys.readouterr().err
    assert desk.status() is ApprovalStatus.DENIED


def test_an_expired_question_cannot_be_approved(desk, capsys):
    """After the deadline the answer is no."""
    record, late = waiting(now=datetime.now(UTC) - timedelta(hours=2))
    desk.stores.executions.records[record.id] = record
    desk.stores.approvals.approvals[late.id] = late
    assert app.main(["approvals", "approve", late.id, "--yes", "--by", "alice"]) == 1
    assert "expired" in capsys.readouterr().err


def test_a_plan_that_changed_meanwhile_cannot_be_approved(desk, capsys):
    """A yes is good for the plan that was shown, for no other."""
    changed = desk.record.model_copy(update={"plan": desk.record.plan.model_copy(update={"hash": "other"})})
    desk.stores.executions.records[desk.record.id] = changed
    assert app.main(["approvals", "approve", desk.question.id, "--yes", "--by", "alice"]) == 1
    assert "another plan" in capsys.readouterr().err
    assert desk.status() is ApprovalStatus.PENDING


def test_without_the_plan_on_record_nothing_is_approved(desk):
    """What cannot be shown cannot be agreed to."""
    desk.stores.executions.records.clear()
    assert app.main(["approvals", "approve", desk.question.id, "--yes", "--by", "alice"]) == 1
    assert desk.status() is ApprovalStatus.PENDING


def test_kafka_away_only_delays(desk, capsys):
    """The answer is on record; the sweeper finds it."""
    desk.publisher.away = True
    assert app.main(["approvals", "approve", desk.question.id, "--yes", "--by", "alice"]) == 0
    assert desk.status() is ApprovalStatus.APPROVED
    assert "Kafka is away" in capsys.readouterr().err


@pytest.mark.parametrize(("which", "code", "word"), [("abc", 2, "too short"), ("ffffffffffff", 1, "no approval")])
def test_an_id_that_fits_nothing_is_told(desk, capsys, which, code, word):
    """Nothing is guessed."""
    assert app.main(["approvals", "show", which]) == code
    assert word in capsys.readouterr().err


def test_an_ambiguous_beginning_is_not_guessed(desk, capsys):
    """Two that begin alike are both named."""
    for number in "12":
        _, other = waiting()
        twin = samples.replace(other, id=f"aaaa-{number}")
        desk.stores.approvals.approvals[twin.id] = twin
    assert app.main(["approvals", "approve", "aaaa", "--yes", "--by", "alice"]) == 2
    assert "aaaa-1, aaaa-2" in capsys.readouterr().err
