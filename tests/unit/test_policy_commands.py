"""``rb policy`` without servers: which rule decides, and a change tried on recorded incidents."""

from __future__ import annotations

import json
import random

import orjson
import pytest
from bench.incidents import Recorder, runbook, runbook_text

from services.cli.app import main
from services.testing.history import HistoryWriter

_CHANCE, _RECORDER = random.Random(7), Recorder()  # noqa: S311 - the same numbers each time
PERMITTED = [one for one in (_RECORDER.line(number, _CHANCE) for number in range(60)) if one["kind"] == "permit"]
NAMESPACE = PERMITTED[0]["incident"]["target"]["namespace"]


@pytest.fixture
def here(tmp_path):
    """A settings file with policies in force, the recorded incidents, and room for new policies."""
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "raise.yaml").write_text(runbook_text())
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "now.yaml").write_text("policies:\n  - {id: now, limits: {max_blast_radius: 40}}\n")
    settings = {"policies": {"paths": ["policies"]}, "runbooks": {"paths": ["runbooks"]}}
    (tmp_path / "rootmend.yaml").write_text(json.dumps({**settings, "gate": {"max_executions_per_hour": 1000}}))
    (tmp_path / "rootmend.yaml").chmod(0o600)
    with HistoryWriter(tmp_path / "history.gz") as writer:
        writer.runbook({"id": "raise-memory", "version": "1.0.0", "sha": runbook().sha, "text": runbook_text()})
        for one in PERMITTED[:4]:
            writer.incident(one)
    return tmp_path


def rb(here, *words):
    """Run a command with these settings."""
    return main(["--config", str(here / "rootmend.yaml"), *words])


def tried(here, capsys, text, *words):
    """Try new policies; gives exit code and result."""
    (here / "new.yaml").write_text(text)
    words = ("--from", str(here / "history.gz"), "--since", "", "--json", *words)
    code = rb(here, "policy", "test", str(here / "new.yaml"), *words)
    return code, orjson.loads(capsys.readouterr().out)


def test_a_deny_would_have_refused_what_was_permitted(here, capsys):
    """Counts and a list, and a build that is meant to fail on changes does."""
    text = f"policies:\n  - {{id: new, scope: {{namespaces: ['{NAMESPACE}']}}, deny: not here}}\n"
    code, result = tried(here, capsys, text, "--fail-on-change")
    assert code == 1
    assert result["changes"] == {"permit -> refusal": result["incidents"] - result["unchanged"]}
    assert {one["after"]["check"] for one in result["findings"]} == {"policy_denied"}


def test_the_same_policies_change_nothing(here, capsys):
    """The policies in force are the base of the comparison."""
    code, result = tried(here, capsys, "policies:\n  - {id: now, limits: {max_blast_radius: 40}}\n", "--fail-on-change")
    assert (code, result["findings"]) == (0, [])


def test_asking_a_human_is_told_as_asked(here, capsys):
    """Nobody said yes to these: they would have waited for an answer."""
    code, result = tried(here, capsys, "policies:\n  - {id: ask, require_approval: true}\n")
    assert code == 0
    assert set(result["changes"]) == {"permit -> approval"}


def test_what_depends_on_labels_is_unknown_and_not_guessed(here, capsys):
    """Labels of targets are on no record."""
    text = "policies:\n  - {id: gold, scope: {labels: {tier: gold}}, deny: gold}\n"
    _, result = tried(here, capsys, text)
    assert set(result["changes"]) == {"permit -> unknown"}


def test_new_policies_that_cannot_be_used_are_refused(here, capsys):
    """With the place of the mistake, and exit code 2."""
    (here / "new.yaml").write_text("policies:\n  - {id: a, scop: {}}\n")
    assert rb(here, "policy", "test", str(here / "new.yaml"), "--from", str(here / "history.gz")) == 2
    assert "new.yaml:2" in capsys.readouterr().err


def test_explain_tells_who_decided_and_what_lost(here, capsys):
    """Field, value, policy, version, place; below, what lost and why."""
    (here / "policies" / "more.yaml").write_text(
        "policies:\n  - {id: shop, scope: {namespaces: [shop]}, limits: {max_blast_radius: 3}}\n"
    )
    assert rb(here, "policy", "explain", "--namespace", "shop", "--runbook", "raise-memory") == 0
    told = capsys.readouterr().out
    assert "limits.max_blast_radius: 3, by shop" in told
    assert "not 40 of now: shop says more about namespaces" in told
    assert "not 50 of the settings" in told


def test_explain_of_a_runbook_that_is_not_there_names_the_nearest(here, capsys):
    """A misspelt name must not look like one without policies."""
    assert rb(here, "policy", "explain", "--runbook", "raise-memry") == 2
    assert "did you mean raise-memory?" in capsys.readouterr().err


def test_validate_fails_on_what_cannot_be_used(here, capsys):
    """Exit code 1 with file and line; 0 when all is well."""
    assert rb(here, "policy", "validate") == 0
    (here / "policies" / "bad.yaml").write_text("policies:\n  - {id: bad, limits: {max_blast_radius: 4000}}\n")
    assert rb(here, "policy", "validate") == 1
    assert "bad.yaml:2" in capsys.readouterr().out
