"""Runbooks over REST, on a real socket: what is taken, what is refused, and what is told afterwards."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import jsonschema
import orjson
import pytest
from fakes.guards import token_guard
from fakes.pipeline_rig import CLUSTER, NAMESPACE, TENANT, TOPICS, Rig, runbook

from executor.errors import Unavailable
from services.api.app import create_app
from services.api.openapi import openapi
from services.api.runs import RunsApi
from services.api.server import ApiServer
from services.health import Health
from services.metrics import Metrics

TOKEN = "staple of a battery"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
EXECUTE = "/api/v1/runbooks/raise-memory/execute"
BODY = {"target": {"kind": "Deployment", "namespace": NAMESPACE, "name": "app"}, "requested_by": "anna"}
DOCUMENT = openapi()


@contextlib.asynccontextmanager
async def serving(rig, **options):
    """The HTTP side over the pipeline on fakes."""
    known = {one.runbook.id: one for one in rig.runbooks}
    given = {"guard": token_guard(TOKEN), "topic": TOPICS.run_requests, "tenant": TENANT, "cluster": CLUSTER, **options}
    runs = RunsApi(
        runbooks=lambda: known,
        publisher=rig.kafka,
        ledger=rig.store,
        executions=rig.store,
        clock=rig.clock,
        **given,
    )
    server = ApiServer(create_app(Health(), Metrics(), None, runs), port=0)
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=20, headers=HEADERS) as http:
            yield http
    finally:
        await server.stop()


def fits(answer, path, method="get"):
    """The answer is what the OpenAPI document says about its status."""
    said = DOCUMENT["paths"][path][method]["responses"][str(answer.status_code)]["content"]
    ((kind, content),) = said.items()
    assert answer.headers["content-type"] == kind
    jsonschema.validate(answer.json(), {**content["schema"], "components": DOCUMENT["components"]})
    return answer.json()


async def test_what_is_asked_for_runs_and_is_told_under_the_id_of_the_request():
    """From the call through the pipeline to the proof, told by the same address that the first answer named."""
    rig = Rig()
    process = rig.process()
    async with serving(rig) as http:
        answer = await http.post(EXECUTE, json={**BODY, "reason": "it is slow"})
        assert answer.status_code == 202
        accepted = fits(answer, "/api/v1/runbooks/{id}/execute", "post")
        assert answer.headers["location"] == accepted["href"]
        early = await http.get(accepted["href"])
        assert early.status_code == 404
        fits(early, "/api/v1/requests/{id}")
        (order,) = rig.kafka.messages
        await process.ingest.on_batch([rig.raw(order.value, order.topic)])
        await process.quiet()
        told = fits(await http.get(accepted["href"]), "/api/v1/requests/{id}")
        execution = await http.get(f"/api/v1/executions/{told['execution']['id']}")
    assert order.key == told["request_id"] == accepted["request_id"]
    assert (told["decision"]["kind"], told["requested_by"]) == ("permit", "anna")
    shown = fits(execution, "/api/v1/executions/{id}")
    assert (shown["outcome"], shown["verdict"]) == ("success", "verified")
    assert shown["steps"][0]["status"] == "succeeded"
    assert shown == told["execution"]


async def test_a_call_that_is_repeated_with_its_key_is_one_request():
    """Who got no answer asks again without fear."""
    rig = Rig()
    process = rig.process()
    async with serving(rig) as http:
        for _ in range(3):
            answer = await http.post(EXECUTE, json=BODY, headers={"Idempotency-Key": "deploy-2026-05-04"})
            assert answer.json()["request_id"] == "deploy-2026-05-04"
        for order in [m for m in rig.kafka.messages if m.topic == TOPICS.run_requests]:
            await process.ingest.on_batch([rig.raw(order.value, order.topic)])
        await process.quiet()
    assert rig.effects() == ["set app=512Mi"]


async def test_the_answer_waits_for_kafka_and_says_when_it_is_away():
    """A request is either on the topic or still the caller's."""
    rig = Rig()
    rig.kafka.delay_seconds = 0.4
    async with serving(rig) as http:
        pending = asyncio.create_task(http.post(EXECUTE, json=BODY))
        await asyncio.sleep(0.15)
        assert not pending.done()
        assert (await pending).status_code == 202
        rig.kafka.away = True
        answer = await http.post(EXECUTE, json=BODY)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    fits(answer, "/api/v1/runbooks/{id}/execute", "post")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "told"),
    [
        ("raise-memry", BODY, {}, 404, "did you mean raise-memory?"),
        ("raise-memory", {**BODY, "dryrun": True}, {}, 422, "did you mean dry_run?"),
        ("raise-memory", {**BODY, "dry_run": "yes"}, {}, 422, "dry_run"),
        ("raise-memory", {**BODY, "version": "9"}, {}, 409, "version 9 is not in force"),
        ("raise-memory", {**BODY, "parameters": {"facto": 1}}, {}, 422, "did you mean factor?"),
        ("raise-memory", {**BODY, "parameters": {"factor": "much"}}, {}, 422, "not of type integer"),
        ("raise-memory", {**BODY, "target": {"kind": "Deployment", "name": "No Name"}}, {}, 422, "target"),
        ("raise-memory", {**BODY, "target": {"kind": "Deployment"}}, {}, 422, "target.name"),
        ("causes-only", BODY, {}, 409, "manual: false"),
        ("raise-memory", BODY, {"Idempotency-Key": "short"}, 400, "Idempotency-Key"),
        ("raise-memory", BODY, {"Authorization": "Bearer wrong"}, 401, "token"),
        ("raise-memory", BODY, {"Authorization": ""}, 401, "token"),
        ("raise-memory", b"{", {"Content-Type": "application/json"}, 400, "not JSON"),
        ("raise-memory", b"[]", {"Content-Type": "application/json"}, 422, "body"),
        ("raise-memory", b"{}", {"Content-Type": "text/plain"}, 415, "application/json"),
        ("raise-memory", b" " * 5000, {"Content-Type": "application/json"}, 413, "larger than 4000"),
    ],
)
async def test_a_call_that_cannot_be_met_is_refused_with_the_reason(path, body, headers, status, told):
    """Field, nearest name and what is expected; nothing reaches Kafka."""
    rig = Rig(
        runbook(parameters=[{"name": "factor", "type": "integer"}]),
        runbook(id="causes-only", trigger={"manual": False}),
    )
    async with serving(rig, max_body_bytes=4000) as http:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        answer = await http.post(
            f"/api/v1/runbooks/{path}/execute",
            content=content,
            headers={"Content-Type": "application/json", **headers},
        )
    assert answer.status_code == status
    assert told in fits(answer, "/api/v1/runbooks/{id}/execute", "post")["detail"]
    assert rig.kafka.messages == []


