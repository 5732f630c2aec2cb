"""Policies on the real servers: read at the start, asked for each question, followed, explained, tried on records."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
import yaml
from fakes.served import mark, runbook, served, until

pytestmark = pytest.mark.stack

PATIENCE = 120.0
"""Seconds for anything to happen on a busy machine."""


def policies(*several):
    """A file of policies."""
    return yaml.safe_dump({"policies": list(several)})


def put(one, name, text):
    """Write a file of policies in one move, as an editor does."""
    folder = one.folder / "policies"
    folder.mkdir(exist_ok=True)
    part = folder / f"{name}.part"
    part.write_text(text)
    part.rename(folder / f"{name}.yaml")


async def told(one, app, namespace, **changes):
    """Send an RCA result; gives its event id."""
    event = str(uuid4())
    await one.send([one.rca(app, namespace, event_id=event, **changes)])
    return event


async def test_the_most_specific_policy_decides_and_is_recorded_explained_and_followed(stack, tmp_path):
    """A deny by label, an approval by namespace, a change of the file while it runs, and the record of each."""
    async with served(stack, tmp_path / "one", settings={"policies": {"paths": ["policies"]}}) as one:
        open_, careful = await one.namespace(), await one.namespace()
        for name, namespace in (("free", open_), ("gold", open_), ("asked", careful), ("later", open_)):
            await one.app(name, namespace)
        gold = await one.admin.get("Deployment", "gold", open_)
        labelled = {"metadata": {"labels": {"tier": "gold"}}}
        await one.admin.patch(_ref(gold), labelled, how="merge")
        put(
            one,
            "team",
            policies(
                {"id": "gold", "scope": {"labels": {"tier": "gold"}}, "deny": "people look after gold"},
                {"id": "careful", "scope": {"namespaces": [careful]}, "require_approval": True},
                {"id": "all", "limits": {"min_confidence_floor": 0.6}},
            ),
        )
        one.runbook("fix", runbook("TestTrouble", mark("fixed")))
        process = await one.serve()

        free = await told(one, "free", open_)
        assert (await one.execution(free, "done", seconds=PATIENCE))["outcome"] == "success"
        denied = await one.decided(await told(one, "gold", open_), "refusal", seconds=PATIENCE)
        assert denied["check"] == "policy_denied"
        asked = await one.decided(await told(one, "asked", careful), "approval", seconds=PATIENCE)
        used = {each["id"]: each for each in json.loads(asked["policies"])}
        assert set(used) == {"careful", "all"}
        assert used["careful"]["decided"] == ["require_approval"]

        explained = await one.rb("explain", denied["incident_id"])
        assert f"gold (version {json.loads(denied['policies'] or '[]')[0]['version']})" in explained.stdout
        assert "people look after gold" in explained.stdout
        command = ("policy", "explain", "--namespace", careful, "--runbook", "fix-testtrouble", "--label", "tier=no")
        shown = await one.rb(*command)
        assert "require_approval: True, by careful" in shown.stdout, shown.stderr
        assert "not 0.5 of the settings" in shown.stdout
        from_record = await one.rb(
            "policy", "explain", "--incident", denied["incident_id"], "--label", "tier=gold", "--json"
        )
        assert {each["field"] for each in json.loads(from_record.stdout)["fields"]} == {
            "deny",
            "limits.min_confidence_floor",
        }
        unknown = await one.rb("policy", "explain", "--incident", denied["incident_id"])
        assert (unknown.returncode, "--label NAME=VALUE" in unknown.stderr) == (1, True)

        put(one, "team", "policies:\n  - {id: gold, scop: {}}\n")
        await until(_logged(process, "policies.rejected"), "the broken file is told", PATIENCE)
        still = await one.decided(
            await told(one, "gold", open_, reason="OtherTrouble"), "no_match", "refusal", seconds=PATIENCE
        )
        assert still, "the process goes on"
        put(one, "team", policies({"id": "stop", "deny": "nothing today"}))
        await until(_logged(process, "policies.loaded", count=1), "the new file is in force", PATIENCE)
        refused = await one.decided(await told(one, "later", open_), "refusal", seconds=PATIENCE)
        assert refused["check"] == "policy_denied"
        assert [each["id"] for each in json.loads(refused["policies"] or "[]")] == ["stop"]


async def test_a_change_of_policies_is_tried_on_the_record(stack, tmp_path):
    """What was permitted and would be refused is counted and listed; nothing changes, and it can fail a build."""
    async with served(stack, tmp_path / "one", settings={"policies": {"paths": ["policies"]}}) as one:
        namespace = await one.namespace()
        for name in ("a", "b"):
            await one.app(name, namespace)
        put(one, "now", policies({"id": "now", "limits": {"max_blast_radius": 20}}))
        one.runbook("fix", runbook("TestTrouble", mark("fixed")))
        await one.serve()
        for name in ("a", "b"):
            event = await told(one, name, namespace)
            await one.execution(event, "done", seconds=PATIENCE)
        history = one.folder / "incidents.jsonl.gz"
        exported = await one.rb("incidents", "export", "--output", str(history), "--since", "1h")
        assert exported.returncode == 0, exported.stderr

        new = one.folder / "new.yaml"
        new.write_text(policies({"id": "new", "scope": {"namespaces": [namespace]}, "deny": "not here"}))
        tried = await one.rb(
            "policy", "test", str(new), "--from", str(history), "--json", "--fail-on-change", "--since", ""
        )
        assert tried.returncode == 1, tried.stdout + tried.stderr
        result = json.loads(tried.stdout)
        mine = [each for each in result["findings"] if each["target"].startswith(f"{one.name}/")]
        assert {(each["before"]["kind"], each["after"]["kind"]) for each in mine} == {("permit", "refusal")}
        assert {each["after"]["check"] for each in mine} == {"policy_denied"}
        assert len(mine) == 2
        same = await one.rb("policy", "test", str(one.folder / "policies"), "--from", str(history), "--fail-on-change")
        assert same.returncode == 0, same.stdout + same.stderr


@pytest.mark.parametrize("command", [("serve",), ("policy", "validate")])
async def test_policies_that_contradict_each_other_stop_the_start(stack, tmp_path, command):
    """Nothing runs on policies that nobody can tell the meaning of; the mistake is told with file and line."""
    async with served(stack, tmp_path / "one", settings={"policies": {"paths": ["policies"]}}) as one:
        put(one, "tie", policies({"id": "a", "deny": "one"}, {"id": "b", "deny": "two"}))
        ended = await one.rb(*command)
        assert ended.returncode in (1, 2)
        said = ended.stdout + ended.stderr
        assert "equally specific" in said
        assert "tie.yaml:" in said


def _logged(process, event, **facts):
    async def look():
        return [line for line in process.log(event) if all(line.get(key) == value for key, value in facts.items())]

    return look


def _ref(item):
    from executor.model import ObjectRef  # noqa: PLC0415 - beside its only use

    meta = item["metadata"]
    return ObjectRef(
        kind="Deployment", name=meta["name"], namespace=meta["namespace"], uid=meta["uid"], api_version="apps/v1"
    )
