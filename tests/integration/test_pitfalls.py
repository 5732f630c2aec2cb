"""Pitfalls of the runbook language that need the real graph or the whole pipeline; docs/pitfalls.md lists all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fakes.pipeline_rig import NAMESPACE, TENANT, Rig, runbook
from fakes.stores import real_store

from executor.actions.check import CheckNeo4j
from executor.model import Outcome, Verdict
from runbooks.findings import RunbookError
from runbooks.loader import load_file, load_text
from services.records import DecisionKind

SHARED = Path(__file__).parents[3] / "shared" / "examples" / "guide-oomkilled-full.yaml"
QUERY = """\
MATCH (n:Episodic)-[:ABOUT]->(r:Resource {rid: $resource_rid})
WHERE n.event_time > $incident_time + duration({minutes: 5}) AND n.reason IN ['OOMKilled', 'CrashLoopBackOff']
RETURN count(n) AS new_failures
"""


def _query():
    """The guide's own query where it is at hand; it also asks for the incident's event."""
    if not SHARED.exists():
        return QUERY
    step = next(step for step in load_file(SHARED).runbook.steps if step.action == "check_neo4j")
    return step.params["query"]


def _checking(good):
    rig = Rig(
        runbook(
            steps=[
                {"name": "raise", "action": "set", "params": {"name": "{{ target.name }}", "value": "512Mi"}},
                {
                    "name": "no new failures",
                    "action": "check_neo4j",
                    "params": {"query": _query(), "expect": "new_failures == 0"},
                },
            ]
        )
    )
    rig.actions = {**rig.actions, "check_neo4j": CheckNeo4j()}
    rig.good = good
    return rig


async def _ended(rig):
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    (record,) = [found.record for found in rig.store.executions.values()]
    return record


@pytest.mark.stack
@pytest.mark.parametrize(
    ("good", "verdict", "outcome"),
    [("512Mi", Verdict.VERIFIED, Outcome.SUCCESS), ("1Gi", Verdict.NOT_FIXED, Outcome.ROLLBACK)],
)
async def test_pitfall_2_a_check_that_always_passes_proves_nothing(stack, good, verdict, outcome):
    """The query counts failures of a resource that is gone, so it holds; the pipeline looks at the owner regardless."""
    rig = _checking(good)
    async with real_store(stack) as store:
        rig.reader = store.reader
        assert await store.reader.read("RETURN 1 AS one", {}) == [{"one": 1}]
        record = await _ended(rig)
    check = next(step for step in record.steps if step.step_id == "no_new_failures")
    assert check.status.value == "succeeded"
    assert check.output["first"] == {"new_failures": "0"}
    assert (record.verdict, record.outcome) == (verdict, outcome)


async def test_pitfall_7_rollback_uses_the_values_from_before_the_change():
    """Between the change and the rollback somebody else changes the value: what comes back is what was read first."""
    rig = Rig(
        runbook(
            steps=[
                {"name": "read", "action": "look", "params": {"name": "{{ target.name }}"}, "output_var": "before"},
                {"name": "raise", "action": "set", "params": {"name": "{{ target.name }}", "value": "512Mi"}},
            ],
            rollback=[
                {"name": "back", "action": "set", "params": {"name": "{{ target.name }}", "value": "{{ before }}"}}
            ],
        )
    )
    rig.good = "never"
    reads = []

    def meddle():
        reads.append(rig.tiny.values["app"])
        if rig.tiny.values["app"] == "512Mi":
            rig.tiny.values["app"] = "768Mi"

    rig.cluster.before_read.append(meddle)
    record = await _ended(rig)
    assert record.outcome is Outcome.ROLLBACK
    assert "768Mi" in {*reads, *rig.tiny.values.values()}
    assert rig.tiny.values["app"] == "256Mi"


TRAPS = [
    pytest.param("  version: 1.0", None, id="version"),
    pytest.param("  on: x", ("RB011", 3, 3, 'write "on":'), id="on-as-a-key"),
    pytest.param("  author: no", ("RB108", 3, 11, 'write "no"'), id="no-as-a-text"),
    pytest.param("  id: y", ("RB005", 3, 3, "keep one of them"), id="duplicate-key"),
    pytest.param("\tname: x", ("RB004", 3, 1, "indent with spaces"), id="tab"),
    pytest.param(
        "  tags: &a [&b [x, x], *b, *b]\n" + "".join(f"  t{n}: &t{n} [{', '.join(['*a'] * 9)}]\n" for n in range(1)),
        ("RB102", 4, 3, ""),
        id="anchors-stay-plain",
    ),
    pytest.param("  name: *nobody", ("RB003", 3, 9, "define it before with &nobody"), id="alias-of-nothing"),
]


@pytest.mark.parametrize(("line", "expected"), TRAPS)
def test_pitfall_8_every_yaml_trap_gets_file_line_column_and_advice(line, expected):
    """What YAML reads differently than people do is told where it stands, or read as it was meant."""
    text = f"runbook:\n  id: x\n{line}\n  trigger: {{root_cause_reason: a}}\n  steps: [{{name: a, action: wait}}]\n"
    if expected is None:
        assert load_text(text).runbook.version == "1.0"
        return
    with pytest.raises(RunbookError) as refused:
        load_text(text, Path("mine.yaml"))
    code, row, column, advice = expected
    found = [one for one in refused.value.findings if one.code == code]
    assert (found[0].path, found[0].line, found[0].column) == (Path("mine.yaml"), row, column)
    assert advice in found[0].advice


def test_pitfall_8_octal_modes_are_read_as_yaml_does_and_said():
    """0644 is 420: the author hears it, and JSON never changes a number."""
    text = (
        "runbook:\n  id: x\n  trigger: {root_cause_reason: a}\n  steps:\n"
        "    - {name: a, action: kubectl_apply, params: {manifest: {mode: 0644}}}\n"
    )
    loaded = load_text(text)
    assert loaded.runbook.steps[0].params["manifest"] == {"mode": 420}
    (found,) = loaded.findings
    assert (found.code, found.line, found.column) == ("RB013", 5, 66)
    body = {"id": "x", "trigger": {"manual": True}, "steps": [{"name": "a", "action": "wait", "params": {"m": 644}}]}
    assert load_text(json.dumps(body)).runbook.steps[0].params == {"m": 644}


def test_pitfall_8_aliases_of_aliases_are_limited():
    """Nine lines that would expand to gigabytes are refused at once."""
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(RunbookError) as refused:
        load_text("\n".join(lines))
    assert [(one.code, one.line) for one in refused.value.findings] == [("RB007", 5)]


async def test_a_sick_workload_without_the_check_ends_the_same_way():
    """The verification does not depend on what the runbook checks by itself."""
    rig = Rig()
    rig.good = "1Gi"
    record = await _ended(rig)
    assert (record.verdict, record.outcome) == (Verdict.NOT_FIXED, Outcome.ROLLBACK)
    assert rig.only(DecisionKind.PERMIT).signal.tenant == TENANT
    assert NAMESPACE in record.plan.target_key


def test_the_page_of_pitfalls_names_tests_that_exist():
    """Eight rows, and every test that they name can be found in its file."""
    root = Path(__file__).parents[2]
    page = (root / "docs" / "pitfalls.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith(tuple(f"| {number} |" for number in range(1, 9)))]
    assert len(rows) == 8
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+?)_\.\.\.)?`", row)
        assert named, row
        for file, start in named:
            assert f"def {start}" in (root / file).read_text(), (file, start)