async def test_the_runbooks_in_force_are_listed_with_what_they_take():
    """What a caller needs to know, by id."""
    rig = Rig(runbook(parameters=[{"name": "factor", "type": "integer", "default": 2}]), runbook(id="another"))
    async with serving(rig) as http:
        found = fits(await http.get("/api/v1/runbooks"), "/api/v1/runbooks")["runbooks"]
    assert [one["id"] for one in found] == ["another", "raise-memory"]
    assert found[1]["parameters"][0] == {
        "name": "factor", "type": "integer", "required": False, "default": 2, "description": ""
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/api/v1/runbooks", "/api/v1/requests/abcdefgh", "/api/v1/executions/abcdefgh"])
async def test_nothing_is_told_without_the_token(path):
    """Names of runbooks and workloads are nobody else's business."""
    async with serving(Rig()) as http:
        answer = await http.get(path, headers={"Authorization": ""})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_ids_that_nobody_knows_and_a_graph_that_is_away_are_told_apart():
    """404 and 503: only one of them is worth asking again."""
    rig = Rig()
    async with serving(rig) as http:
        unknown = await http.get("/api/v1/executions/abcdefgh")

        async def away(*_):
            raise Unavailable("the graph is away")

        rig.store.tell = away
        silent = await http.get("/api/v1/executions/abcdefgh")
    assert (unknown.status_code, silent.status_code) == (404, 503)
    fits(silent, "/api/v1/executions/{id}")


async def test_an_alert_is_no_request_and_is_not_told_as_one():
    """An event id of the pipeline's own story is not a request's."""
    rig = Rig()
    process = rig.process()
    await process.ingest.on_batch([rig.event(event_id="event-of-an-alert")])
    async with serving(rig) as http:
        assert (await http.get("/api/v1/requests/event-of-an-alert")).status_code == 404


async def test_without_a_token_in_the_settings_everything_is_off_and_says_so():
    """The door is closed by default."""
    server = ApiServer(create_app(Health(), Metrics()), port=0)
    await server.start()
    try:
        async with httpx.AsyncClient(base_url=server.url, headers=HEADERS) as http:
            answers = [await http.post(EXECUTE, json=BODY), await http.get("/api/v1/runbooks")]
    finally:
        await server.stop()
    assert {answer.status_code for answer in answers} == {404}
    assert "api.token" in answers[0].json()["detail"]
    with pytest.raises(ValueError, match="everybody"):
        token_guard("")


def test_the_openapi_document_describes_the_very_routes():
    """Each path and method is served, each reference leads somewhere, each operation has a name of its own."""
    described = {(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item}
    served = {
        (route.path, method)
        for route in create_app(Health(), Metrics()).routes
        for method in route.methods - {"HEAD"}
        if route.path.startswith("/api/v1/") and "alertmanager" not in route.path
    }
    assert described == served
    text = orjson.dumps(DOCUMENT).decode()
    names = {part.partition('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(DOCUMENT["components"]["schemas"])
    numbers = [operation["operationId"] for item in DOCUMENT["paths"].values() for operation in item.values()]
    assert len(set(numbers)) == len(numbers)
