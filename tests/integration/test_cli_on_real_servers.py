"""The commands on the real stack: pause, resume and approvals go where the pipeline looks."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fakes import graph_samples as samples
from fakes.stores import real_store

from executor.model import Status
from safety.approvals import ApprovalStatus, ask
from services.cli import app
from services.records import DecisionKind

pytestmark = pytest.mark.stack


@pytest.fixture
def settings_file(stack, monkeypatch, tmp_path):
    """The stack's settings, with a Redis prefix of this test's own."""
    monkeypatch.setenv("ROOTMEND_REDIS__PREFIX", f"test-{uuid4().hex[:8]}:")
    monkeypatch.chdir(tmp_path)
    return ["--config", str(stack.settings_file)]


async def rb(*words):
    """Run a command as a process of its own would: outside of this loop."""
    return await asyncio.to_thread(app.main, [str(word) for word in words])


async def test_pause_and_resume_turn_the_switch_of_the_gate(settings_file, stack, capsys):
    """What one command sets, the next one sees, with who and why."""
    assert await rb(*settings_file, "pause", "--reason", "storage migration", "--by", "alice") == 0
    assert "paused by alice: storage migration" in capsys.readouterr().out
    assert await rb(*settings_file, "pause", "--show", "--json") == 0
    assert json.loads(capsys.readouterr().out)["paused"] is True
    assert await rb(*settings_file, "resume", "--by", "bob") == 0
    assert "Automation runs." in capsys.readouterr().out


async def test_redis_away_is_told_in_one_paragraph(settings_file, monkeypatch, capsys):
    """Nobody is left to believe that automation is paused."""
    monkeypatch.setenv("ROOTMEND_REDIS__URL", "redis://127.0.0.1:1/0")
    assert await rb(*settings_file, "pause", "--reason", "x", "--by", "alice") == 1
    err = capsys.readouterr().err
    assert err.startswith("rb: ")
    assert "Traceback" not in err


async def test_an_approval_in_the_graph_is_answered_from_the_command_line(settings_file, stack, capsys):
    """The answer is in Neo4j, where every surface looks."""
    async with real_store(stack) as store:
        incident = samples.incident(samples.signal())
        now = datetime.now(UTC)
        record = samples.execution(incident, status=Status.WAITING_APPROVAL, requested_at=now)
        question = ask(
            record.id, incident.id, record.plan.hash, ("a human asks",), now=now, timeout=timedelta(minutes=5)
        )
        decision = samples.decision(
            DecisionKind.APPROVAL, signal=incident.signal, incident=incident, execution=record, approval=question
        )
        await store.ledger.record([decision])
        assert await rb(*settings_file, "approvals", "show", question.id) == 0
        assert "Raise the memory limit" in capsys.readouterr().out
        words = ["approvals", "deny", question.id, "--yes", "--by", "alice", "--reason", "only a test"]
        assert await rb(*settings_file, *words) == 0
        stored = await store.approvals.get(question.id)
    assert stored is not None
    assert (stored.status, stored.answered_by) == (ApprovalStatus.DENIED, "alice")


async def test_neo4j_away_is_told_in_one_paragraph(settings_file, monkeypatch, capsys):
    """A dead server is a message, not a trace."""
    monkeypatch.setenv("ROOTMEND_NEO4J__URI", "bolt://127.0.0.1:1")
    assert await rb(*settings_file, "approvals", "list") == 1
    err = capsys.readouterr().err
    assert err.startswith("rb: ")
    assert "Traceback" not in err
