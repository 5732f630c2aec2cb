"""``rb score`` with what the real graph holds."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from fakes import graph_samples as samples
from fakes.stores import real_store

from executor.model import Outcome, Verdict
from matcher.model import Asked, Run
from runbooks.loader import load_text
from services.cli import app
from services.graph.scores import Neo4jScores
from services.records import DecisionKind, RunbookUse

pytestmark = pytest.mark.stack

TEXT = """runbook:
  id: {id}
  trigger: {{root_cause_reason: [{reason}], min_confidence: 0.9}}
  safety: {{require_approval: false}}
  steps:
    - {{id: a, name: Wait, action: wait, params: {{duration: 1s}}}}
"""


@pytest.fixture
async def store(stack):
    async with real_store(stack) as real:
        yield real


@pytest.fixture
def reason(monkeypatch, tmp_path):
    """A cause that nobody else has, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return f"Score{uuid4().hex[:10]}"


def written(runbook_id, reason):
    """A runbook for the cause in it.yaml; its hash."""
    text = TEXT.format(id=runbook_id, reason=reason)
    Path("it.yaml").write_text(text, encoding="utf-8")
    return load_text(text).sha


async def rb(stack, *words):
    """Run a command as a process of its own would: outside of this loop."""
    return await asyncio.to_thread(app.main, ["--config", str(stack.settings_file), "score", *map(str, words)])


def problem(reason, *, confidence=0.95, run=None, severity="CRITICAL"):
    """An incident with this cause, opened an hour ago."""
    made = samples.incident(samples.signal(severity=severity, run=run))
    opened = datetime.now(UTC) - timedelta(hours=1)
    cause = replace(made.cause, reason=reason, confidence=confidence)
    return replace(made, cause=cause, opened_at=opened, last_seen=opened)


async def refused(store, reason, count, *, minutes=None, **changes):
    """Incidents about which nothing was done; their alerts were over after so many minutes."""
    for _ in range(count):
        it = problem(reason, **changes)
        made = samples.decision(
            DecisionKind.NO_MATCH, signal=it.signal, incident=it, decided_at=datetime.now(UTC), first_seen=it.opened_at
        )
        await store.ledger.record([made])
        if minutes is not None:
            await store.ledger.close([it.signal.alert_key], it.opened_at + timedelta(minutes=minutes))


async def carried_through(store, reason, runbook_id, sha, verdict):
    """An execution of this version that began and ended so."""
    it = problem(reason)
    plan = samples.plan(it.target.key, runbook_id=runbook_id, runbook_sha=sha)
    record = samples.execution(it, plan=plan, requested_at=datetime.now(UTC))
    use = RunbookUse(runbook_id, "1.0", sha, "runbook: {}\n")
    await store.ledger.record([samples.permitted(of=it, execution=record, runbook=use)])
    claim = await store.permits.claim(record.id, record.plan.hash, "h", 30)
    await store.journal.finish(record.id, claim.epoch, Outcome.SUCCESS, verdict)


async def test_a_runbook_is_rated_with_what_happened(store, stack, reason, capsys):
    """Its incidents, the time that people needed, and what its executions proved."""
    name = f"rb-{reason.lower()}"
    sha = written(name, reason)
    await refused(store, reason, 5, minutes=20)
    for verdict in (Verdict.VERIFIED, Verdict.VERIFIED, Verdict.VERIFIED, Verdict.NOT_FIXED, Verdict.INCONCLUSIVE):
        await carried_through(store, reason, name, sha, verdict)
    await carried_through(store, reason, name, "b" * 64, Verdict.VERIFIED)
    assert await rb(stack, "it.yaml", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    told = {key: one["points"] for key, one in row["criteria"].items()}
    assert told == {"frequency": 2, "duration": 2, "impact": 3, "complexity": 3, "success": 2}
    assert (row["total"], row["verdict"]) == (12, "prime")
    assert "11 incidents" in row["criteria"]["frequency"]["why"]
    assert "by hand 20.0 min (median of 5); its executions" in row["criteria"]["duration"]["why"]
    assert "60% verified, 3 of 5; 1 of other versions" in row["criteria"]["success"]["why"]


async def test_what_a_runbook_would_not_take_is_no_need_for_it(store, stack, reason, capsys):
    """Too little confidence, for it or for the gate, and runs that were asked for by name, are not counted."""
    name = f"rb-{reason.lower()}"
    written(name, reason)
    await refused(store, reason, 2)
    await refused(store, reason, 3, confidence=0.5)
    await refused(store, reason, 3, run=Run(name, Asked.SCHEDULE))
    assert await rb(stack, "it.yaml", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["criteria"]["frequency"] == {"points": 1, "why": "monthly: 2 incidents"}
    assert row["criteria"]["success"]["points"] is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROOTMEND_GATE__MIN_CONFIDENCE_FLOOR", "0.99")
        assert await rb(stack, "it.yaml", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["criteria"]["frequency"]["points"] == 0


async def test_a_cause_without_a_runbook_is_rated(store, stack, reason, capsys):
    """Whatever its confidence; a misspelt one is told with the nearest, and is worth nothing."""
    await refused(store, reason, 4, minutes=40, severity="WARNING", confidence=0.5)
    await refused(store, reason, 1, minutes=40, severity="WARNING")
    assert await rb(stack, "--reason", reason, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["kind"], row["name"], row["total"], row["verdict"]) == ("cause", reason, 7, "unknown")
    assert await rb(stack, "--reason", reason[:-1] + "_", "--since", "1h") == 0
    told = capsys.readouterr()
    assert f"did you mean {reason}?" in told.err
    assert "frequency (0): less than monthly: 0 incidents" in told.out


async def test_incidents_are_read_page_by_page(store, reason):
    """None twice and none left out, whatever the pages."""
    start = datetime.now(UTC)
    await refused(store, reason, 5)
    end = datetime.now(UTC) + timedelta(seconds=1)
    for page in (1, 2, 100):
        found = [one async for one in Neo4jScores(store.graph, page=page).incidents(start, end)]
        assert sum(one.incident.cause.reason == reason for one in found) == 5
