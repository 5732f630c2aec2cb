"""The ops-001 example with its own acceptance file, both as they stand: real HTTP, a real page in a real browser.

A small pack of our own (tests/examples/people) is tried in the same way, also where the example is not at hand.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from compose.addresses import LOOPBACK
from executor.screen_ports import Shot
from services.bootstrap import open_screens
from services.cli.app import main
from services.settings import load_settings

EXAMPLES = Path(__file__).resolve().parents[3] / "shared" / "examples"
PORT = 3000
"""The example names it."""
SCHEMA = {"type": "object", "required": ["id", "kind"], "properties": {"id": {"type": "string"}}}
QUERY = "query Enrich($entities: [EntityInput!]!) { enrichEntities(entities: $entities) { id } }"
OURS = Path(__file__).parents[1] / "examples" / "people"
FIXTURES = {
    "published": {"Happy path": "200-entities", "Partial failure": "malformed-entities"},
    "our own": {"Happy path": "fourteen", "Partial failure": "broken"},
}
ABSENT = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the example files are not on this machine")


class Service:
    """The source API, the graph API and the page of the example.

    Attributes:
        entities: what the source gives.
        colour: of the page's list.
        tokens: what callers showed.
        fixtures: by scenario, which of the pack's is served.
    """

    def __init__(self):
        self.entities = []
        self.colour = "#3366cc"
        self.tokens = []
        self.fixtures = {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                service.tokens.append(self.headers.get("Authorization", ""))
                if self.path == "/entities":
                    self._send("text/html", service.page())
                else:
                    self._send("application/json", json.dumps({"data": {"entities": service.entities}}))

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                given = asked.get("variables", {}).get("entities", [])
                self._send("application/json", json.dumps({"data": {"enrichEntities": given}}))

            def _send(self, kind, text):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def page(self):
        rows = "".join(f"<li>entity {at}</li>" for at in range(8))
        style = f"width:300px;height:240px;background:{self.colour};color:white;font:16px sans-serif"
        return f"<!doctype html><body><ul id='entity-list' style='{style}'>{rows}</ul></body>"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def service():
    """Up on the port that the example names; skipped where something else has it."""
    try:
        made = Service()
    except OSError as error:
        pytest.skip(f"port {PORT} is taken: {error}")
    yield made
    made.close()


def published(folder):
    """The two files as they stand, and what they speak of beside them."""
    for name in ("fixtures", "screenshots"):
        (folder / name).mkdir(parents=True)
    shutil.copy(EXAMPLES / "ops001-entity-enrichment.yaml", folder / "runbook.yaml")
    shutil.copy(EXAMPLES / "ops001-acceptance.yml", folder / "acceptance.yml")
    (folder / "entity-v2.json").write_text(json.dumps(SCHEMA))
    (folder / "enrichment-query.graphql").write_text(QUERY)
    good = [{"id": f"e{at}", "kind": "host"} for at in range(195)]
    (folder / "fixtures" / "200-entities.json").write_text(json.dumps([*good, *[{"id": f"b{at}"} for at in range(5)]]))
    (folder / "fixtures" / "malformed-entities.json").write_text(json.dumps([*good[:3], {"id": 7}, {}]))


@pytest.fixture(params=[pytest.param("published", marks=ABSENT), "our own"])
def pack(request, tmp_path, monkeypatch, chromium, service):
    """A pack with the baseline that the page has now."""
    folder = tmp_path / "pack"
    if request.param == "published":
        published(folder)
    else:
        shutil.copytree(OURS, folder)
        (folder / "screenshots").mkdir()
    service.fixtures = FIXTURES[request.param]
    for name, value in {
        "HTTP__BASE_URL": f"http://127.0.0.1:{PORT}",
        "SCREENSHOTS__BROWSER": str(chromium),
        "SCREENSHOTS__REPORTS": str(tmp_path / "reports"),
        "OUTGOING__ALLOW": ",".join(LOOPBACK),
        "SECRET_API_TOKEN": "made-up-token",
    }.items():
        monkeypatch.setenv(f"ROOTMEND_{name}", value)
    screens = open_screens(load_settings(None))
    shot = Shot(url=f"http://localhost:{PORT}/entities", selector="#entity-list")
    (folder / "screenshots" / "baseline-entity-list.png").write_bytes(asyncio.run(screens.capture(shot)))
    return folder


def tried(pack, scenario, service, *arguments):
    """Run one scenario against the service, which serves its fixture."""
    service.entities = json.loads((pack / "fixtures" / f"{service.fixtures[scenario]}.json").read_text())
    variable = "SOURCE_API_URL" if "SOURCE_API_URL" in (pack / "runbook.yaml").read_text() else "PEOPLE_URL"
    source = ("--param", f"{variable}=http://127.0.0.1:{PORT}/source")
    return main(["test", str(pack), "-k", scenario, "--live", "http,screens,secrets", *source, *arguments])


@pytest.mark.parametrize("scenario", ["Happy path", "Partial failure"])
def test_the_example_holds_as_it_stands(pack, scenario, service, capsys):
    """What is good is enriched and counted, errors are told apart, the page looks as its baseline."""
    code = tried(pack, scenario, service)
    assert code == 0, capsys.readouterr().out
    assert any("made-up-token" in token for token in service.tokens)


def test_a_changed_page_is_flagged(pack, service, tmp_path, capsys):
    """Another colour is more than one percent: the scenario fails, and the picture of the difference is in the page."""
    service.colour = "#cc3366"
    page = tmp_path / "report.html"
    assert tried(pack, "Happy path", service, "--html", str(page)) == 1
    assert "of the pixels differ" in capsys.readouterr().out
    (picture,) = Path(os.environ["ROOTMEND_SCREENSHOTS__REPORTS"]).rglob("*-diff.png")
    text = page.read_text()
    assert "of the pixels differ" in text
    assert base64.b64encode(picture.read_bytes()).decode() in text


async def compared(screens, baseline, shot):
    """The page now against its baseline."""
    return await screens.compare(baseline, await screens.capture(shot), (), 0.1)


def test_the_same_page_differs_in_less_than_a_ten_thousandth(pack, service, chromium):
    """Another picture of it, against the baseline, and against one whose colour was meant to change."""
    screens = open_screens(load_settings(None))
    shot = Shot(url=f"http://localhost:{PORT}/entities", selector="#entity-list")
    baseline = (pack / "screenshots" / "baseline-entity-list.png").read_bytes()
    again = asyncio.run(compared(screens, baseline, shot))
    assert again.ratio < 0.0001
    service.colour = "#cc3366"
    changed = asyncio.run(compared(screens, baseline, shot))
    assert changed.ratio > 0.01
    assert changed.diff.startswith(b"\x89PNG")
