"""``rb run`` and REST on the real servers: asked for, shown in advance, followed to the end."""

from __future__ import annotations

import asyncio
import json
import re

import httpx
import pytest
import yaml
from fakes.served import mark, runbook, served, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


def annotate(**parts):
    wanted = [{"name": "mark", "type": "string", "default": "plain"}]
    step = mark("touched", "{{ params.mark }}")
    return runbook("NeverByItself", step, id="annotate", parameters=wanted, type="maintenance", **parts)


@pytest.fixture
async def one(stack, tmp_path):
    """An installation with two runbooks and a workload that is well."""
    async with served(stack, tmp_path) as made:
        made.runbook("annotate", annotate())
        made.runbook("asks-first", {**annotate(), "id": "asks-first", "safety": {"require_approval": True}})
        made.namespaces_ready = await made.namespace()
        await made.app("cart", made.namespaces_ready)
        yield made


def target(one):
    return f"Deployment/{one.namespaces_ready}/cart"


async def test_a_runbook_is_asked_for_followed_and_proven(one):
    """Every step is told as it happens; the exit code says that the fix is proven; the record says who asked."""
    await one.serve()
    asked = (
        "run",
        "annotate",
        "--target",
        target(one),
        "--param",
        "mark=by-hand",
        "--by",
        "anna",
        "--reason",
        "a test",
    )
    done = await one.rb(*asked, "--follow", "--request-id", f"{one.name}-first")
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.splitlines()
    assert told[0] == f"asked for: {one.name}-first"
    assert any(line.startswith("decision: permitted") for line in told)
    assert any(re.fullmatch(r"step Write touched \(kubectl_patch\): succeeded in [0-9.]+ s", line) for line in told)
    assert told[-1] == "ended: success, verdict verified"
    assert (await one.annotations("cart", one.namespaces_ready))["touched"] == "by-hand"
    (decision,) = await one.decisions(f"{one.name}-first")
    assert decision["message"] == "every check of the gate was passed"
    explained = await one.rb("explain", f"{one.name}-first")
    assert "asked for by anna (manual): a test" in explained.stdout
    # Sent again, it is the same request: nothing runs, and the answer is the one on record.
    again = await one.rb(*asked, "--wait", "--json", "--request-id", f"{one.name}-first")
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads(again.stdout)["verdict"] == "verified"
    rows = await one.query("MATCH (e:RunbookExecution) WHERE e.target_key STARTS WITH $name RETURN count(e) AS n")
    assert rows == [{"n": 1}]


async def test_a_request_that_needs_a_human_shows_how_to_answer_and_goes_on_after_it(one):
    """The line that is shown is the command that answers."""
    await one.serve()
    following = asyncio.create_task(
        one.rb("run", "asks-first", "--target", target(one), "--follow", "--timeout", "50s")
    )
    pending = """
        MATCH (e:RunbookExecution) WHERE e.target_key STARTS WITH $name
        MATCH (a:Approval {execution_id: e.id, status: 'pending'}) RETURN a.id AS id
    """
    (question,) = await until(lambda: one.query(pending), "a question", 40)
    number = question["id"]
    answered = await one.rb("approvals", "approve", number, "--by", "ben", "--yes")
    assert answered.returncode == 0, answered.stderr
    done = await following
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"waits for a human: rb approvals approve {number}" in done.stdout
    assert done.stdout.splitlines()[-1] == "ended: success, verdict verified"


async def test_what_does_not_hold_ends_with_one_and_wrong_use_with_two(one):
    """A refusal, a fix that is not proven, and mistakes that are told before anything is sent."""
    one.runbook("broken", annotate_broken())
    await one.serve()
    gone = await one.rb("run", "annotate", "--target", f"Deployment/{one.namespaces_ready}/carts", "--wait")
    assert gone.returncode == 1
    assert "did you mean cart?" in gone.stdout
    failed = await one.rb("run", "broken", "--target", target(one), "--follow")
    assert failed.returncode == 1, failed.stdout
    assert "ended: rollback, verdict not fixed" in failed.stdout
    before = len(await one.read("run_requests"))
    for words, told in (
        (("run", "anotate"), "did you mean annotate?"),
        (("run", "annotate", "--target", "cart"), "KIND/NAMESPACE/NAME"),
        (("run", "annotate", "--param", "marc=x"), "did you mean mark?"),
        (("run", "annotate", "--param", "mark"), "NAME=VALUE"),
        (("run", "annotate", "--timeout", "soon"), "--timeout"),
        (("run", "annotate", "--request-id", "short"), "request_id"),
        (("run", str(one.folder / "other.yaml")), "other.yaml"),
    ):
        wrong = await one.rb(*words)
        assert wrong.returncode == 2, (words, wrong.stdout, wrong.stderr)
        assert told in wrong.stderr
    assert len(await one.read("run_requests")) == before


def annotate_broken():
    """It breaks the image, which the practice cluster cannot run, and is taken back."""
    patch = {
        "spec": {"progressDeadlineSeconds": 1, "template": {"spec": {"containers": [{"name": "app", "image": "x"}]}}}
    }
    step = {
        "id": "break",
        "name": "Take the pods away",
        "action": "kubectl_patch",
        "params": {"resource": "{{ target.kind }}", "type": "strategic", "patch": patch},
    }
    criteria = [{"name": "never", "check": "params.mark == 'gold'"}]
    return {
        **annotate(),
        "id": "broken",
        "steps": [step],
        "verification": {"settle": "1s", "timeout": "5s", "success_criteria": criteria},
    }


