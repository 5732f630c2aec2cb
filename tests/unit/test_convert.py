"""`rb convert`: the canonical form of a runbook means the same, keeps its comments, and says what was decided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from executor.actions import action_schemas, default_actions
from runbooks.convert import converted
from runbooks.findings import RunbookError
from runbooks.loader import load_text
from services.cli.convert import convert

OWN = Path(__file__).parent / "dialects"
SHARED = Path(__file__).parents[3] / "shared" / "examples"
ACTIONS = action_schemas(default_actions())
FILES = [
    pytest.param(path, id=path.name)
    for folder, pattern in (
        (OWN, "*.yaml"),
        (SHARED, "guide-*.yaml"),
        (SHARED, "v1-high*.yaml"),
        (SHARED, "ops001-*.yaml"),
    )
    for path in sorted(folder.glob(pattern))
]


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(convert)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.parametrize("path", FILES)
def test_the_converted_runbook_is_the_same_model(path):
    """Nothing is lost on the way, and the result needs no further conversion."""
    made = converted(path.read_text(), path)
    one, other = load_text(path.read_text(), actions=ACTIONS), load_text(made.text, actions=ACTIONS)
    assert one.runbook == other.runbook
    assert made.lost == ()
    assert made.text.lstrip("#").count("runbook:\n") >= 1
    again = converted(made.text)
    assert again.text == made.text


def test_comments_come_along_and_decisions_are_comments_too():
    """The author's words stay where they belong; what was open is said where it was decided."""
    text = converted((OWN / "v1-restart.yaml").read_text()).text
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == "# Restarts what answers too slowly."
    assert lines[lines.index("# First look, then touch.") + 1] == "- id: look_around"
    assert lines[lines.index("# read as a text") + 1] == 'version: "1.0"'
    read = next(number for number, line in enumerate(lines) if line.startswith("# The file asks for deployment"))
    assert lines[read + 1] == "- id: read_deployment"


def test_what_stands_in_a_text_is_no_comment():
    """A `#` inside of a text stays there and is not copied."""
    text = converted((OWN / "v1-restart.yaml").read_text()).text
    assert text.count("# load") == 1


def test_json_becomes_yaml():
    """What programs sent, people can read and review."""
    body = {"id": "j", "version": 1.0, "trigger": {"manual": True}, "steps": [{"name": "no", "action": "wait"}]}
    made = converted(json.dumps(body))
    assert load_text(made.text).runbook == load_text(json.dumps(body)).runbook
    assert 'version: "1.0"' in made.text


def test_a_source_of_alerts_that_nobody_knows_is_named_as_lost(run, tmp_path):
    """The canonical form does not say who sends an alert: that is told, and the exit code is 1."""
    file = tmp_path / "a.yaml"
    file.write_text((OWN / "v1-restart.yaml").read_text().replace("source: prometheus", "source: zabbix"))
    result = run(file)
    assert result.exit_code == 1
    assert "not carried over: trigger.source zabbix" in result.stderr


def test_rb_convert_writes_a_file_and_never_over_one(run, tmp_path):
    """Exit code 0 and a file; a second time 2, and the file stays."""
    target = tmp_path / "new.yaml"
    result = run(OWN / "ops001-import.yaml", "-o", target)
    assert result.exit_code == 0, result.stderr
    assert "decided: ${ROWS_URL} came from the environment" in result.stderr
    before = target.read_text()
    assert load_text(before, actions=ACTIONS).runbook.id == "rb-7-import"
    assert run(OWN / "v1-restart.yaml", "-o", target).exit_code == 2
    assert target.read_text() == before


def test_a_file_that_is_no_runbook_is_refused_with_its_place(run, tmp_path):
    """Nothing is written from what cannot be read."""
    file = tmp_path / "a.yaml"
    file.write_text("runbook: {id: x}\n")
    result = run(file)
    assert result.exit_code == 1
    assert f"{file}:1:1: error RB103" in result.stderr
    assert run(tmp_path / "none.yaml").exit_code == 2
    with pytest.raises(RunbookError):
        converted("runbook: {id: x}")
