"""Two releases side by side: what the older of them reads, leaves alone, and never passes on."""

from __future__ import annotations

import json

import pytest
from fakes.graph_samples import decision, execution, incident, permitted, signal, step_run
from structlog.testing import capture_logs

from executor.errors import TooNew, Unreadable
from executor.model import Plan
from safety.approvals import ask
from services.graph.decision_rows import decision_of
from services.graph.execution_rows import approval_of, approval_row, execution_row, record_of, step_row
from services.graph.formats import FORMAT, Unreadables, readable


def row_of(written):
    """The properties of a permitted execution, as the graph would give them."""
    row = execution_row(written, written.execution)
    return {"id": row["id"], "status": row["status"], **row["facts"]}


def test_fields_of_a_newer_release_are_left_out_at_every_depth():
    """The older process goes on with a plan that a newer one has written."""
    written = permitted()
    row = row_of(written)
    plan = json.loads(row["plan"])
    plan["of_tomorrow"] = {"a": 1}
    plan["steps"][0]["of_tomorrow"] = True
    plan["steps"][0]["changes"] = [{"verb": "patch", "summary": "more", "of_tomorrow": 1}]
    row |= {"plan": json.dumps(plan), "of_tomorrow": "x"}
    row["record"] = json.dumps({**json.loads(row["record"]), "of_tomorrow": [1]})
    step = {**step_row(row["id"], step_run(row["id"])), "of_tomorrow": 1}
    read = record_of(row, [step])
    assert (read.id, read.plan.steps[0].changes[0].summary) == (row["id"], "more")
    assert read.steps[0].step_id == "raise"


def test_input_of_people_stays_strict():
    """Only what comes from the store is read with indulgence."""
    text = json.dumps({**json.loads(permitted().execution.plan.model_dump_json()), "of_tomorrow": 1})
    with pytest.raises(ValueError, match="of_tomorrow"):
        Plan.model_validate_json(text)


@pytest.mark.parametrize(
    ("property_name", "value"),
    [
        ("plan", "{broken"),
        ("plan", None),
        ("plan", json.dumps({"runbook_id": 7})),
        ("record", "[]"),
        ("status", "dreaming"),
        ("outcome", "of tomorrow"),
    ],
)
def test_a_record_that_makes_no_sense_is_one_error_that_names_it(property_name, value):
    """Whatever is wrong with it, callers know what to catch."""
    row = {**row_of(permitted()), property_name: value}
    with pytest.raises(Unreadable, match=row["id"]):
        record_of(row, [])


def test_the_error_does_not_repeat_values():
    """A plan may hold what must not be in a log."""
    row = {**row_of(permitted()), "plan": json.dumps({"runbook_id": {"password": "hunter2"}})}
    with pytest.raises(Unreadable) as caught:
        record_of(row, [])
    assert "hunter2" not in str(caught.value)


def test_a_newer_major_format_is_not_read_at_all():
    """Ignoring a field is only right where the writer says so: by the format."""
    row = {**row_of(permitted()), "format": FORMAT + 1}
    with pytest.raises(TooNew, match="newer"):
        record_of(row, [])
    written = decision()
    question = ask("e", "i", "h", ("why",), now=written.decided_at, timeout=written.decided_at - written.first_seen)
    with pytest.raises(TooNew):
        approval_of({**approval_row(question), "format": FORMAT + 1})
    with pytest.raises(TooNew):
        decision_of({"id": "d", "format": "2"})


def test_records_without_a_format_are_those_of_earlier_releases():
    """What was written before formats were, is read."""
    row = row_of(permitted(execution=execution(incident(signal()))))
    del row["format"]
    assert record_of(row, []).id == row["id"]


def test_one_bad_record_does_not_hide_the_others_and_is_told_of_once():
    """A list is what can be read of it."""
    told, counted = Unreadables(), []
    told.tell = lambda *what: counted.append(what)
    rows = [{"id": "a", "n": 1}, {"id": "b"}, {"id": "c", "n": 3}]
    with capture_logs() as lines:
        for _ in range(3):
            assert readable(told, "decision", rows, lambda row: row["n"]) == [1, 3]
    assert [(line["kind"], line["id"]) for line in lines] == [("decision", "b")]
    assert [what[:2] for what in counted] == [("decision", "b")]
