"""The published contracts are what the code reads and writes."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import typer
import yaml
from typer.testing import CliRunner

from matcher.calibration import BUILT_IN
from matcher.reasons import FAMILIES
from services import records
from services.cli.contracts import contracts
from services.intake.asyncapi import asyncapi, message_names, message_schema, schemas
from services.intake.contracts import (
    OUTBOUND,
    ApprovalMessage,
    DeadLetter,
    DecisionKind,
    DecisionMessage,
    ExecutionEvent,
    RequestMessage,
)
from services.intake.errors import ErrorCode

AT = datetime(2025, 10, 6, 10, 10, tzinfo=UTC)
app = typer.Typer()
app.command()(contracts)

WRITTEN = [
    DecisionMessage(
        decision_id="d",
        kind="refusal",
        incident_id="i",
        tenant="t",
        cluster="c",
        event_id="e",
        reason="OOMKilled",
        check="confidence",
        message="0.5 is below 0.8",
        numbers={"confidence": 0.5, "limit": "0.8"},
        decided_at=AT,
    ),
    RequestMessage(execution_id="x", plan_hash="h", target_key="k", decision_id="d", requested_at=AT),
    ExecutionEvent(execution_id="x", incident_id="i", event="started", status="running", at=AT),
    ApprovalMessage(approval_id="a", execution_id="x", status="pending", plan_hash="h", expires_at=AT, at=AT),
    DeadLetter(error="bad_json", detail="x", topic="t", partition=0, offset=1, at=AT),
]


def references(node):
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_of_the_document_leads_somewhere():
    """Nothing in the AsyncAPI document points into the void."""
    document = asyncapi()
    found = list(references(document))
    assert found
    for reference in found:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_the_document_covers_every_topic_and_shape():
    """Each topic is a channel with an operation, each model a message."""
    document = asyncapi({"alerts": "my.alerts"})
    assert document["asyncapi"] == "3.0.0"
    assert document["channels"]["alerts"]["address"] == "my.alerts"
    assert document["channels"]["rca"]["address"] == "rca.results"
    assert set(document["components"]["messages"]) == set(message_names())
    assert len(document["operations"]) == len(document["channels"]) == 10
    assert {o["action"] for o in document["operations"].values()} == {"send", "receive"}


def test_every_schema_is_valid_json_schema():
    """Editors and validators can use what is published."""
    for schema in schemas().values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("message", WRITTEN, ids=lambda m: type(m).__name__)
def test_what_is_written_fits_its_schema(message):
    """A consumer that validates with the published schema accepts what we write; times are RFC 3339."""
    raw = json.loads(message.value())
    name = next(name for name, model in OUTBOUND.items() if model is type(message))
    jsonschema.validate(raw, message_schema(name))
    assert raw["schema"].endswith("/v1")
    assert "2025-10-06T10:10:00Z" in message.value().decode()
    assert type(message).model_validate_json(message.value()) == message


def test_every_kind_of_decision_can_be_published():
    """A decision that the ledger knows and the contract does not would stop the partition."""
    assert set(get_args(DecisionKind)) == {kind.value for kind in records.DecisionKind}


def test_a_number_that_json_cannot_hold_becomes_text():
    """A refusal because of a NaN must still be published."""
    raw = {**WRITTEN[0].model_dump(), "numbers": {"confidence": math.nan, "limit": math.inf, "count": 3}}
    assert DecisionMessage.model_validate(raw).numbers == {"confidence": "nan", "limit": "inf", "count": 3}


def test_the_command_prints_yaml_and_json():
    """Rb contracts gives the same document in both formats."""
    run = CliRunner().invoke
    as_yaml, as_json = run(app, []), run(app, ["--format", "json"])
    assert as_yaml.exit_code == as_json.exit_code == 0
    assert yaml.safe_load(as_yaml.stdout) == json.loads(as_json.stdout) == asyncapi()


def test_the_command_prints_one_schema_or_says_which_there_are():
    """--schema takes the name of a shape, a topic or a model; an unknown name is wrong use."""
    run = CliRunner().invoke
    by_shape = run(app, ["--schema", "rca_result", "--format", "json"])
    by_model = run(app, ["--schema", "RcaResult", "--format", "json"])
    assert json.loads(by_shape.stdout) == json.loads(by_model.stdout)
    wrong = run(app, ["--schema", "nothing"])
    assert wrong.exit_code == 2
    assert "rca_result" in wrong.output


def test_the_guide_names_every_code_family_and_table():
    """docs/contracts.md says what the code does."""
    text = (Path(__file__).parents[2] / "docs" / "contracts.md").read_text()
    assert all(f"| `{code}` | {code.meaning} |" in text for code in ErrorCode)
    assert all(name in text for head, names in FAMILIES.items() for name in (head, *names))
    for writer, table in BUILT_IN.items():
        knots = ", ".join(f"{raw:g}: {confidence:g}" for raw, confidence in table.knots)
        assert f"| `{writer}` | {knots} | {table.source} |" in text
