"""YAML and JSON from outside: bounded in size, depth and expansion, and never more than plain data."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fakes.hostile import content, params

from matcher.model import Received
from runbooks.findings import RunbookError
from runbooks.loader import load_text
from runbooks.mapping_files import load_mappings
from runbooks.yaml_source import MAX_NODES, parse_yaml
from services.access.roles_file import load_access
from services.api.guard import Refused
from services.api.receiver import read_webhook
from services.config_files import ConfigError, read_yaml
from services.intake.parse import Poison, parse
from services.intake.run_request import SCHEMA as RUN_REQUEST
from services.intake.settings import IntakeSettings

NOW = datetime(2026, 1, 2, tzinfo=UTC)
LIMITS = IntakeSettings(max_message_bytes=20_000)


def size_of(value):
    """How many values a text became, counted with every repetition."""
    count, waiting = 0, [value]
    while waiting and count <= 10 * MAX_NODES:
        one = waiting.pop()
        count += 1
        waiting += list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []
    return count


@pytest.mark.parametrize("case", params("yaml"))
def test_yaml_of_runbooks_mappings_and_policies_is_bounded(case):
    """Refused with its line, or read as few plain values; the same reader serves all of them."""
    text = content(case)
    refused, value = (), None
    try:
        value = parse_yaml(text).value
    except RunbookError as error:
        refused = error.findings
    if refused:
        assert case["must"] != "read"
        assert all(found.line >= 0 and len(found.message) < 1_000 for found in refused)
    else:
        assert case["must"] != "refused"
        assert size_of(value) <= MAX_NODES
    for load in (load_text, load_mappings):
        with pytest.raises(RunbookError):
            load(text)


@pytest.mark.parametrize("case", params("yaml"))
def test_yaml_of_settings_and_roles_is_bounded(case, tmp_path):
    """The start stops with the file's name, or the values are few; nothing is constructed but plain data."""
    path = tmp_path / "rootmend.yaml"
    path.write_bytes(content(case))
    refused, values = "", {}
    try:
        values = read_yaml(path).values
    except ConfigError as error:
        refused = str(error)
    if refused:
        assert str(path) in refused
        assert case["must"] != "read"
    else:
        assert case["must"] != "refused" or case["id"] in LENIENT or case.get("settings_too") is False
        assert size_of(dict(values)) <= MAX_NODES
    with pytest.raises(ConfigError):
        load_access(path)


LENIENT = frozenset({"key-mapping", "key-template"})
"""What the settings refuse later, as unknown keys."""


@pytest.mark.parametrize("case", params("messages"))
def test_a_message_becomes_a_dead_letter_or_signals_within_bounds(case):
    """Never an error of ours, whatever the bytes are."""
    parsed = parse("alerts", 0, 0, content(case), [], NOW, LIMITS)
    dead = all(isinstance(one, Poison) for one in parsed)
    assert len(parsed) >= 1
    for one in parsed:
        if isinstance(one, Poison):
            assert str(one.error_code) != "internal", one.detail
            assert len(one.detail) < 2_000
        else:
            assert isinstance(one, Received)
            _names_are_names(one.signal)
    assert dead or case["must"] != "dead", parsed
    assert not dead or case["must"] != "read", parsed


@pytest.mark.parametrize("topic", ["alerts", "events.normalized", "alerts.enriched", "rca.results"])
def test_who_may_write_alerts_may_not_give_orders(topic):
    """A request for a runbook is read from its own topic only, however it is written."""
    order = b'{"schema":"run.request/v1","runbook":"x","alerts":[],"etype":"k8s.event","event_id":"e1"}'
    schema = RUN_REQUEST.encode()
    for body in (order.replace(b"run.request/v1", schema), b'{"schema":"' + schema + b'"}'):
        (one,) = parse(topic, 0, 0, body, [], NOW, LIMITS)
        assert isinstance(one, Poison)
        assert "is read from" in one.detail


def _names_are_names(signal):
    for name in (signal.subject.name, signal.subject.namespace, signal.subject.kind):
        assert name.isprintable()
        assert not set(name) & set("/\\%?#*{}<>'\"` ")
        assert name not in {".", ".."}


@pytest.mark.parametrize("case", params("messages"))
def test_a_body_that_is_no_webhook_is_refused(case):
    """With a reason for its sender, and without a crash of the endpoint."""
    with pytest.raises(Refused) as refused:
        read_webhook(content(case))
    assert refused.value.status == 400
    assert len(refused.value.reason) < 1_000
