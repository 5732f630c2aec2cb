"""What people are shown has no secrets in it, whatever was recorded: by routes, and by commands that show records."""

from __future__ import annotations

import base64
import json
import sys
from uuid import uuid4

import httpx
import pytest
from fakes.pipeline_rig import CLUSTER, TENANT, TOPICS, Rig, runbook
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from safety.access import API, Actor, ActorKind, Grant, Scope, single_operator
from services.access.authenticator import Authenticator, StaticToken
from services.access.door import Door
from services.access.entry_points import ENTRY_POINTS
from services.api.app import create_app
from services.api.guard import Guard
from services.api.masking import MaskedAnswers
from services.api.runs import RunsApi
from services.cli import app as cli
from services.cli.masked import ALSO, AS_IT_IS, mask_for
from services.health import Health
from services.masking import masker
from services.metrics import Metrics

NAME = f"canary-name-{uuid4().hex}"
CANARY = f'canary"{uuid4().hex}+/\n~'
SHOWN = {
    "reason": f"because {CANARY}",
    "steps": [{"error": f"got {base64.b64encode(CANARY.encode()).decode()}"}],
    "n": 7,
}


@pytest.fixture(autouse=True)
def known():
    masker.register(CANARY)
    masker.register(NAME)


def leaks(text):
    """Whether the canary is in a text, in one of the ways in which it could have been written."""
    forms = (CANARY, NAME, json.dumps(CANARY)[1:-1], base64.b64encode(CANARY.encode()).decode()[:-4])
    return [form for form in forms if form in text]


def client(*more, runs=None):
    app = create_app(Health(), Metrics(), None, runs, more=more)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://rootmend", timeout=30)


async def stream():
    text = json.dumps(SHOWN)
    for at in range(0, len(text), 5):
        yield text[at : at + 5]


ANSWERS = {
    "/json": lambda _: JSONResponse(SHOWN),
    "/html": lambda _: HTMLResponse(f"<p>{CANARY}</p>", status_code=410, headers={"X-Frame-Options": "DENY"}),
    "/pieces": lambda _: StreamingResponse(stream(), media_type="application/json"),
    "/error": lambda _: JSONResponse({"error": f"bad {CANARY}"}, status_code=422),
}


@pytest.mark.parametrize("path", ANSWERS)
async def test_no_answer_of_the_http_side_holds_a_secret_whichever_view_made_it(path):
    """Also in pieces and in errors; status, headers and numbers stay, and the length is that of what is sent."""

    async def answered(request):
        return ANSWERS[path](request)

    async with client(Route(path, answered)) as http:
        answer = await http.get(path)
    assert leaks(answer.text) == []
    assert "***" in answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    if path in ("/json", "/pieces"):
        assert answer.json() == {"reason": "because ***", "steps": [{"error": "got ***"}], "n": 7}
    if path == "/html":
        assert (answer.status_code, answer.headers["x-frame-options"]) == (410, "DENY")


async def test_the_page_of_metrics_passes_as_it_is():
    """Names of secrets are labels there, and a mask in one would break every scrape."""

    async def page(_):
        return PlainTextResponse('rootmend_secret_readable{secret="adminToken"} 1.0\n')

    async with client(Route("/page", page)) as http:
        assert 'secret="adminToken"' in (await http.get("/page")).text


async def test_every_get_route_about_a_request_shows_no_secret_that_was_recorded_with_it():
    """From the order to the end of its execution, with a secret in the reason and in the name of who asked."""
    rig = Rig(runbook())
    process = rig.process()
    actor = Actor(ActorKind.TOKEN, "api.token", "api.token", grants=(Grant(API),))
    guard = Guard(Authenticator((StaticToken("t" * 20, actor),)), Door(single_operator(), Scope(TENANT, CLUSTER)))
    runs = RunsApi(
        runbooks=lambda: {one.runbook.id: one for one in rig.runbooks},
        publisher=rig.kafka,
        topic=TOPICS.run_requests,
        ledger=rig.store,
        executions=rig.store,
        clock=rig.clock,
        guard=guard,
        tenant=TENANT,
        cluster=CLUSTER,
    )
    target = {"kind": "Deployment", "namespace": "shop", "name": "app"}
    async with client(runs=runs) as http:
        http.headers["Authorization"] = f"Bearer {'t' * 20}"
        body = {"target": target, "reason": f"because {CANARY}", "requested_by": NAME}
        accepted = (await http.post("/api/v1/runbooks/raise-memory/execute", json=body)).json()
        (order,) = rig.kafka.messages
        await process.ingest.on_batch([rig.raw(order.value, order.topic)])
        await process.quiet()
        told = await http.get(accepted["href"])
        assert told.status_code == 200, told.text
        assert told.json()["requested_by"] == "***"
        seen = [told]
        if execution := told.json().get("execution"):
            seen.append(await http.get(f"/api/v1/executions/{execution['id']}"))
        seen += [await http.get(path) for path in ("/api/v1/runbooks", "/healthz", "/readyz", "/metrics")]
    assert [leaks(one.text) for one in seen] == [[]] * len(seen)


def test_the_middleware_is_around_every_route():
    """Those that are added later, too."""
    assert [one.cls for one in create_app(Health(), Metrics()).user_middleware] == [MaskedAnswers]


def test_every_command_that_shows_records_writes_without_secrets(monkeypatch, capsys):
    """All commands of the product, whatever they print and to which stream; exceptions are named with a reason."""

    def run(name, function, arguments):
        sys.stdout.write(f"{name}: {CANARY} postgres://app:hunter2@db/x\n")
        return 0

    monkeypatch.setattr("services.cli.commands.run_command", run)
    monkeypatch.setattr(cli, "resolve", lambda _: None)
    as_it_is = set()
    for name in cli.COMMANDS:
        cli._run(name, [], cli.Line(()))
        told = capsys.readouterr().out
        if leaks(told) or "hunter2" in told:
            as_it_is.add(name)
    asked = {name for name in cli.COMMANDS if not (at := ENTRY_POINTS.get(f"rb {name}")) or not at.is_open}
    assert as_it_is & asked == AS_IT_IS & asked
    assert not as_it_is & ALSO
    assert len(asked - as_it_is) > 30


def test_files_of_the_caller_are_written_byte_by_byte():
    """A runbook that is laid out anew or converted must not lose a word that looks like a secret."""
    assert [name for name in ("fmt", "convert", "graph", "new", "schema") if mask_for(name)] == []
