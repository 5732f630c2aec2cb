"""The ladder of autonomy on the real servers: asked first, earned by verified fixes, lost by the next failure."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from fakes.served import mark, runbook, served, until

pytestmark = pytest.mark.stack

PATIENCE = 120.0
"""Seconds for anything to happen on a busy machine."""

BY_ITSELF = {
    "enabled": True,
    "start": "approve",
    "to_approve": {"lower_bound": 0.3},
    "to_auto": {"executions": 2, "lower_bound": 0.3, "needs_human": False},
}


async def told(one, app, namespace, **changes):
    """Send an RCA result; gives its event id."""
    event = str(uuid4())
    await one.send([one.rca(app, namespace, event_id=event, **changes)])
    return event


async def approved(one, event):
    """Say yes to what waits, and give the finished execution."""
    decision = await one.decided(event, "approval", seconds=PATIENCE)
    rows = await one.query(
        "MATCH (:Decision {id: $id})-[:LED_TO]->(e) MATCH (a:Approval {execution_id: e.id}) RETURN a.id AS id",
        id=decision["id"],
    )
    said = await one.rb("approvals", "approve", rows[0]["id"], "--yes", "--by", "ada", "--reason", "looked at it")
    assert said.returncode == 0, said.stderr
    return await one.execution(event, "done", seconds=PATIENCE)


async def rungs(one):
    """Rungs by kind of target, as ``rb autonomy list`` tells them."""
    listed = await one.rb("autonomy", "list", "--tenant", one.name, "--json")
    assert listed.returncode == 0, listed.stderr
    return {each["kind"]: each for each in json.loads(listed.stdout)["climbers"]}


async def test_a_runbook_earns_auto_and_loses_it_with_the_next_failure(stack, tmp_path):
    """Two approved and verified fixes promote, the third runs by itself, a failure demotes; all is on record."""
    async with served(stack, tmp_path / "one", settings={"autonomy": BY_ITSELF}) as one:
        namespace = await one.namespace()
        for name in ("a", "b", "c", "d", "e"):
            await one.app(name, namespace)
        one.runbook("fix", runbook("TestTrouble", mark("fixed")))
        process = await one.serve()

        for name in ("a", "b"):
            ended = await approved(one, await told(one, name, namespace))
            assert ended["verdict"] == "verified"

        async def on_auto():
            return (await rungs(one)).get("Deployment", {}).get("rung") == "auto"

        await until(on_auto, "the promotion", PATIENCE)
        event = await told(one, "c", namespace)
        assert (await one.execution(event, "done", seconds=PATIENCE))["outcome"] == "success"
        permit = await one.decided(event, "permit", seconds=PATIENCE)
        assert json.loads(permit["numbers"])["autonomy"] == "auto"

        # A new version of the same runbook: its fix does not hold.
        never = {"settle": "1s", "timeout": "5s", "success_criteria": [{"name": "never", "check": "1 == 2"}]}
        one.runbook("fix", runbook("TestTrouble", mark("fixed"), verification=never))
        await until(
            _logged(process, "runbooks.loaded", changed=["fix-testtrouble"]), "the new version is in force", PATIENCE
        )
        failed = await one.execution(await told(one, "d", namespace), "done", seconds=PATIENCE)
        assert failed["verdict"] == "not_fixed"

        async def demoted():
            found = (await rungs(one))["Deployment"]
            return found if found["rung"] == "approve" else None

        found = await until(demoted, "the demotion", PATIENCE)
        assert "not_fixed by execution" in found["reason"]
        await until(_logged(process, "autonomy.moved", after="approve"), "the process has demoted it", PATIENCE)
        assert (await one.decided(await told(one, "e", namespace), "approval", seconds=PATIENCE))["check"] == "approval"

        history = await one.rb("autonomy", "history", "fix-testtrouble", "--json")
        moves = json.loads(history.stdout)
        assert [(each["before"], each["after"], each["by"]) for each in moves] == [
            ("auto", "approve", "rootmend"),
            ("approve", "auto", "rootmend"),
        ]
        assert "2 of 2 verified" in moves[1]["evidence"]


async def test_people_move_runbooks_and_the_record_says_why(stack, tmp_path):
    """A promotion without evidence needs --unproven; a demotion to observe records and suggests nothing to anybody."""
    async with served(stack, tmp_path / "one", settings={"autonomy": {"enabled": True}}) as one:
        namespace = await one.namespace()
        for name in ("a", "b"):
            await one.app(name, namespace)
        one.runbook("fix", runbook("TestTrouble", mark("fixed")))
        process = await one.serve()
        words = ("fix-testtrouble", "--kind", "Deployment", "--by", "ada")
        declined = await one.rb("autonomy", "promote", *words, "--reason", "I know it")
        assert declined.returncode == 1
        assert "20 executions" in declined.stderr
        misspelt = await one.rb("autonomy", "promote", "fix-testtroubl", *words[1:], "--reason", "x")
        assert (misspelt.returncode, "did you mean fix-testtrouble?" in misspelt.stderr) == (2, True)
        no_reason = await one.rb("autonomy", "demote", *words)
        assert (no_reason.returncode, "a name and a reason" in no_reason.stderr) == (1, True)

        up = await one.rb("autonomy", "promote", *words, "--reason", "tried on staging", "--unproven")
        assert up.returncode == 0, up.stderr

        await until(_logged(process, "autonomy.followed", after="auto"), "the process follows", PATIENCE)
        event = await told(one, "a", namespace)
        assert (await one.execution(event, "done", seconds=PATIENCE))["outcome"] == "success"

        down = await one.rb("autonomy", "demote", *words, "--to", "observe", "--reason", "audit week")
        assert down.returncode == 0, down.stderr
        await until(_logged(process, "autonomy.followed", after="observe"), "the process follows", PATIENCE)
        held = await one.decided(await told(one, "b", namespace), "refusal", seconds=PATIENCE)
        assert held["check"] == "observed"
        assert held["suggested"]
        explained = await one.rb("explain", held["incident_id"])
        assert "audit week, by ada" in explained.stdout
        assert "Would have changed" in explained.stdout
        assert "fixed" not in await one.annotations("b", namespace)


def _logged(process, event, **facts):
    async def look():
        return [line for line in process.log(event) if all(line.get(key) == value for key, value in facts.items())]

    return look
