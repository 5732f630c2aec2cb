"""The k6 script that ``rb loadtest`` writes: what is in it, and how a real k6 runs it against the real endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re

import pytest
from fakes.guards import token_guard
from fakes.pipeline_rig import CLUSTER, TENANT, TOPICS, Rig, runbook
from fakes.recording_publisher import RecordingPublisher
from hypothesis import given
from hypothesis import strategies as st

from compose import binaries
from compose.paths import folders
from services.api.app import create_app
from services.api.runs import RunsApi
from services.api.server import ApiServer
from services.cli.app import main
from services.health import Health
from services.loadtest import BEARER, URL, LoadTest, Stage, script, stages
from services.metrics import Metrics

TOKEN = "a token for callers"
STAGES = (Stage("1m", 10), Stage("3m", 50), Stage("1m", 0))


def options(text):
    """The options of a script."""
    found = re.search(r"^export const options = (\{.*?^\});$", text, re.MULTILINE | re.DOTALL)
    return json.loads(found[1])


def written(**changes):
    given_ = {"runbook": "annotate", "body": {"dry_run": True}, "url": "http://127.0.0.1:1", "stages": STAGES}
    return LoadTest(**{**given_, **changes})


def test_the_script_ramps_and_fails_where_it_is_too_slow_or_refuses_too_much():
    """As the defaults say: 10, 50 and 0 callers, 95 % under two seconds, less than 5 % errors."""
    assert options(script(written())) == {
        "stages": [
            {"duration": "1m", "target": 10},
            {"duration": "3m", "target": 50},
            {"duration": "1m", "target": 0},
        ],
        "thresholds": {
            "http_req_duration": ["p(95)<2000"],
            "http_req_failed": ["rate<0.05"],
            "checks": ["rate>0.95"],
        },
    }


@given(st.text(), st.text())
def test_what_comes_from_outside_is_data_and_never_code(reason, name):
    """Quotes, line ends, comment marks and the script's own place-holders stay texts."""
    text = script(written(runbook=name or "x", body={"reason": reason, "at": "@URL@"}))
    body = re.search(r"^const body = JSON.stringify\((\{.*?^\})\);$", text, re.MULTILINE | re.DOTALL)
    assert json.loads(body[1]) == {"reason": reason, "at": "@URL@"}
    assert "\u2028" not in text
    (comment,) = [line for line in text.split("\n") if line.startswith("// Load test")]
    assert comment.isprintable()
    assert "*/" not in comment


@pytest.mark.parametrize(
    ("vus", "durations", "told"),
    [("10,50", "1m", "as many"), ("10", "soon", "duration"), ("many", "1m", "callers"), ("-1", "1m", "callers")],
)
def test_stages_that_cannot_be_read_say_why(vus, durations, told):
    """Numbers and durations belong together."""
    with pytest.raises(ValueError, match=told):
        stages(vus, durations)


def test_the_command_writes_a_script_for_a_runbook_in_force_only(tmp_path, monkeypatch, capsys):
    """Names and parameters are checked before anything is written; no secret is in the file."""
    for name in [name for name in os.environ if name.startswith("ROOTMEND_")]:
        monkeypatch.delenv(name)
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "count.yaml").write_text(
        """
        runbook:
          id: count
          author: tests
          trigger: {manual: true}
          parameters: [{name: factor, type: integer, required: true}]
          steps: [{name: Count, action: calculate, params: {expression: "{{ 1 + params.factor }}"}}]
        """
    )
    (tmp_path / "rootmend.yaml").write_text("runbooks: {paths: [books]}\napi: {token: very-secret, port: 9999}\n")
    config, out = ("--config", str(tmp_path / "rootmend.yaml")), tmp_path / "load.js"
    asked = ("loadtest", "count", "--param", "factor=2", "--vus", "3,0", "--durations", "10s,1s", "--p95", "500ms")
    assert main([*config, *asked, "--errors", "1", "-o", str(out)]) == 0
    text = out.read_text()
    assert options(text)["thresholds"]["http_req_duration"] == ["p(95)<500"]
    assert options(text)["thresholds"]["http_req_failed"] == ["rate<0.01"]
    assert '"dry_run": true' in text
    assert '"factor": "2"' in text
    assert "/api/v1/runbooks/count/execute" in text
    assert "http://127.0.0.1:9999" in text
    assert "very-secret" not in text
    capsys.readouterr()
    for words, told in (
        (("loadtest", "cuont"), "did you mean count?"),
        (("loadtest", "count"), "factor"),
        (("loadtest", "count", "--param", "facto=1"), "did you mean factor?"),
        (("loadtest", "count", "--param", "factor=1", "--p95", "fast"), "--p95"),
        (("loadtest", "count", "--param", "factor=1", "--vus", "1"), "--vus"),
    ):
        assert main([*config, *words]) == 2, words
        assert told in capsys.readouterr().err


@contextlib.asynccontextmanager
async def endpoint(publisher):
    """The endpoint over a real socket."""
    rig = Rig(runbook())
    runs = RunsApi(
        runbooks=lambda: {one.runbook.id: one for one in rig.runbooks},
        publisher=publisher,
        topic=TOPICS.run_requests,
        ledger=rig.store,
        executions=rig.store,
        clock=rig.clock,
        guard=token_guard(TOKEN),
        tenant=TENANT,
        cluster=CLUSTER,
        produce_timeout_seconds=1,
    )
    server = ApiServer(create_app(Health(), Metrics(), None, runs), port=0)
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


async def k6(path, url, token=TOKEN):
    """Exit code and output of a real k6; None where none has been built (``make loadtest`` does)."""
    program = binaries.program(folders().cache, "k6")
    if not program.is_file():
        return None
    given_ = {URL: url, "K6_NO_USAGE_REPORT": "true", **({BEARER: token} if token else {})}
    child = await asyncio.create_subprocess_exec(
        *(str(program), "run", "--quiet", str(path)),
        env={**os.environ, **given_},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    return child.returncode, said.decode()


def small(tmp_path):
    """A script that is over in three seconds."""
    path = tmp_path / "load.js"
    ramp = (Stage("1s", 4), Stage("2s", 0))
    path.write_text(script(written(runbook="raise-memory", stages=ramp, pause_seconds=0.2)))
    return path


@pytest.mark.timeout(300)
async def test_a_real_k6_is_content_with_the_endpoint(tmp_path):
    """Every request is accepted under an id of its own; the thresholds hold."""
    path, publisher = small(tmp_path), RecordingPublisher()
    async with endpoint(publisher) as url:
        ended = await k6(path, url)
    if ended is None:
        assert options(path.read_text())["stages"][0] == {"duration": "1s", "target": 4}
        return
    code, said = ended
    assert code == 0, said
    orders = [json.loads(message.value) for message in publisher.messages]
    assert len(orders) > 5
    assert len({order["request_id"] for order in orders}) == len(orders)
    assert all(order["dry_run"] and order["source"] == "api" for order in orders)


@pytest.mark.timeout(300)
async def test_a_real_k6_fails_where_thresholds_are_crossed_or_the_token_is_missing(tmp_path):
    """An endpoint that cannot reach Kafka is no success, and a test that cannot begin is none either."""
    path, publisher = small(tmp_path), RecordingPublisher()
    publisher.away = True
    async with endpoint(publisher) as url:
        ended = await k6(path, url)
        without = await k6(path, url, token="")
    if ended is None or without is None:
        assert f"set {BEARER}" in path.read_text()
        return
    assert ended[0] == 99, ended[1]
    assert "thresholds" in ended[1]
    assert without[0] not in {0, 99}
    assert BEARER in without[1]
