"""The hooks for repositories of runbooks work through the real pre-commit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HOOKS = ROOT / ".pre-commit-hooks.yaml"
GOOD = (ROOT / "runbooks" / "catalog" / "oomkilled-increase-memory" / "runbook.yaml").read_text(encoding="utf-8")


def pre_commit(folder, *words):
    command = [sys.executable, "-m", "pre_commit", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of runbooks whose hooks are ours, with the `rb` that is installed here in place of a new one."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "runbooks"
    folder.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    hooks = [{**hook, "language": "system"} for hook in yaml.safe_load(HOOKS.read_text())]
    config = {"repos": [{"repo": "local", "hooks": hooks}]}
    (folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "oom.yaml").write_text(GOOD)
    (folder / "acceptance.yml").write_text("scenarios: []\n")
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    return folder


def test_the_manifest_is_one_that_pre_commit_takes(tmp_path):
    """As pre-commit itself says."""
    done = pre_commit(tmp_path, "validate-manifest", str(HOOKS))
    assert done.returncode == 0, done.stdout


def test_a_good_runbook_passes_and_a_pack_is_no_runbook(repository):
    """Both hooks; other documents beside runbooks are left alone."""
    done = pre_commit(repository, "run", "--all-files")
    assert done.returncode == 0, done.stdout


def test_a_bad_runbook_stops_the_commit_with_its_place(repository):
    """The author sees file, line and advice."""
    (repository / "oom.yaml").write_text(GOOD.replace("  steps:", "  stepz:"))
    done = pre_commit(repository, "run", "rb-validate", "--all-files")
    assert done.returncode == 1
    assert "oom.yaml:" in done.stdout
    assert "did you mean steps?" in done.stdout


def test_an_untidy_runbook_is_laid_out(repository):
    """The hook changes the file, which stops the commit once."""
    (repository / "oom.yaml").write_text(GOOD.replace("\n  id: ", "\n  id:    ", 1))
    assert pre_commit(repository, "run", "rb-fmt", "--all-files").returncode == 1
    assert (repository / "oom.yaml").read_text() == GOOD
