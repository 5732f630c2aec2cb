"""One incident whose runbook uses every action beside Kubernetes, through a real ``rb serve``.

PostgreSQL, Prometheus, Pushgateway and programs are real; the REST and GraphQL service is one of the test's own.
"""

from __future__ import annotations

import json
import shutil
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from aiohttp import web
from fakes.served import mark, runbook, served
from integration.postgres_server import run_postgres
from integration.prometheus_server import run_monitoring

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

CANARY = f"canary{uuid4().hex}"
ENTITIES = [{"id": f"e{number}", "score": number} for number in range(20)] + [{"score": "none"}]
SCHEMA = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
QUERY = "query Enrich($entities: [Entity!]!) { enrichEntities(entities: $entities) { id } }"


class Service:
    """A REST and GraphQL service that notes what it was asked."""

    def __init__(self):
        self.asked = []

    async def entities(self, request):
        self.asked.append(("GET", dict(request.headers), ""))
        return web.json_response({"data": {"entities": ENTITIES}})

    async def graphql(self, request):
        body = await request.json()
        self.asked.append(("GRAPHQL", dict(request.headers), body))
        return web.json_response({"data": {"enrichEntities": body["variables"]["entities"]}})

    async def flush(self, request):
        self.asked.append(("POST", dict(request.headers), await request.text()))
        return web.json_response({"ticket": "T-1"}, status=201)

    def of(self, kind):
        return [asked for asked in self.asked if asked[0] == kind]


