"""``rb validate`` says what is wrong where, for people, programs and pull requests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from runbooks.loader import load_folder
from services.cli.validate import known_actions, runbook_schema, validate

CATALOG = Path(__file__).parents[2] / "runbooks" / "catalog"
BAD = "runbook:\n  id: x\n  trigger: {root_cause_reason: a}\n  steps:\n    - {name: a, acton: wait}\n"
WARNED = "runbook: {id: y, trigger: {root_cause_reason: '*'}, steps: [{name: a, action: wait, params: {seconds: 1}}]}\n"


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(validate)
    app.command("schema")(runbook_schema)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


def test_a_good_folder_gives_zero(run):
    """The catalog passes also when warnings count."""
    result = run("validate", "--strict", CATALOG)
    assert result.exit_code == 0, result.output
    assert "20 of 20 runbooks can be used, 0 errors, 0 warnings" in result.output


def test_a_bad_file_gives_one_and_the_place(run, tmp_path):
    """File, line, column, code and advice."""
    (tmp_path / "bad.yaml").write_text(BAD)
    result = run("validate", tmp_path)
    assert result.exit_code == 1
    assert f"{tmp_path / 'bad.yaml'}:5:17: error RB102 steps[0] has no key acton" in result.output
    assert "did you mean action?" in result.output


def test_warnings_fail_only_when_asked(run, tmp_path):
    """A warning is no reason to stop a release, unless the team says so."""
    (tmp_path / "warned.yaml").write_text(WARNED)
    assert run("validate", tmp_path).exit_code == 0
    assert run("validate", "--strict", tmp_path).exit_code == 1


def test_one_id_twice_is_an_error_in_a_folder_and_a_warning_between_named_files(run, tmp_path):
    """Files that are named one by one need not be meant for one folder."""
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(WARNED)
    assert run("validate", tmp_path).exit_code == 1
    result = run("validate", tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert result.exit_code == 0
    assert "warning RB414" in result.output
    assert "2 of 2 runbooks can be used" in result.output


def test_wrong_use_gives_two(run, tmp_path):
    """A path that does not exist, or a folder without runbooks, must not look like success."""
    assert run("validate", tmp_path / "nosuch").exit_code == 2
    assert run("validate", tmp_path).exit_code == 2
    assert run("validate").exit_code == 2


def test_programs_get_json(run, tmp_path):
    """Every fact of every finding."""
    (tmp_path / "bad.yaml").write_text(BAD)
    report = json.loads(run("validate", "--format", "json", tmp_path).output)
    assert (report["files"], report["usable"]) == (1, 0)
    found = {(finding["code"], finding["severity"], finding["line"]) for finding in report["findings"]}
    assert found == {("RB102", "error", 5), ("RB103", "error", 5)}


def test_pull_requests_get_annotations(run, tmp_path):
    """GitHub shows the finding beside the line."""
    (tmp_path / "bad.yaml").write_text(BAD)
    output = run("validate", "--format", "github", tmp_path).output
    assert f"::error file={tmp_path / 'bad.yaml'},line=5,col=17,title=RB102::steps[0] has no key acton" in output


def test_the_schema_is_printed(run):
    """For editors."""
    assert json.loads(run("schema").output)["properties"]["runbook"]


def test_the_catalog_fits_the_real_actions():
    """The parameters in the catalog are those that the actions take."""
    _, findings = load_folder(CATALOG, actions=known_actions())
    assert findings == ()
