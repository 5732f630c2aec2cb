"""What a rule means can be asked, and findings reach code scanning."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from runbooks.rules import RULES
from services.cli.lint import lint
from services.cli.runtime import CommandError

BAD = "runbook:\n  id: x\n  trigger: {root_cause_reason: a}\n  steps:\n    - {name: a, acton: wait}\n"


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(lint)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.parametrize("code", RULES)
def test_every_rule_explains_itself(run, code):
    """What it is called, why it is there, what to do."""
    told = run("--explain", code.lower()).output
    rule = RULES[code]
    assert all(text in told for text in (code, rule.title, rule.why, rule.advice))


def test_an_unknown_rule_names_the_nearest(run):
    """A typing mistake is wrong use."""
    error = run("--explain", "RB1022").exception
    assert isinstance(error, CommandError)
    assert (error.code, "did you mean RB102" in str(error)) == (2, True)
    assert run().exception.code == 2


def test_all_rules_are_listed_for_programs(run):
    """One entry each."""
    assert [one["code"] for one in json.loads(run("--rules", "--json").output)] == list(RULES)


def test_findings_become_a_sarif_log(run, tmp_path, monkeypatch):
    """One result for each finding, at its place, tied to a rule of the same log; paths as code scanning wants them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a bad%.yaml").write_text(BAD)
    result = run("--format", "sarif", ".")
    assert result.exit_code == 1
    log = json.loads(result.output)
    (only,) = log["runs"]
    assert log["version"] == "2.1.0"
    rules = only["tool"]["driver"]["rules"]
    for one in only["results"]:
        assert rules[one["ruleIndex"]]["id"] == one["ruleId"]
        assert one["level"] in {"error", "warning"}
        place = one["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "a%20bad%25.yaml"
        assert (place["region"]["startLine"], place["region"]["startColumn"] >= 1) == (5, True)
    assert {one["ruleId"] for one in only["results"]} == {"RB102", "RB103"}


def test_a_folder_is_checked_as_validate_does(run, tmp_path):
    """The same exit codes."""
    (tmp_path / "a.yaml").write_text(BAD)
    assert run(tmp_path).exit_code == 1
    assert run(tmp_path / "nosuch").exit_code == 2
