"""What is written to Kafka: no secrets, still JSON, and orders as they are."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from services.intake.dead_letter import dead_letter
from services.intake.parse import Poison
from services.kafka.masking import masked_values
from services.masking import Masker
from services.settings import Topics

TOPICS = Topics()
SECRET = "hunter2-known"


@pytest.fixture
def mask():
    masker = Masker()
    for value in (SECRET, "20260101"):
        masker.register(value)
    return masked_values(TOPICS, masker)


@pytest.mark.parametrize("topic", [TOPICS.decisions, TOPICS.executions, TOPICS.approvals])
def test_messages_are_masked_and_stay_json(mask, topic):
    """A number that happens to be a secret must not break the message."""
    value = json.dumps({"message": f"refused {SECRET}", "count": 20260101}).encode()
    assert json.loads(mask(topic, value)) == {"message": "refused ***", "count": 20260101}


@pytest.mark.parametrize("topic", [TOPICS.requests, TOPICS.run_requests])
def test_orders_pass_as_they_are(mask, topic):
    """A changed order would mean something else."""
    value = json.dumps({"params": {"x": f"token={SECRET}"}}).encode()
    assert mask(topic, value) is value


def test_what_holds_no_secret_is_the_same_bytes(mask):
    """Byte for byte, with its order of keys."""
    value = b'{"b": 1,   "a": "nothing"}'
    assert mask(TOPICS.decisions, value) is value


@pytest.mark.parametrize("tail", [b"", b"\xff\xfe"])
def test_a_dead_letter_is_masked_inside_of_the_bytes_that_it_quotes(mask, tail):
    """Length and hash stay those of the original, so that the change shows."""
    original = f"not JSON: postgres://app:{SECRET}@db".encode() + tail
    letter = dead_letter(
        Poison("not_json", f"at {SECRET}"), topic="alerts", partition=0, offset=7, key=SECRET.encode(), value=original,
        headers=[("h", f"Bearer {SECRET}".encode())], at=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip
    told = json.loads(mask(TOPICS.dlq, letter.value()))
    assert base64.b64decode(told["value_base64"]) == b"not JSON: postgres://app:***@db" + tail
    assert base64.b64decode(told["key_base64"]) == b"***"
    assert base64.b64decode(told["headers"][0]["value_base64"]) == b"Bearer ***"
    assert (told["detail"], told["value_bytes"]) == ("at ***", len(original))
    assert told["value_sha256"] == letter.value_sha256
