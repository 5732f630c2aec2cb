"""The blast radius, vetoes and freezes on the real servers, as people see them."""

from __future__ import annotations

import json

import pytest
from fakes.served import mark, runbook, served

from executor.model import ObjectRef

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

RESTART = {"id": "r", "name": "Restart", "action": "kubectl_rollout_restart", "params": {"resource": "deployment"}}


@pytest.fixture
async def one(stack, tmp_path):
    """An installation with a workload of two pods behind a service."""
    (tmp_path / "freezes.ics").write_text("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//tests//EN\nEND:VCALENDAR\n")
    later = {"name": "far away", "from": "2099-12-20", "to": "2099-12-31", "reason": "nobody is there"}
    gate = {"freezes": [later], "freeze_calendars": ["freezes.ics"]}
    async with served(stack, tmp_path, settings={"gate": gate}) as made:
        made.runbook("restart", runbook("TestTrouble", RESTART, id="restart"))
        made.runbook("mark", runbook("TestMark", mark("touched"), id="mark"))
        made.space = await made.namespace()
        await made.app("cart", made.space, replicas=2)
        meta = {"name": "cart", "namespace": made.space}
        spec = {"selector": {"app": "cart"}, "ports": [{"port": 80}]}
        await made.admin.create({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        await made.query(
            "MATCH (d:Resource {rid: $rid}) "
            "MERGE (s:Resource {rid: $service}) "
            "SET s.client_id = $name, s.kind = 'Service', s.ns = $ns, s.name = 'front' "
            "MERGE (s)-[:SELECTS]->(d)",
            rid=f"deployment:{made.space}:cart",
            service=f"service:{made.space}:front",
            ns=made.space,
        )
        yield made


async def test_the_tree_names_every_edge_with_its_source_and_what_the_gate_would_say(one):
    """From the live cluster and the graph; the exit code says whether the gate would refuse."""
    target = f"Deployment/{one.space}/cart"
    done = await one.rb("blast-radius", "restart", "--target", target, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["live"], found["graph"], found["count"]) == (2, 2, 2)
    assert found["graph_age_seconds"] is not None
    (root,) = found["tree"]
    below = {branch["resource"]: branch for branch in root["below"]}
    assert "SELECTS in the graph" in below[f"Service/{one.space}/front"]["why"]
    assert below[f"Service/{one.space}/cart"]["why"] == ["selects its pods"]
    (replica_set,) = [branch for name, branch in below.items() if name.startswith("ReplicaSet/")]
    assert [pod["counted_by"] for pod in replica_set["below"]] == [["live"], ["live"]]
    shown = await one.rb("blast-radius", "restart", "--target", target)
    assert "restart affects 2 resources (live 2, graph 2" in shown.stdout
    mark_ = {"metadata": {"annotations": {"rootmend.dev/disabled": "db migration"}}}
    await one.admin.patch(ObjectRef(kind="Deployment", name="cart", namespace=one.space), mark_, how="merge")
    refused = await one.rb("blast-radius", "restart", "--target", target)
    assert refused.returncode == 1
    assert "the gate would refuse (disabled): automation is switched off for" in refused.stdout
    wrong = await one.rb("blast-radius", "restart")
    assert wrong.returncode == 2


async def test_a_namespace_that_is_marked_is_left_alone_until_the_mark_is_gone(one):
    """Decided on the real servers, with the reason on record; the tree of the recorded incident can be drawn."""
    space = ObjectRef(kind="Namespace", name=one.space)
    await one.admin.patch(space, {"metadata": {"annotations": {"rootmend.dev/disabled": "audit"}}}, how="merge")
    await one.serve()
    short, value = one.rca("cart", one.space, "TestMark", event_id=f"{one.name}-e1")
    await one.send([(short, value)])
    decision = await one.decided(f"{one.name}-e1", "refusal")
    assert decision["check"] == "disabled"
    assert decision["message"].endswith("(rootmend.dev/disabled): audit")
    assert "touched" not in await one.annotations("cart", one.space)
    drawn = await one.rb("blast-radius", "mark", "--incident", f"{one.name}-e1")
    assert drawn.returncode == 1, drawn.stdout + drawn.stderr
    assert "the gate would refuse (disabled)" in drawn.stdout


async def test_freezes_are_listed_with_their_calendars(one):
    """One that cannot be read is told, and the exit code says so."""
    done = await one.rb("freeze", "list", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert [(freeze["name"], freeze["in_force"]) for freeze in found["freezes"]] == [("far away", False)]
    assert [calendar["problem"] for calendar in found["calendars"]] == [""]
    (one.folder / "freezes.ics").unlink()
    assert (await one.rb("freeze", "list")).returncode == 1
