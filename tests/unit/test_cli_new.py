"""`rb new` gives a runbook that is complete from the first line on."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from runbooks.formatting import formatted
from runbooks.loader import load_file
from services.cli.new import Kind, new
from services.cli.validate import known_actions


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(new)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.parametrize("kind", list(Kind))
def test_what_it_writes_passes_every_check_and_is_laid_out(run, tmp_path, kind):
    """No finding at all, warnings included, and `rb fmt` has nothing to do."""
    assert run(kind, "my-runbook", "--out", tmp_path).exit_code == 0
    file = tmp_path / "my-runbook.yaml"
    loaded = load_file(file, actions=known_actions())
    assert loaded.findings == ()
    assert (loaded.runbook.id, loaded.runbook.type) == ("my-runbook", kind)
    assert formatted(file.read_text()) == file.read_text()


def test_what_is_given_is_taken_whatever_signs_it_holds(run, tmp_path):
    """Titles and names with quotes and colons stay texts."""
    file = tmp_path / "deep" / "x.yaml"
    arguments = ("--title", 'He said: "no" # not yet', "--author", "O'Neil: SRE", "--reason", "A*", "--reason", "B: c")
    assert run("incident", "x", *arguments, "-o", file).exit_code == 0
    runbook = load_file(file, actions=known_actions()).runbook
    assert (runbook.name, runbook.author) == ('He said: "no" # not yet', "O'Neil: SRE")
    assert runbook.trigger.root_cause_reason == ("A*", "B: c")


def test_a_file_that_is_there_is_not_lost(run, tmp_path):
    """Only --force replaces it; a name that cannot be an id is wrong use."""
    file = tmp_path / "x.yaml"
    file.write_text("mine")
    assert run("incident", "x", "-o", file).exit_code != 0
    assert file.read_text() == "mine"
    assert run("incident", "x", "-o", file, "--force").exit_code == 0
    assert run("incident", "../x").exit_code != 0
    assert run("incident", "x", "-o", "-").output.startswith("# yaml-language-server")
