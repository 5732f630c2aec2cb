"""The execution log in a real PostgreSQL: complete, the same however often it is written, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
import uuid

import psycopg
import pytest
from integration.fetched import NotFetched
from integration.postgres_server import run_postgres

from executor.errors import Invalid, Unavailable
from services.history.database import HistoryDatabase
from services.history.sink import SqlHistory

START = "2026-01-01T09:00:00+00:00"
END = "2026-01-01T09:01:00+00:00"


@pytest.fixture(scope="module")
def server():
    """One server for the module."""
    try:
        with run_postgres() as url:
            yield url
    except NotFetched as error:
        pytest.skip(str(error))


@pytest.fixture
async def url(server):
    """A database of its own."""
    name = f"t{uuid.uuid4().hex}"
    async with await psycopg.AsyncConnection.connect(server, autocommit=True) as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    return server.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture
async def database(url):
    """Its tables made."""
    opened = HistoryDatabase(url)
    await opened.migrate()
    yield opened
    await opened.close()


def recording(number, *, ended=True, answered=""):
    """An execution with two steps, as the graph tells it."""
    steps = [
        {"id": f"{number}/step/{at}", "phase": "step", "index": at, "step_id": f"s{at}", "name": f"S{at}", "error": "",
         "action": "wait", "status": "succeeded" if ended else "intended", "output": {"at": at}, "started_at": START,
         "finished_at": END if ended else None}
        for at in range(2)
    ]  # fmt: skip
    plan = {
        "runbook_id": "oom",
        "runbook_version": "1.0",
        "steps": [{"index": 0, "params": {"seconds": 1}}, {"index": 1, "params": {}}],
    }
    approvals = [{"status": "approved", "answered_by": answered}] if answered else []
    record = {"status": "done" if ended else "running", "outcome": "success" if ended else None}
    times = {"requested_at": START, "started_at": START, "finished_at": END if ended else None}
    execution = {"id": number, **times, "plan": plan, "record": record, "steps": steps, "approvals": approvals}
    return {"incident": {"id": "i"}, "execution": execution, "text": "runbook:"}


async def rows(url, query):
    """What somebody sees who asks in SQL."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        return await (await connection.execute(query)).fetchall()


async def test_an_execution_and_its_steps_are_rows(database, url):
    """With inputs, outputs and who approved; times as times, the rest as JSON that SQL can ask."""
    number = str(uuid.uuid4())
    await database.write([recording(number, answered="ada")])
    query = "SELECT id::text, runbook_id, status, completed_at - started_at, actor_id FROM runbook_executions"
    ((found, name, status, took, actor),) = await rows(url, query)
    assert (found, name, status, took.total_seconds()) == (number, "oom", "success", 60)
    assert actor is not None
    steps = await rows(
        url, "SELECT step_id, inputs->'params'->>'seconds', outputs->>'at', errors FROM runbook_step_logs ORDER BY 1"
    )
    assert steps == [("s0", "1", "0", None), ("s1", None, "1", None)]


async def test_writing_again_changes_nothing(database, url):
    """Events come at least once."""
    one = recording(str(uuid.uuid4()))
    for _ in range(3):
        await database.write([one])
    assert await rows(url, "SELECT count(*) FROM runbook_executions") == [(1,)]
    assert await rows(url, "SELECT count(*) FROM runbook_step_logs") == [(2,)]


async def test_an_older_state_does_not_replace_an_end(database, url):
    """Two processes may write; the one that read earlier may come later."""
    number = str(uuid.uuid4())
    await database.write([recording(number)])
    await database.write([recording(number, ended=False)])
    assert await rows(url, "SELECT status FROM runbook_executions") == [("success",)]
    assert await rows(url, "SELECT DISTINCT status FROM runbook_step_logs") == [("succeeded",)]


async def test_migrations_are_applied_once_by_many(url):
    """Replicas start together."""
    opened = [HistoryDatabase(url) for _ in range(3)]
    applied = await asyncio.gather(*(one.migrate() for one in opened))
    assert sorted(map(len, applied)) == [0, 0, 1]
    for one in opened:
        await one.close()


async def test_a_recording_is_found_by_the_beginning_of_its_id(database):
    """For replays; what comes back is what went in."""
    number = str(uuid.uuid4())
    await database.write([recording(number), recording(str(uuid.uuid4()))])
    (found,) = await database.recording(number[:13])
    assert found == json.loads(json.dumps(recording(number)))


class Graph:
    """The truth, in memory."""

    def __init__(self):
        self.known = {}
        self.asked = []

    async def recordings(self, execution_ids):
        return [self.known[one] for one in execution_ids if one in self.known]

    async def started_since(self, moment):
        self.asked.append(moment)
        return list(self.known)


async def test_events_lead_to_rows(database, url):
    """The event only says which execution changed; what is written is what the graph holds."""
    graph, number = Graph(), str(uuid.uuid4())
    graph.known[number] = recording(number, ended=False)
    sink = SqlHistory(database, graph)
    sink.event("execution.started", execution=number)
    await sink.flush()
    graph.known[number] = recording(number)
    sink.event("execution.finished", execution=number)
    sink.event("lag", topic="alerts")
    await sink.flush()
    assert await rows(url, "SELECT status FROM runbook_executions") == [("success",)]


async def test_what_was_missed_is_caught_up(database, url):
    """A process that heard nothing, or died, finds what has no end and what is new."""
    graph, first, second = Graph(), str(uuid.uuid4()), str(uuid.uuid4())
    await database.write([recording(first, ended=False)])
    graph.known = {first: recording(first), second: recording(second)}
    sink = SqlHistory(database, graph)
    await sink.catch_up()
    await sink.flush()
    assert await rows(url, "SELECT status, count(*) FROM runbook_executions GROUP BY 1") == [("success", 2)]
    assert graph.asked[0].isoformat() == "2026-01-01T08:00:00+00:00"


async def test_a_database_that_is_away_loses_nothing_and_stops_nobody():
    """Events are taken at once; what could not be written stays for the next time."""
    away = HistoryDatabase("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
    graph, number = Graph(), str(uuid.uuid4())
    graph.known[number] = recording(number)
    sink = SqlHistory(away, graph)
    began = asyncio.get_running_loop().time()
    sink.event("execution.started", execution=number)
    assert asyncio.get_running_loop().time() - began < 0.05
    for _ in range(2):
        with pytest.raises(Unavailable, match="PostgreSQL"):
            await sink.flush()
    await away.close()


async def test_the_sink_comes_back_by_itself(database, url):
    """Run until cancelled: migrate, catch up, copy."""
    graph, number = Graph(), str(uuid.uuid4())
    graph.known[number] = recording(number)
    task = asyncio.create_task(SqlHistory(database, graph, write_seconds=0.05).run())
    for _ in range(100):
        if await rows(url, "SELECT count(*) FROM runbook_executions") == [(1,)]:
            break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("nothing was written")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("wrong", "told"), [("mysql://x/y", "only postgresql"), ("no url", "is no URL")])
def test_another_address_is_refused(wrong, told):
    """Before anything connects."""
    with pytest.raises(Invalid, match=told):
        HistoryDatabase(wrong)
