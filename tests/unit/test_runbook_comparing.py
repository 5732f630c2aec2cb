"""What a changed runbook means for production is said in words, and nothing goes unsaid."""

from __future__ import annotations

import json
import subprocess

import pytest
import typer
import yaml
from typer.testing import CliRunner

from runbooks.comparing import Risk, changes
from runbooks.loader import load_text
from services.cli.commands import complaint
from services.cli.diff import diff

BASE = {
    "id": "raise-memory",
    "version": "1.0.0",
    "trigger": {
        "root_cause_reason": ["OOMKilled"],
        "min_confidence": 0.8,
        "namespaces": ["shop"],
        "exclude_namespaces": ["kube-system"],
        "labels": {"team": "a"},
        "schedule": [{"cron": "0 3 * * *"}],
        "manual": False,
    },
    "parameters": [{"name": "max_size", "type": "quantity", "default": "4Gi"}],
    "preconditions": [{"name": "in hours", "windows": [{"start": "06:00", "end": "22:00"}]}],
    "safety": {
        "require_approval": True,
        "max_executions_per_hour": 5,
        "blast_radius_limit": 3,
        "cooldown": "10m",
        "dry_run_first": True,
        "rates": {"per_day": 10},
        "protected_namespaces": ["bank"],
        "protected_labels": {"tier": "core"},
    },
    "steps": [
        {"id": "look", "name": "Look", "action": "kubectl_get", "params": {"resource": "deployment"}},
        {
            "id": "raise",
            "name": "Raise",
            "action": "kubectl_patch",
            "params": {"resource": "deployment", "patch": {"spec": {"memory": "{{ params.max_size }}"}}},
            "timeout": "1m",
            "require_approval": True,
        },
        {"id": "rest", "name": "Wait", "action": "wait", "params": {"seconds": 1}},
    ],
    "verification": {
        "settle": "30s",
        "timeout": "5m",
        "success_criteria": [{"name": "no errors", "check": "1 == 1"}],
        "on_not_fixed": "rollback",
    },
    "rollback": {"triggers": [{"health_check_failed": 3}]},
    "kpis": {"max_duration": "10m"},
}


def load(body):
    return load_text(yaml.safe_dump({"runbook": body})).runbook


def changed(path, value):
    """The base with one value set, or taken out when it is None; numbers are indexes."""
    body = json.loads(json.dumps(BASE))
    place = body
    for part in path[:-1]:
        place = place[part]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return body


ROWS = [
    (("trigger", "root_cause_reason"), ["OOMKilled", "Evicted"], "riskier", "now also answers the cause Evicted"),
    (("trigger", "min_confidence"), 0.7, "riskier", "confidence of 0.7 instead of 0.8"),
    (("trigger", "min_confidence"), 0.9, "safer", "confidence of 0.9 instead of 0.8"),
    (("trigger", "namespaces"), None, "riskier", "may now act on any namespace, not only shop"),
    (("trigger", "namespaces"), ["shop", "pay"], "riskier", "may now act on namespace pay"),
    (("trigger", "severity"), ["critical"], "safer", "acts on severity critical only"),
    (("trigger", "exclude_namespaces"), [], "riskier", "may now act in namespace kube-system"),
    (("trigger", "labels"), {}, "riskier", "no longer needs the label team=a"),
    (("trigger", "schedule"), [], "safer", "no longer runs by itself at 0 3 * * *"),
    (("trigger", "manual"), True, "riskier", "people may ask for it by name"),
    (("safety", "require_approval"), False, "riskier", "no longer asks a human"),
    (("safety", "require_approval"), "1 == 1", "riskier", "asks a human only when 1 == 1"),
    (("safety", "max_executions_per_hour"), 9, "riskier", "may run 9 times an hour instead of 5"),
    (("safety", "rates", "per_day"), None, "riskier", "may run any number of times a day instead of 10"),
    (("safety", "blast_radius_limit"), 2, "safer", "may affect 2 resources instead of 3"),
    (("safety", "cooldown"), "5m", "riskier", "leaves the target alone for 5m afterwards instead of 10m"),
    (("safety", "cooldown_after"), {"not_fixed": "1m"}, "riskier", "for 1m instead of 10m after an end as not_fixed"),
    (("safety", "cooldown_after"), {"failure": "1h"}, "safer", "for 1h instead of 10m after an end as failure"),
    (("safety", "dry_run_first"), False, "riskier", "no longer asks the API server first"),
    (("safety", "protected_namespaces"), [], "riskier", "namespace bank is no longer protected"),
    (("safety", "protected_labels"), {}, "riskier", "protected labels: no longer given"),
    (("parameters", 0, "default"), "8Gi", "riskier", "max_size is 8Gi instead of 4Gi when nobody sets it"),
    (("parameters", 0, "default"), "2Gi", "other", "max_size is 2Gi instead of 4Gi"),
    (("preconditions",), [], "riskier", "precondition 'in hours' is gone"),
    (("steps", 1, "params", "patch", "spec", "memory"), "8Gi", "other", "patch.spec.memory is 8Gi instead of"),
    (("steps", 1, "require_approval"), False, "riskier", "no longer asks a human before it"),
    (("steps", 1, "timeout"), "2m", "riskier", "may take 2m instead of 1m"),
    (("steps", 1, "on_failure"), "continue", "riskier", "when it fails: continue instead of rollback"),
    (("steps", 1, "action"), "kubectl_apply", "riskier", "does kubectl_apply instead of kubectl_patch"),
    (("steps", 2, "when"), "1 == 2", "other", "happens when 1 == 2"),
    (("steps", 2), None, "other", "no longer does 'Wait'"),
    (("steps", 2, "retry"), {"attempts": 2}, "other", "retry is"),
    (("verification", "settle"), "10s", "riskier", "must stay healthy for 10s instead of 30s"),
    (("verification", "on_not_fixed"), "keep", "riskier", "a fix that did not help is kept"),
    (("verification", "success_criteria"), [], "riskier", "success criterion 'no errors' is gone"),
    (("rollback", "triggers"), [], "riskier", "no longer taken back when health_check_failed 3"),
    (("kpis", "max_duration"), "20m", "other", "kpis changed"),
    (("id",), "other-name", "other", "is called other-name"),
]


