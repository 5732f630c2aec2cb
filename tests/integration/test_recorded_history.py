"""What was recorded, read from the real graph: whole, in order, the same every time; and trials on the real cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from fakes.graph_samples import decision, incident, permitted, signal, step_run
from fakes.stores import real_store

import runbooks
from executor.model import StepStatus
from services.cli.app import main
from services.graph.history_truth import GraphTruth
from services.graph.recorded import RecordedHistory
from services.logs import Masker
from services.records import DecisionKind

pytestmark = pytest.mark.stack
CATALOG = Path(runbooks.__file__).parent / "catalog"


@pytest.fixture
async def store(stack):
    async with real_store(stack) as real:
        yield real


async def recorded(store, count=5):
    """Permits one second apart, the first one run."""
    made = [permitted(of=incident(signal())) for _ in range(count)]
    start = made[0].decided_at
    made = [replace(one, decided_at=start + timedelta(seconds=at)) for at, one in enumerate(made)]
    await store.ledger.record(made)
    first = made[0].execution
    claim = await store.permits.claim(first.id, first.plan.hash, "h", 30)
    done = step_run(first.id, 0, StepStatus.SUCCEEDED, output={"changed": "512Mi"})
    await store.journal.outcome(first.id, claim.epoch, done)
    return made


async def test_incidents_are_read_in_their_order_whatever_the_pages(store):
    """Page after page, none twice and none left out, decisions without an incident left out."""
    made = await recorded(store)
    await store.ledger.record([decision(DecisionKind.WAITING, incident=None, decided_at=made[0].decided_at)])
    first, last = made[0].decided_at, made[-1].decided_at + timedelta(milliseconds=1)
    found = {}
    for page in (1, 2, 100):
        history = RecordedHistory(store.graph, "test:", page=page)
        found[page] = [one["decision"] async for one in history.incidents(first, last)]
    ours = [one.id for one in made]
    assert [one for one in found[1] if one in ours] == ours
    assert found[1] == found[2] == found[100]


async def test_an_execution_is_read_with_its_steps_and_a_changed_one_is_told(store):
    """The journal's digest is compared with what the graph holds now."""
    made = await recorded(store, 1)
    history = RecordedHistory(store.graph, "test:")
    number = made[0].execution.id
    ((execution,),) = [one["executions"] for one in await history.of_execution(number)]
    assert (execution["steps"][0]["output"], execution["altered"]) == ({"changed": "512Mi"}, [])
    step = f"{number}/step/0"
    await store.graph.driver.execute_query("MATCH (s:StepRun {id: $id}) SET s.output = '1'", id=step)
    ((execution,),) = [one["executions"] for one in await history.of_execution(number)]
    assert execution["altered"] == [step]


async def test_the_log_in_postgresql_is_told_whole_recordings(store):
    """With the runbook's text, as JSON, so that each can be replayed from there."""
    made = await recorded(store, 2)
    truth = GraphTruth(store.graph, "test:", Masker())
    ids = [one.execution.id for one in made]
    found = await truth.recordings(ids)
    assert [one["execution"]["id"] for one in found] == ids
    assert all("oom-raise-memory" in one["text"] for one in found)
    assert orjson.loads(orjson.dumps(found)) == found
    assert set(ids) <= set(await truth.started_since(made[0].decided_at - timedelta(minutes=1)))


async def test_two_exports_of_the_same_time_are_the_same_bytes(store, stack, tmp_path, capsys):
    """Deterministic, and read back by the backtest."""
    from services.cli.incidents import export  # noqa: PLC0415 - only here
    from services.settings import load_settings  # noqa: PLC0415 - as above

    made = await recorded(store)
    settings = load_settings(stack.settings_file)
    until = made[-1].decided_at + timedelta(milliseconds=1)
    files = [tmp_path / name for name in ("a.jsonl.gz", "b.jsonl.gz")]
    counts = [await export(settings, file, made[0].decided_at, until) for file in files]
    assert counts[0] == counts[1] >= 5
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_scenario_runs_on_the_practice_cluster(stack, tmp_path, capsys):
    """With the rights of the settings, in a namespace of its own."""
    (tmp_path / "runbook.yaml").write_text((CATALOG / "oomkilled-increase-memory" / "runbook.yaml").read_text())
    (tmp_path / "acceptance.yml").write_text(PACK)
    arguments = ["--config", str(stack.settings_file), "test", str(tmp_path), "--cluster"]
    code = main([*arguments, "--kubeconfig", stack.admin_kubeconfig])
    told = capsys.readouterr().out
    assert code == 0, told
    assert "1 of 1 scenarios passed" in told


PACK = """
scenarios:
  - name: the limit is doubled and the pods are replaced
    incident: {target: Deployment/shop/cart}
    fakes:
      cluster:
        - apiVersion: apps/v1
          kind: Deployment
          metadata: {name: cart, namespace: shop}
          spec:
            replicas: 1
            selector: {matchLabels: {app: cart}}
            template:
              metadata: {labels: {app: cart}}
              spec:
                containers: [{name: app, image: "cart:1", resources: {limits: {memory: 64Mi}}}]
    expected:
      status: success
      verdict: verified
      steps: {new_limit: {output: 128Mi}}
      calls: [{verb: patch, object: Deployment/shop/cart, contains: 128Mi, times: 1}]
"""