@asynccontextmanager
async def service():
    one = Service()
    app = web.Application()
    app.add_routes(
        [web.get("/entities", one.entities), web.post("/graphql", one.graphql), web.post("/flush", one.flush)]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield one, f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


def step(name, action, **more):
    params = more.pop("params")
    return {"id": name, "name": name, "action": action, "params": params, "timeout": "60s", **more}


def steps(metric):
    """Reads, checks, writes, programs and numbers, each using what came before."""
    return (
        step("fetch", "data_fetch", params={"source_url": "/entities", "auth_token": "{{ secrets.api }}"}),
        step(
            "check",
            "schema_check",
            params={"entities": "{{ steps.fetch.output.data.entities }}", "schema": "entity.json"},
        ),
        step(
            "enrich",
            "api_call",
            params={"endpoint": "/graphql", "query": "enrich.graphql", "entities": "{{ steps.check.output.valid }}"},
        ),
        step(
            "stuck",
            "sql_query",
            params={
                "connection": "jobs",
                "query": "SELECT count(*) AS n FROM jobs WHERE locked",
                "expect": "first.n == 3",
            },
        ),
        step("named", "set", params={"values": {"queue": "mail"}}, output_var="chosen"),
        step(
            "unlock",
            "sql_query",
            params={
                "connection": "jobs",
                "query": "unlock.sql",
                "parameters": {"queue": "{{ chosen.queue }}"},
                "write": True,
                "max_rows": 5,
                "expect": "changed == 2",
            },
        ),
        step("flush", "http/post", params={"url": "/flush", "data": {"app": "{{ target.name }}"}, "expected": 201}),
        step("said", "command", params={"argv": ["echo", "$(id)", "{{ target.name }}"]}, output_var="said"),
        step(
            "counted",
            "script",
            params={
                "interpreter": "sh",
                "script": "count.sh",
                "args": ["a b", "c"],
                "env": {"TOKEN": "{{ secrets.api }}"},
            },
        ),
        mark("seen"),
        step(
            "publish",
            "metrics_publish",
            params={"metrics": {metric: "{{ steps.enrich.output.data.enrichEntities | length }}"}},
        ),
        step("arrived", "wait", params={"metric": metric, "expect": "value == 20", "poll": "200ms", "timeout": "30s"}),
        step("measured", "metrics_query", params={"metric": "entities", "expect": "value >= 20"}),
        step(
            "rolled", "wait/until", params={"condition": "deployment.status.readyReplicas == deployment.spec.replicas"}
        ),
    )


FILES = {
    "entity.json": json.dumps(SCHEMA),
    "enrich.graphql": QUERY,
    "unlock.sql": "UPDATE jobs SET locked = false WHERE queue = :queue AND locked",
    "count.sh": 'test -n "$TOKEN" && echo "$# $1 $TOKEN"\n',
}


@asynccontextmanager
async def installation(stack, tmp_path):
    """Everything that the runbook talks to, and an installation that knows it."""
    metric = f"m_{uuid4().hex[:8]}"
    (tmp_path / "monitoring").mkdir()
    with run_postgres() as database, psycopg.connect(database, autocommit=True) as raw:
        raw.execute("CREATE TABLE jobs (id integer, queue text, locked boolean)")
        raw.execute(
            "INSERT INTO jobs VALUES (1, 'mail', true), (2, 'mail', true), (3, 'print', true), (4, 'mail', false)"
        )
        async with service() as (api, url), run_monitoring(tmp_path / "monitoring") as monitoring:
            settings = {
                "http": {"base_url": url},
                "outgoing": {"allow": [urlsplit(database).netloc.rpartition("@")[2]]},
                "sql": {"connections": {"jobs": {"url_secret": "jobs_url", "write": True}}},
                "prometheus": {
                    "url": monitoring.prometheus,
                    "pushgateway_url": monitoring.pushgateway,
                    "queries": {"entities": f"max({metric})"},
                },
                "actions": {"shell": {"enabled": True, "allow": [shutil.which("echo"), shutil.which("sh")]}},
            }
            secrets = {"ROOTMEND_SECRET_JOBS_URL": database, "ROOTMEND_SECRET_API": CANARY}
            async with served(stack, tmp_path / "data", settings=settings, environment=secrets) as world:
                for name, text in FILES.items():
                    (world.folder / "runbooks" / name).write_text(text)
                world.runbook("data", runbook("TestTrouble", *steps(metric)))
                yield world, api, raw, metric


async def test_a_runbook_uses_every_source_of_data_and_every_way_to_act(stack, tmp_path):
    """Asked of a human once, then carried out and proven; each effect happened once and the secret is nowhere."""
    async with installation(stack, tmp_path) as (world, api, raw, metric):
        namespace = await world.namespace()
        await world.app("shop", namespace)
        await world.serve()
        message = world.rca("shop", namespace)
        await world.send([message])
        event = json.loads(message[1])["incident_id"]
        waiting = await world.execution(event, "waiting_approval", "done")
        assert waiting["status"] == "waiting_approval", waiting.get("error")
        assert [kind for kind, *_ in api.asked] == ["GET", "GRAPHQL"]
        assert raw.execute("SELECT count(*) FROM jobs WHERE locked").fetchone() == (3,)
        shown = (await world.rb("approvals", "show", waiting["id"])).stdout
        assert "UPDATE jobs SET locked = false" in shown
        assert "queue=mail" in shown

        answer = await world.rb("approvals", "approve", waiting["id"], "--yes", "--by", "alice")
        assert answer.returncode == 0, answer.stderr
        done = await world.execution(event, "done", seconds=120)
        assert (done["outcome"], done.get("verdict")) == ("success", "verified"), done.get("error")

        assert raw.execute("SELECT id FROM jobs WHERE locked").fetchall() == [(3,)]
        (posted,) = api.of("POST")
        assert json.loads(posted[2]) == {"app": "shop"}
        assert posted[1]["Idempotency-Key"] == f"{done['id']}/flush"
        assert api.of("GRAPHQL")[0][2]["variables"] == {"entities": ENTITIES[:20]}
        assert api.of("GET")[0][1]["Authorization"] == f"Bearer {CANARY}"
        story = (await world.rb("executions", "show", done["id"], "--json")).stdout
        assert "$(id) shop" in story
        assert "2 a b ***" in story
        assert metric in story
        log = world.processes[0].log_file.read_text()
        topics = [b"\n".join(await world.raw(short)).decode() for short in ("decisions", "executions")]
        said = [story, log, *topics]
        assert [text for text in said if CANARY in text or "postgresql://" in text] == []
