"""The second try of the tests on real servers: whole files, named, and never when much failed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ONE = """
import pathlib, pytest
pytestmark = pytest.mark.stack
RUNS = pathlib.Path(__file__).with_suffix(".runs")

def test_first():
    with RUNS.open("a") as file:
        file.write("x")

def test_fails_in_the_first_runs():
    assert len(RUNS.read_text()) > {failing}
"""


def run(folder: Path, *failing: int) -> tuple[int, str]:
    """Files with a test that fails in so many runs of it; the exit code, and what was printed."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = stack\n")
    for number, times in enumerate(failing):
        (folder / f"test_file_{number}.py").write_text(ONE.format(failing=times))
    done = subprocess.run(
        [sys.executable, "-m", "tests.twice", "-p", "no:xdist", str(folder), "-c", str(folder / "pytest.ini")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": f"--rootdir={folder}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def runs(folder: Path) -> list[int]:
    return [len(file.read_text()) for file in sorted(folder.glob("*.runs"))]


def test_all_that_pass_run_once(tmp_path):
    """Nothing is tried again without a reason."""
    code, _ = run(tmp_path, 0, 0)
    assert (code, runs(tmp_path)) == (0, [1, 1])


def test_a_file_with_a_failure_runs_again_from_its_beginning_and_is_named(tmp_path):
    """The first test of the file runs again too; other files do not."""
    code, said = run(tmp_path, 1, 0)
    assert (code, runs(tmp_path)) == (0, [2, 1]), said
    assert "TRIED AGAIN test_file_0.py::test_fails_in_the_first_runs" in said


def test_what_fails_twice_fails(tmp_path):
    """A second try never turns a real failure into a success."""
    code, said = run(tmp_path, 9)
    assert (code, runs(tmp_path)) == (1, [2]), said


def test_many_failing_files_are_no_coincidence(tmp_path):
    """Nothing is tried again, and the run fails."""
    code, said = run(tmp_path, *[1] * 7)
    assert (code, runs(tmp_path)) == (1, [1] * 7), said


@pytest.mark.parametrize("arguments", [["--no-such-option"], ["no_such_folder"]])
def test_a_run_that_could_not_begin_is_not_tried_again(tmp_path, arguments):
    """A wrong option or folder is told with pytest's own exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.twice", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
