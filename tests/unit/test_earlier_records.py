"""Executions that an earlier release wrote can still be read."""

from __future__ import annotations

import json

from fakes.graph_samples import execution, incident, signal

from services.graph.execution_rows import _plan_facts, record_of


def test_a_field_that_moved_out_of_the_record_is_read_from_its_own_property():
    """What the old record says of it does not count, and does not keep the execution from being read."""
    facts = _plan_facts(execution(incident(signal())))
    record = {**json.loads(facts["record"]), "rollback_with": "of old", "kpis": []}
    row = {**facts, "record": json.dumps(record), "status": "running", "rollback_with": "back"}
    assert record_of(row, ()).rollback_with == "back"
