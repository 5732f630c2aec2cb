"""Runbooks are laid out in one way, and say the same afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from runbooks.findings import RunbookError
from runbooks.formatting import formatted
from runbooks.loader import load_text
from runbooks.yaml_source import parse_yaml
from services.cli.fmt import fmt

CATALOG = sorted((Path(__file__).parents[2] / "runbooks" / "catalog").rglob("*.yaml"))
STEP = {
    "name": "Raise it",
    "id": "raise",
    "params": '{seconds: 1, condition: "a # b"}',
    "action": "wait",
    "timeout": "1m",
    "on_failure": "abort",
    "when": '"{{ true }}"',
}
TRIGGER = {"root_cause_reason": "[OOMKilled]", "min_confidence": "0.9", "labels": "{team: a}", "severity": "critical"}
SAFETY = {"require_approval": "true", "blast_radius_limit": "3", "cooldown": "5m"}


@st.composite
def untidy(draw):
    """A runbook with its keys in any order, comments anywhere between them, and an odd indentation."""
    notes = iter(range(1000))

    def block(keys, indent, first=""):
        lines = []
        for number, (key, value) in enumerate(draw(st.permutations(sorted(keys.items())))):
            lead = first if first and number == 0 else indent
            if not (first and number == 0) and draw(st.booleans()):
                lines.append(f"{indent}# note {next(notes)}")
            if not (first and number == 0) and draw(st.integers(0, 5)) == 0:
                lines.append("")
            lines.append(f"{lead}{key}: {value}" + (f"  # note {next(notes)}" if draw(st.booleans()) else ""))
        return "\n".join(lines)

    deep = "  " * draw(st.integers(1, 3))
    steps = "\n".join(block({**STEP, "id": f"s{n}"}, deep * 2 + "  ", deep * 2 + "- ") for n in range(2))
    parts = {
        "id": "id: x  # the id",
        "version": "version: 1.0",
        "trigger": f"trigger:\n{block(TRIGGER, deep * 2)}",
        "safety": f"safety:\n{block(SAFETY, deep * 2)}",
        "steps": f"steps:\n{steps}",
        "description": f"description: |\n{deep * 3}# no note, but text\n{deep * 3}two lines",
    }
    body = []
    for key in draw(st.permutations(sorted(parts))):
        if draw(st.booleans()):
            body.append(f"{deep}# note {next(notes)} about {key}")
        body.append(deep + parts[key])
    return "# the head\nrunbook:\n" + "\n".join(body) + "\n"


@settings(max_examples=60, deadline=None)
@given(untidy())
def test_what_a_runbook_says_and_every_comment_stay(text):
    """Whatever order and indentation it comes in; laid out twice is laid out once."""
    after = formatted(text)
    assert parse_yaml(after).value == parse_yaml(text).value
    assert load_text(after).runbook == load_text(text).runbook
    notes = [part for line in text.splitlines() for part in [line.partition("# note")[2]] if part]
    assert sorted(part for line in after.splitlines() for part in [line.partition("# note")[2]] if part) == sorted(
        notes
    )
    assert "# the head" in after
    assert formatted(after) == after


def test_keys_come_in_the_order_of_the_language_with_the_comments_above_them():
    """A comment goes where its key goes."""
    text = """\
runbook:
    steps:
    - action: wait
      # half a minute
      params: {seconds: 30}
      name: Wait
    # who may start it
    trigger:
        min_confidence: 0.9  # rather sure
        root_cause_reason: [A]
    id: x
"""
    assert (
        formatted(text)
        == """\
runbook:
  id: x
  # who may start it
  trigger:
    root_cause_reason: [A]
    min_confidence: 0.9  # rather sure
  steps:
    - name: Wait
      action: wait
      # half a minute
      params: {seconds: 30}
"""
    )


@pytest.mark.parametrize("file", CATALOG, ids=lambda file: file.stem)
def test_the_catalog_is_laid_out(file):
    """What we ship is what `rb fmt` would write."""
    text = file.read_text(encoding="utf-8")
    assert file.name.startswith("acceptance") or "fixtures" in file.parts or formatted(text) == text


@pytest.mark.parametrize("text", ["runbook: [", "id: x\nsteps: []\n", "- a\n", "runbook: {id: x, id: y}\n"])
def test_what_is_not_a_runbook_is_refused(text):
    """With a finding, and never half written."""
    with pytest.raises(RunbookError):
        formatted(text)


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(fmt)
    return lambda *arguments, **more: CliRunner().invoke(app, [*map(str, arguments)], **more)


def test_files_are_written_only_when_that_was_asked_for(run, tmp_path):
    """--check and --diff change nothing and end with 1; then it is done, and there is nothing left to do."""
    file = tmp_path / "a.yaml"
    file.write_text("runbook:\n    steps: []\n    id: x\n")
    for option in ("--check", "--diff"):
        assert run(option, tmp_path).exit_code == 1
        assert file.read_text().startswith("runbook:\n    steps")
    assert "+  id: x" in run("--diff", file).output
    assert run(tmp_path).exit_code == 0
    assert file.read_text() == "runbook:\n  id: x\n  steps: []\n"
    assert run("--check", tmp_path).exit_code == 0


def test_wrong_use_and_bad_files_are_told(run, tmp_path):
    """2 for a path that is not there, 1 for a file that is no runbook, and the others are still laid out."""
    assert run(tmp_path / "nosuch").exit_code == 2
    assert run(tmp_path).exit_code == 2
    (tmp_path / "bad.yaml").write_text("runbook: [\n")
    (tmp_path / "good.yaml").write_text("runbook:\n    id: x\n")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert (tmp_path / "good.yaml").read_text() == "runbook:\n  id: x\n"
    assert run("-", input="runbook:\n    id: x\n").output == "runbook:\n  id: x\n"
