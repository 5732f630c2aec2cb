"""What every store of runbook versions does, in memory and in Neo4j."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest
from fakes.graph_samples import permitted
from fakes.memory_store import MemoryStore
from fakes.memory_versions import MemoryVersions
from fakes.stores import real_store

from executor.model import Outcome, Verdict
from safety.ports import Claim
from services.graph.versions import Neo4jVersions
from services.records import RunbookUse
from services.versions import RunbookRollback


@pytest.fixture(scope="module", params=["memory", pytest.param("neo4j", marks=pytest.mark.stack)])
async def stores(request):
    if request.param == "memory":
        store = MemoryStore()
        yield SimpleNamespace(
            ledger=store, permits=store, journal=store, versions=MemoryVersions(store), runbook=_name()
        )
        return
    async with real_store(request.getfixturevalue("stack")) as real:
        name = _name()
        yield SimpleNamespace(
            ledger=real.ledger,
            permits=real.permits,
            journal=real.journal,
            versions=Neo4jVersions(real.graph),
            runbook=name,
        )
        take = "MATCH (n:RunbookVersion|RunbookRollback) WHERE n.id STARTS WITH $name OR n.runbook_id STARTS WITH $name"
        await real.graph.driver.execute_query(f"{take} DETACH DELETE n", name=name, database_="neo4j")


def _name():
    return f"versioned-{uuid4().hex[:8]}"


def _used(stores, sha, text="runbook: {}\n", runbook=""):
    """A permitted execution of a version."""
    made = permitted()
    name = runbook or stores.runbook
    plan = made.execution.plan.model_copy(update={"runbook_id": name, "runbook_sha": sha, "runbook_version": "1.0"})
    return replace(
        made,
        runbook=RunbookUse(name, "1.0", sha, text),
        execution=made.execution.model_copy(update={"plan": plan}),
        permit_expires_at=datetime(2999, 1, 1, tzinfo=UTC),
    )


async def _ended(stores, sha, outcome, verdict):
    made = _used(stores, sha)
    await stores.ledger.record([made])
    record = made.execution
    claim = await stores.permits.claim(record.id, record.plan.hash, "me", 60)
    assert isinstance(claim, Claim)
    await stores.journal.finish(record.id, claim.epoch, outcome, verdict)


async def test_a_version_counts_what_became_of_its_executions(stores):
    """Verified, failed, and what nobody could tell; what has not ended counts as used."""
    sha = uuid4().hex * 2
    await _ended(stores, sha, Outcome.SUCCESS, Verdict.VERIFIED)
    await _ended(stores, sha, Outcome.ROLLBACK, Verdict.NOT_FIXED)
    await _ended(stores, sha, Outcome.FAILURE, None)
    await _ended(stores, sha, Outcome.PARTIAL, Verdict.INCONCLUSIVE)
    await _ended(stores, sha, Outcome.ABORTED, None)
    await stores.ledger.record([_used(stores, sha)])
    (found,) = [one for one in await stores.versions.records([stores.runbook]) if one.sha == sha]
    assert (found.executions, found.ended, found.verified, found.failed) == (6, 4, 1, 2)
    assert found.has_text
    assert found.last_used_at is not None


async def test_the_text_is_kept_whole_and_found_by_the_beginning_of_its_hash(stores):
    """A long runbook is not cut: half a text has another hash, and could not be put in force again."""
    sha, text = uuid4().hex * 2, "runbook:\n" + "  # a long remark\n" * 20_000
    await stores.ledger.record([_used(stores, sha, text)])
    (found,) = await stores.versions.texts(sha[:12])
    assert (found.id, found.sha, found.text) == (stores.runbook, sha, text)
    assert not await stores.versions.texts(sha, "another-runbook")


async def test_a_rollback_holds_until_it_is_replaced_or_lifted(stores):
    """Of one version the latest counts, and lifting ends them all."""
    name = f"{stores.runbook}-r"
    first = RunbookRollback(f"{name}-1", name, "a" * 64, "b" * 64, "ada", "it doubles")
    second = RunbookRollback(f"{name}-2", name, "a" * 64, "c" * 64, "bob", "it still doubles")
    other = RunbookRollback(f"{name}-3", name, "d" * 64, "c" * 64, "bob", "worse")
    for one in (first, second, other):
        await stores.versions.roll_back(one)
    found = [one for one in await stores.versions.rollbacks() if one.runbook_id == name]
    assert [replace(one, at=None) for one in found] == [second, other]
    assert all(one.at for one in found)
    assert await stores.versions.lift(name, "ada", "fixed") == 2
    assert not [one for one in await stores.versions.rollbacks() if one.runbook_id == name]
    assert await stores.versions.lift(name, "ada", "again") == 0


async def test_the_end_of_a_trial_is_noted_once(stores):
    """Two processes may see it at once; the first stands, and an unknown version has no standing."""
    sha = uuid4().hex * 2
    assert await stores.versions.settle(stores.runbook, sha, "promoted", "why") == ""
    await stores.ledger.record([_used(stores, sha)])
    assert await stores.versions.settle(stores.runbook, sha, "demoted", "1 of 2 failed") == "demoted"
    assert await stores.versions.settle(stores.runbook, sha, "promoted", "later") == "demoted"
    (found,) = [one for one in await stores.versions.records([stores.runbook]) if one.sha == sha]
    assert (found.standing, found.standing_why) == ("demoted", "1 of 2 failed")


async def test_versions_of_other_runbooks_are_not_told(stores):
    """Each runbook has versions of its own."""
    await stores.ledger.record([_used(stores, "e" * 64, runbook=f"{stores.runbook}-x")])
    assert {one.id for one in await stores.versions.records([f"{stores.runbook}-x"])} == {f"{stores.runbook}-x"}
    assert not await stores.versions.records([])