async def test_a_dry_run_needs_no_kafka_changes_nothing_and_tells_everything(one):
    """The plan is made here, the API server is asked about the write, the graph says how long it took until now."""
    await one.serve()
    assert (await one.rb("run", "annotate", "--target", target(one), "--wait")).returncode == 0
    for process in one.processes:
        await process.stop()
    one.settings["kafka"]["bootstrap_servers"] = "127.0.0.1:1"
    one.write()
    before = await one.deployment("cart", one.namespaces_ready)
    counted = await _nodes(one)
    shown = await one.rb("run", "annotate", "--target", target(one), "--param", "mark=never", "--dry-run")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for line in (
        "Dry run of annotate 1.0.0 (maintenance)",
        f"Target: {target(one)} on {one.name}",
        "1. [auto] Write touched",
        "   type: kubectl_patch (write)",
        "   API server: would take it",
        "Steps: 1",
        "Approvals needed: 0",
        "Nothing was changed.",
    ):
        assert line in shown.stdout.splitlines()
    assert "plain -> never" in shown.stdout or "never" in shown.stdout
    assert re.search(r"Estimated time: [0-9.]+ s, the median of 1 run", shown.stdout)
    after = await one.deployment("cart", one.namespaces_ready)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert await _nodes(one) == counted


async def _nodes(one):
    (row,) = await one.query("MATCH (n) WHERE n.cluster = $name OR n.target_key STARTS WITH $name RETURN count(n) AS n")
    return row["n"]


async def test_a_dry_run_of_a_file_says_who_would_be_asked_and_what_the_api_server_refuses(one):
    """A runbook that is not in force yet can be looked at, and only that; exit code 1 where it would not work."""
    changed = {**annotate(), "version": "2.0.0", "safety": {"require_approval": True}}
    changed["steps"] = [{**mark("touched"), "require_approval": True}]
    path = one.folder / "changed.yaml"
    path.write_text(yaml.safe_dump({"runbook": changed}, sort_keys=False))
    shown = await one.rb("run", str(path), "--target", target(one), "--dry-run", "--json")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    told = json.loads(shown.stdout)
    assert (told["version"], told["gate"], told["approvals"], told["holds"]) == ("2.0.0", "approval", 2, True)
    assert told["steps"][0]["server"] == ""
    refused = await one.rb("run", str(path), "--target", target(one))
    assert refused.returncode == 2
    assert "only --dry-run takes a file" in refused.stderr
    patch = {"spec": {"selector": {"matchLabels": {"app": "another"}}}}
    params = {"resource": "deployment", "type": "merge", "patch": patch}
    changed["steps"] = [{"id": "wrong", "name": "Write nonsense", "action": "kubectl_patch", "params": params}]
    path.write_text(yaml.safe_dump({"runbook": changed}, sort_keys=False))
    shown = await one.rb("run", str(path), "--target", target(one), "--dry-run")
    assert shown.returncode == 1
    assert "It would not run: plan: step 'Write nonsense': the server refuses the change" in shown.stdout
    assert "immutable" in shown.stdout


async def test_a_program_asks_over_rest_and_reads_the_proof_there(stack, tmp_path):
    """One runbook with a target, one without; the same key twice is one run; a dry run changes nothing."""
    token = "a token for programs"
    async with served(stack, tmp_path, settings={"api": {"enabled": True, "port": 0, "token": token}}) as one:
        one.runbook("annotate", annotate())
        count = {"id": "count", "name": "Count", "action": "calculate", "params": {"expression": "{{ 1 + 1 }}"}}
        one.runbook("counts", {**runbook("Never", count, id="counts"), "trigger": {"manual": True}})
        place = await one.namespace()
        await one.app("cart", place)
        process = await one.serve()
        url = process.log("service.ready")[0]["url"]
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as http:
            known = (await http.get("/api/v1/runbooks")).json()["runbooks"]
            assert [each["id"] for each in known] == ["annotate", "counts"]
            body = {
                "target": {"kind": "Deployment", "namespace": place, "name": "cart"},
                "parameters": {"mark": "by-rest"},
                "requested_by": "ci",
            }
            shown = await http.post("/api/v1/runbooks/annotate/execute", json={**body, "dry_run": True})
            told = await _ended(http, shown)
            assert told["decision"]["check"] == "dry_run"
            assert "the API server would take it" in told["decision"]["message"]
            assert "touched" not in await one.annotations("cart", place)
            key = {"Idempotency-Key": f"{one.name}-key"}
            asked = [await http.post("/api/v1/runbooks/annotate/execute", json=body, headers=key) for _ in range(2)]
            assert [each.status_code for each in asked] == [202, 202]
            told = await _ended(http, asked[0])
            assert (told["execution"]["verdict"], told["requested_by"]) == ("verified", "ci")
            assert (await one.annotations("cart", place))["touched"] == "by-rest"
            told = await _ended(http, await http.post("/api/v1/runbooks/counts/execute", json={}))
            assert told["execution"]["verdict"] == "verified"
            assert told["execution"]["target"] == f"{one.name}//Runbook/counts"
            assert told["execution"]["evidence"][-1]["detail"].startswith("it changes nothing")
        rows = await one.query("MATCH (e:RunbookExecution) WHERE e.target_key STARTS WITH $name RETURN count(e) AS n")
        assert rows == [{"n": 2}]


async def _ended(http, accepted):
    """The request once it is over."""
    assert accepted.status_code == 202, accepted.text

    async def look():
        answer = await http.get(accepted.json()["href"])
        if answer.status_code == 404:
            return None
        told = answer.json()
        running = told["decision"]["kind"] in {"permit", "approval", "waiting"}
        ended = told["execution"] and told["execution"]["status"] == "done"
        return told if ended or not running else None

    return await until(look, "the request is over", 60)