@pytest.mark.parametrize(("path", "value", "risk", "text"), ROWS, ids=[f"{row[0]}={row[1]}" for row in ROWS])
def test_a_difference_is_said_in_words_with_its_risk(path, value, risk, text):
    """One row, one change; backwards it is told as well."""
    old, new = load(BASE), load(changed(path, value))
    found = [one for one in changes(old, new) if text in one.text]
    assert [one.risk.name.lower() for one in found] == [risk], changes(old, new)
    assert any(one.path != "version" for one in changes(new, old))


def test_the_same_runbook_has_no_differences_and_words_for_people_are_none():
    """A description changes nothing in production."""
    assert changes(load(BASE), load(BASE)) == ()
    assert changes(load(BASE), load(changed(("description",), "other words"))) == ()


def test_the_riskiest_come_first_and_a_forgotten_version_is_told():
    """A reviewer who reads one line reads the one that counts."""
    body = changed(("safety", "require_approval"), False)
    body["safety"]["cooldown"] = "20m"
    found = changes(load(BASE), load(body))
    assert [one.risk for one in found] == [Risk.RISKIER, Risk.OTHER, Risk.SAFER]
    assert "still says version 1.0.0" in found[1].text


def test_another_order_of_steps_is_told():
    """Only the step that moved is named."""
    body = json.loads(json.dumps(BASE))
    body["steps"] = [body["steps"][1], body["steps"][2], body["steps"][0]]
    texts = [one.text for one in changes(load(BASE), load(body))]
    assert [text for text in texts if "another place" in text] == ["does look at another place in the order"]


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(diff)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


def test_revisions_of_git_are_compared(run, tmp_path, monkeypatch):
    """What is committed against what is on disk; exit code 1 only when asked for and riskier."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({"runbook": BASE}))
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "first")):
        subprocess.run(("git", *words), check=True)
    file.write_text(yaml.safe_dump({"runbook": changed(("safety", "require_approval"), False)}))
    told = run("HEAD:a.yaml", "a.yaml", "--fail-on", "riskier")
    assert told.exit_code == 1
    assert "no longer asks a human" in told.output
    assert run("a.yaml", "HEAD:a.yaml", "--fail-on", "riskier").exit_code == 0
    assert json.loads(run("HEAD:a.yaml", "a.yaml", "--json").output)["changes"][0]["risk"] == "riskier"
    wrong = run("nosuch:a.yaml", "a.yaml")
    assert complaint(wrong.exception)[1] == 2
    assert "git has no nosuch:a.yaml" in str(wrong.exception)
    assert run("--fail-on", "any", "a.yaml", "a.yaml").output.strip() == "nothing changes for production"
