"""``make security`` fails on a finding, and says so when nothing was audited."""

from __future__ import annotations

import json

import security


def answer(**package):
    return json.dumps({"dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", **package}]})


def test_a_known_vulnerability_fails():
    """With the package, its version and the name of the finding."""
    held, told = security.audited(answer(version="2", vulns=[{"id": "PYSEC-1"}]), "")
    assert not held
    assert "b 2: PYSEC-1" in told


def test_packages_without_vulnerabilities_hold():
    """The count is said, so that an audit of nothing is seen."""
    assert security.audited(answer(version="2", vulns=[]), "") == (True, "no known vulnerabilities in 2 packages")


def test_a_service_that_cannot_be_reached_is_told_and_fails_nothing():
    """CI must not fail by the network, and nobody may take silence for an audit."""
    held, told = security.audited("", "connection refused")
    assert held
    assert "not audited" in told
    assert "connection refused" in told


def test_packages_that_the_service_does_not_know_are_told():
    """An index without vulnerability data answers so, with success."""
    skipped = json.dumps({"dependencies": [{"name": name, "skip_reason": "not found"} for name in "abc"]})
    held, told = security.audited(skipped, "")
    assert held
    assert "3 of 3 packages were not audited" in told


def test_a_secret_in_a_file_is_found(tmp_path, monkeypatch):
    """The scan is the real one, on a file with a made-up key."""
    (tmp_path / "settings.py").write_text('aws_key = "AKIA' + "QYLPMN5HFIQR7XYA" + '"\n')
    monkeypatch.setattr(security, "ROOT", tmp_path)
    held, told = security.secrets(["settings.py"])
    assert not held
    assert "settings.py:1" in told


def test_weak_code_is_found(tmp_path, monkeypatch):
    """The settings of bandit leave out what they name, and nothing else."""
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "x.py").write_text("import subprocess\nsubprocess.run('id', shell=True)\n")
    (tmp_path / "pyproject.toml").write_text((security.ROOT / "pyproject.toml").read_text())
    monkeypatch.setattr(security, "ROOT", tmp_path)
    monkeypatch.setattr(security, "ROOMS", ("services",))
    held, told = security.weak_code()
    assert not held
    assert "B602" in told
