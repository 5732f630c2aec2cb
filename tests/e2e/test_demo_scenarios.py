"""The six incidents of the demo, side by side, on the real stack."""

import json

import orjson
import pytest

from compose import stack as local
from compose.demo.board import Board
from compose.demo.leaks import places_of
from compose.demo.scenarios import ALL, play_all
from compose.demo.tampering import tamper
from compose.demo.theatre import staged
from executor.actions import default_actions
from services.graph.connect import GraphSettings, connect
from services.graph.recorded import RecordedHistory
from services.testing.replay import Recording, replay

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture(scope="module")
async def played(stack):
    """All scenarios, played once; the scene stays for a look around."""
    scenarios = [scenario() for scenario in ALL]
    board = Board({scenario.key: scenario.title for scenario in scenarios})
    async with staged(local.addresses(), board) as scene:
        results = await play_all(scenarios, scene)
        yield scene, {result.key: result for result in results}


@pytest.mark.parametrize("key", [scenario.key for scenario in ALL])
async def test_each_incident_comes_out_as_told(played, key):
    """Decision, steps, verdict, cluster, Kafka and `rb explain` all say what the scenario tells."""
    _, results = played
    result = results[key]
    assert result.problem == "", "\n".join((result.problem, *result.log))


async def test_what_acts_by_itself_begins_once_the_cause_is_known(played):
    """The first step follows the root cause; how soon is measured by `make bench`, here only that nothing hangs."""
    _, results = played
    waits = {key: results[key].rca_to_first_step for key in ("oom", "not-fixed", "storm")}
    assert all(seconds is not None and 0 < seconds < 120 for seconds in waits.values()), waits


async def test_nothing_unreadable_came_in(played):
    """Every shape of message that the demo sends is understood: the dead letter queue is empty."""
    scene, _ = played
    assert scene.wire.seen("dlq") == []


async def test_the_search_for_leaked_secrets_finds_what_is_there(played):
    """An execution's id stands in all four places; a search that misses it would be worthless."""
    scene, results = played
    known = next(one for one in scene.recorder.known() if one.incident_id == results["oom"].incident_id)
    places = await places_of(json.dumps({"id": known.executions[0].id}), scene)
    for expected in ("graph node", "topic", "redis key", "the log of rb serve"):
        assert any(place.startswith(expected) for place in places), (expected, places)


async def test_the_metrics_page_tells_what_was_done(played):
    """Five executions, one of them rolled back."""
    scene, _ = played
    lines = (await scene.pipeline.metrics()).splitlines()
    counts = [line.split() for line in lines if line.startswith("runbook_executions_total{")]
    assert sum(float(value) for name, value in counts if 'outcome="success"' in name) == 4
    assert sum(float(value) for name, value in counts if 'outcome="rollback"' in name) == 1


async def test_every_execution_of_the_demo_replays_as_recorded(played, stack):
    """Planned and run again on what was recorded, each comes out the same; with one output changed, none does."""
    _, results = played
    incidents = [one.incident_id for one in results.values() if one.incident_id]
    graph = connect(GraphSettings(stack.neo4j_uri, stack.neo4j_user, stack.neo4j_password))
    try:
        recordings = await recordings_of(graph, incidents)
        assert len(recordings) >= 4
        for recording in recordings:
            result = await replay(recording, default_actions(), {})
            assert result.same, "\n".join(map(str, result.deviations))
            last = recording.execution["steps"][-1]["id"]
            await graph.driver.execute_query("MATCH (s:StepRun {id: $id}) SET s.output = '\"another\"'", id=last)
        for recording in await recordings_of(graph, incidents):
            result = await replay(recording, default_actions(), {})
            assert [one.what for one in result.deviations if "after it was written" in one.what]
    finally:
        await graph.close()


async def recordings_of(graph, incident_ids):
    """Everything that the graph holds of these incidents' executions, as `rb replay` reads it."""
    history = RecordedHistory(graph, "")
    texts = {(one["id"], one["sha"]): one["text"] for one in await history.runbooks()}
    found = []
    for number in incident_ids:
        for incident in orjson.loads(orjson.dumps(await history.of_execution(number))):
            for execution in incident["executions"]:
                used = execution["plan"]["runbook_id"], execution["plan"]["runbook_sha"]
                found.append(Recording(incident, execution, texts[used]))
    return found


async def test_invariant_11_a_change_of_the_record_is_found_and_named(played):
    """One property of one entry, by somebody who can write to the graph."""
    scene, _ = played
    result = await tamper(scene)
    assert result.problem == ""
    assert "rb audit verify: changed" in result.decision
