"""Changed policies and runbooks of a running pipeline are in the audit trail: what, by whom, and once."""

from __future__ import annotations

import json

import pytest
from fakes.checkouts import Checkout
from fakes.served import mark, runbook, served, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

TRAIL = """
MATCH (a:AuditEntry {tenant: '_system', kind: $kind}) WHERE a.facts CONTAINS $part
RETURN a.actor AS actor, a.reason AS reason, a.facts AS facts ORDER BY a.at
"""
PATIENCE = 120.0


async def told(one, kind, part):
    """The entries of a kind that name something."""
    rows = await one.query(TRAIL, kind=kind, part=part)
    return [{**row, "facts": json.loads(row["facts"])} for row in rows]


def deny(why, name):
    """A file of one policy."""
    return f"policies:\n  - {{id: {name}, scope: {{namespaces: [{name}]}}, deny: {why}}}\n"


async def test_a_changed_policy_or_runbook_is_told_once_with_its_author(stack, tmp_path):
    """Two processes take the same commit: one entry, by the author; an edit by hand is nobody's in Git."""
    async with served(stack, tmp_path / "one", settings={"policies": {"paths": ["policies"]}}) as one:
        name = one.name
        checkout = Checkout(one.folder / "policies")
        file = checkout.folder / f"{name}.yaml"
        file.write_text(deny("one", name))
        commit = checkout.commit("No changes there", "Ada", "ada@example.com")
        one.runbook(name, runbook("NeverByItself", mark("touched"), id=name))
        await one.serve()
        await one.serve("--role", "decide")

        async def entries(kind, count):
            found = await told(one, kind, name)
            return found if len(found) >= count else None

        (first,) = await until(lambda: entries("policy.changed", 1), "the policies are told", PATIENCE)
        assert (first["actor"], first["reason"]) == ("git:Ada <ada@example.com>", "No changes there")
        (changed,) = first["facts"]["changed"]
        assert (changed["file"], changed["before"], changed["commit"]) == (file.name, "", commit)
        assert first["facts"]["before"] == ""

        file.write_text(deny("two", name))
        later = await until(lambda: entries("policy.changed", 2), "the edit is told", PATIENCE)
        assert later[1]["actor"] == "rootmend"
        assert later[1]["facts"]["changed"][0]["before"] == changed["after"]
        assert later[1]["facts"]["before"] == first["facts"]["after"]

        (taken,) = await until(lambda: entries("runbook.changed", 1), "the runbook is told", PATIENCE)
        one.runbook(name, runbook("NeverByItself", mark("otherwise"), id=name))
        both = await until(lambda: entries("runbook.changed", 2), "its change is told", PATIENCE)
        assert both[1]["facts"]["changed"][0]["before"] == taken["facts"]["changed"][0]["after"]

        # Both processes have looked again since: what one of them told, the other does not repeat.
        file.write_text(deny("three", name))
        await until(lambda: entries("policy.changed", 3), "the last edit is told", PATIENCE)
        logs = [[line["after"] for line in process.log("files.change_told")] for process in one.processes]
        assert len([after for log in logs for after in log]) == len({after for log in logs for after in log})
        assert len(await told(one, "policy.changed", name)) == 3
        assert len(await told(one, "runbook.changed", name)) == 2
        await one.query("MATCH (f:FilesInForce) WHERE f.key STARTS WITH $name + ':' DETACH DELETE f")
