"""Every line of the language is used by a test on real servers, and the page that says so is true."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import docs_coverage
from fakes import coverage

ROOT = Path(__file__).parents[2]


def test_every_line_of_the_language_is_used_by_a_test_on_real_servers():
    """A new key, a new word or a new action needs a test that runs it; see docs/coverage.md."""
    record = coverage.read()
    assert [line for line in coverage.lines() if not record.get(line)] == []


def test_the_record_names_no_line_that_does_not_exist():
    """What was taken out of the language leaves the record too."""
    assert set(coverage.read()) - set(coverage.lines()) == set()


def test_every_test_that_the_record_names_exists_and_runs_on_real_servers():
    """A renamed or deleted test proves nothing."""
    missing = []
    for test in {test for tests in coverage.read().values() for test in tests}:
        path, _, name = test.partition("::")
        source = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).is_file() else ""
        functions = {
            n.name for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        if name not in functions or "pytest.mark.stack" not in source:
            missing.append(test)
    assert missing == []


def test_the_page_is_the_one_that_is_generated():
    """`make docs` was run after the last change."""
    assert (ROOT / "docs" / "coverage.md").read_text(encoding="utf-8") == docs_coverage.render()


def test_every_line_has_a_section_of_the_page():
    """No key is left out of the page."""
    assert [line for line in coverage.lines() if not docs_coverage.part_of(line)] == []


def test_what_a_test_no_longer_uses_is_found():
    """Only tests that passed in this run are judged."""
    run = coverage.Coverage()
    run.seen["a"] |= {"steps.retry"}
    run.passed |= {"a", "b"}
    record = {"steps.retry": ["a", "b", "c"], "steps.when": ["c"]}
    assert run.broken(record) == ["b no longer uses steps.retry"]
    assert run.merged(record)["steps.retry"] == ["a", "c"]
    assert run.merged(record)["steps.when"] == ["c"]


async def test_a_run_is_noted_with_the_keys_of_its_runbook_and_the_actions_that_succeeded(tmp_path):
    """The runbook that the execution is pinned to counts, and the one in the folder where nothing was executed."""

    class World:
        folder = tmp_path

        async def query(self, text, **parameters):
            assert parameters == {"events": ["e1"]}
            body = {"id": "x", "trigger": {"manual": True}, "steps": [{"name": "a", "action": "wait", "when": "true"}]}
            used = json.dumps({"runbook": body})
            return [{"event": "e1", "runbook": "y", "texts": [used], "actions": ["kubernetes/patch", "acme_thing"]}]

    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "y.yaml").write_text(json.dumps({"runbook": {"id": "y", "safety": {"cooldown": "1m"}}}))
    run = coverage.Coverage()
    await run.note(World(), {"e1": {"test_a"}})
    assert {"steps.when", "trigger.manual", "safety.cooldown", "action kubectl_patch"} <= run.seen["test_a"]
    assert "action acme_thing" not in run.seen["test_a"]
