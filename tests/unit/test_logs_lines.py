"""Log lines carry the ids that tie a signal to its steps, and no secrets."""

from __future__ import annotations

import asyncio
import io
import json
import logging

import pytest
import structlog
from hypothesis import assume, given
from hypothesis import strategies as st

from services import logs
from services.logs import LogHooks, Masker


@pytest.fixture
def lines(monkeypatch):
    """Logs as JSON lines; logging is as before afterwards."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, structlog.get_config())
    monkeypatch.setattr(logs, "masker", logs.Masker())
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.captureWarnings(capture=False)
    root.handlers[:], level, config = before
    root.setLevel(level)
    structlog.configure(**config)


def test_ids_are_on_every_line_inside_also_in_tasks_and_libraries(lines):
    """From the signal to the step, one search finds the whole story."""

    async def work():
        structlog.get_logger("a").info("own", step="patch")
        logging.getLogger("a.library").warning("theirs %s", 1)

    async def story():
        with logs.correlated(event_id="e1", incident_id="i1", execution_id=""):
            await asyncio.create_task(work())
        structlog.get_logger("a").info("outside")

    asyncio.run(story())
    own, theirs, outside = lines()
    assert (own["event"], own["event_id"], own["incident_id"], own["step"]) == ("own", "e1", "i1", "patch")
    assert "execution_id" not in own
    assert (theirs["event"], theirs["event_id"], theirs["level"]) == ("theirs 1", "e1", "warning")
    assert "event_id" not in outside
    assert own["timestamp"].endswith("Z")


def test_secrets_are_masked_by_name_by_value_and_by_looks(lines):
    """Whatever way a secret takes into a line, it does not come out."""
    logs.masker.register("hunter2-known")
    logger = structlog.get_logger("a")
    logger.info("one", password="hunter2a", nested={"api_key": "hunter2b", "user": "me"}, items=[{"token": "hunter2c"}])
    logger.info("the server said hunter2-known", url="redis://me:hunter2d@host/0")
    logging.getLogger("b").error("header Authorization: Bearer hunter2efgh")
    text = json.dumps(lines())
    assert "hunter2" not in text
    assert '"user": "me"' in text
    assert "redis://me:***@host/0" in text


def test_secrets_in_exceptions_are_masked(lines):
    """A driver repeats what it was given in its error."""
    logs.masker.register("hunter2-known")

    def log_in():
        raise ConnectionError("cannot log in with hunter2-known at bolt://neo4j:hunter2x@host")

    try:
        log_in()
    except ConnectionError:
        structlog.get_logger("a").exception("failed")
        logging.getLogger("b").exception("failed too")
    assert len(lines()) == 2
    assert "hunter2" not in json.dumps(lines())
    assert "ConnectionError" in json.dumps(lines())


def test_ordinary_words_are_not_masked():
    """A log that masks everything says nothing."""
    masker = Masker()
    masker.register("a")
    masker.register("")
    value = {"tokens_left": 3, "reason": "a basic check", "paused": False, "secret_name": "regcred", "token": ""}
    assert masker.value(value) == value


@given(st.text(min_size=8).filter(lambda text: not set(text) <= set("0123456789abcdefABCDEF-. ")), st.text(), st.text())
def test_a_registered_secret_never_comes_through(secret, before, after):
    """Wherever it stands in a text."""
    assume(secret.lower() not in ("undefined", "default"))
    masker = Masker()
    masker.register(secret)
    assert secret not in masker.text(f"{before} {secret} {after}").replace(logs.MASK, "")


def test_a_secret_that_begins_another_leaves_no_rest():
    """The longer one is masked as a whole."""
    masker = Masker()
    masker.register("hunter2")
    masker.register("hunter2-and-more")
    assert masker.text("x hunter2-and-more y") == "x *** y"


def test_events_of_the_core_become_lines(lines):
    """What happens with every message is for debug, the rest for info."""
    hooks = LogHooks()
    hooks.event("execution.started", runbook="fix", trigger_type="alert")
    hooks.event("lag", topic="alerts", partition=0, value=3)
    hooks.event("odd", event="a fact of that name")
    started, lag, odd = lines()
    assert (started["event"], started["level"], started["runbook"]) == ("execution.started", "info", "fix")
    assert lag["level"] == "debug"
    assert odd["about"] == "a fact of that name"


def test_human_lines_have_no_colours_in_a_file(lines):
    """Escape sequences belong on terminals."""
    stream = io.StringIO()
    logs.configure("info", "human", stream)
    structlog.get_logger("a").info("hello", password="hunter2")
    assert "hello" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
