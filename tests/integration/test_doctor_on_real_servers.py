"""``rb doctor --deep`` on the real servers: it finds what is wrong, says what to do, and says when all is well."""

from __future__ import annotations

import asyncio
import json

import pytest
from fakes.served import runbook, served

from executor.model import ObjectRef
from services.cli import app
from services.doctor.consistency import clocks
from services.doctor.model import State, examined
from services.graph.connect import Graph

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

NAMES = {
    *("kafka", "kafka topics", "kafka partitions", "kafka retention", "kafka lag"),
    *("neo4j", "neo4j schema", "neo4j indexes"),
    *("redis", "redis eviction", "redis memory", "redis persistence", "redis gate"),
    *("kubernetes rights", "clocks", "orphans", "audit trail", "disk"),
}


@pytest.fixture
async def world(stack, tmp_path):
    settings = {"audit": {"folder": str(tmp_path / "audit")}}
    async with served(stack, tmp_path / "site", settings=settings) as one:
        fix = {"id": "fix", "name": "Fix", "action": "kubectl_rollout_restart", "params": {}}
        one.runbook("fix", runbook("TestTrouble", fix))
        yield one


async def examine(world, capsys):
    """Findings by name, and the exit code."""
    code = await asyncio.to_thread(app.main, ["--config", str(world.config), "doctor", "--deep", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] == (code == 0)
    return code, {one["name"]: one for one in told["findings"]}


async def test_everything_is_looked_at_and_what_is_wrong_is_named_with_what_to_do(world, capsys):
    """An installation that has never run lacks its topics; the servers themselves are well."""
    code, found = await examine(world, capsys)
    assert set(found) == NAMES
    assert (code, found["kafka topics"]["state"]) == (1, "bad")
    assert f"{world.name}.alerts is missing" in found["kafka topics"]["detail"]
    assert all(one["do"] for one in found.values() if one["state"] != "ok")
    for name in ("kafka", "neo4j", "neo4j schema", "neo4j indexes", "redis", "redis eviction", "disk"):
        assert found[name]["state"] == "ok", found[name]
    assert found["redis gate"]["state"] == "note"
    assert "Deployment" in found["kubernetes rights"]["detail"] or "rights" in found["kubernetes rights"]["detail"]


async def test_servers_that_are_away_are_findings_and_keep_no_other_from_being_looked_at(world, capsys):
    """One dead server does not hide what is wrong with the others."""
    world.settings["redis"]["url"] = "redis://127.0.0.1:1/0"
    world.settings["kafka"]["bootstrap_servers"] = "127.0.0.1:1"
    world.write()
    code, found = await examine(world, capsys)
    assert code == 1
    assert {found[name]["state"] for name in ("kafka", "redis", "orphans")} == {"bad"}
    assert found["neo4j schema"]["state"] == "ok"


async def test_a_clock_that_is_wrong_is_found(world, stack):
    """A minute between two machines makes leases and permits mean different things."""

    class Wrong(Graph):
        async def read(self, name, **parameters):
            rows = await super().read(name, **parameters)
            return [{"now_ms": row["now_ms"] + 60_000} for row in rows]

    right = await clocks(Graph(world.driver, "neo4j"), world.redis, world.admin)
    assert right[0].state is State.OK, right
    wrong = await clocks(Wrong(world.driver, "neo4j"), world.redis, world.admin)
    assert wrong[0].state is State.BAD
    assert "Neo4j is +" in wrong[0].detail
    assert wrong[0].do


async def test_a_check_that_fails_is_a_finding_without_its_secrets():
    """The error of a driver may repeat an address with a password in it."""

    async def fails():
        raise ConnectionError("redis://user:hunter2@10.0.0.1 refused")

    (found,) = await examined("redis", "look at redis.url", fails)
    assert (found.state, found.do) == (State.BAD, "look at redis.url")
    assert "hunter2" not in found.detail


async def test_a_right_that_is_missing_is_named_with_its_runbook(world):
    """Found by asking the API server, before an incident needs it."""
    from executor.actions import action_schemas  # noqa: PLC0415 - heavy, and used here alone
    from runbooks.loader import load_folder  # noqa: PLC0415 - as above
    from services.doctor.consistency import rights  # noqa: PLC0415 - as above
    from services.plugins import all_actions  # noqa: PLC0415 - as above

    class NoPatch:
        """The API server for an account that may read everything and write nothing."""

        async def allowed(self, verb: str, ref: ObjectRef, subresource: str = "") -> bool:
            assert await world.admin.allowed(verb, ref, subresource)
            return verb != "patch"

    actions = all_actions()
    known, _ = load_folder(world.folder / "runbooks", actions=action_schemas(actions))
    runbooks = {name: one.runbook for name, one in known.items()}
    assert runbooks
    (lacking,) = await rights(runbooks, actions, lambda _: NoPatch(), lambda _: None)
    assert lacking.state is State.NOTE
    assert f"{next(iter(runbooks))} may not patch" in lacking.detail
    (well,) = await rights(runbooks, actions, lambda _: world.admin, lambda _: None)
    assert well.state is State.OK
