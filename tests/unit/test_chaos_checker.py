"""The checker of crashes finds what it is there for: each invariant broken in what was seen is named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from executor.failpoints import Failpoint
from tests.chaos.checker import Effect, Ran, Seen, violations
from tests.chaos.kinds import KINDS
from tests.chaos.report import Report
from tests.chaos.rounds import Round

GOOD = Seen(
    inputs=["e-1"],
    decisions={"e-1": ["d-1"]},
    published={"e-1": {"d-1"}},
    effects=[Effect("e-1", "webhook", 1, (1,), "succeeded")],
    ran=[Ran("x-1", "e-1", "done", "success", (5, 5, 6))],
)

BROKEN = {
    "2": {"decisions": {}, "published": {}, "committed": ["e-1"]},
    "7 late": {"decisions": {}, "published": {}},
    "7 twice": {"decisions": {"e-1": ["d-1", "d-2"]}},
    "7 unpublished": {"published": {}},
    "7 unknown": {"published": {"e-1": {"d-1", "d-9"}}},
    "7 letter": {"dead_letters": ["x"]},
    "3 doubled": {"effects": [Effect("e-1", "webhook", 2, (1,), "succeeded")]},
    "3 lost": {"effects": [Effect("e-1", "webhook", 0, (1,), "succeeded")]},
    "3 no intent": {"effects": [Effect("e-1", "webhook", 1, (0,), "")]},
    "4 fence": {"ran": [Ran("x-1", "e-1", "done", "success", (5, 6, 5))]},
    "4 lock": {"locks": ["target"]},
    "4 release": {"unreleased": ["x-1"]},
    "4 claim": {"claims": ["target"]},
    "terminal": {"ran": [Ran("x-1", "e-1", "running")]},
    "terminal question": {"open_questions": ["a-1"]},
    "11": {"trail": ["an entry is missing"]},
}


def test_what_is_as_it_should_be_is_no_violation():
    """Otherwise every run would fail, and nobody would look."""
    assert violations(GOOD) == []


@pytest.mark.parametrize("name", BROKEN)
def test_an_invariant_that_is_broken_in_what_was_seen_is_named(name):
    """One thing is wrong at a time, and the checker names the invariant and what it is about."""
    found = violations(replace(GOOD, **BROKEN[name]))
    assert {violation.invariant for violation in found} == {name.partition(" ")[0]}


@pytest.mark.parametrize(
    ("kind", "statuses", "made", "allowed"),
    [
        ("webhook", {("step", "effect"): "succeeded"}, 1, True),
        ("webhook", {("step", "effect"): "succeeded"}, 2, False),
        ("webhook", {("step", "effect"): "unknown"}, 0, True),
        ("webhook", {("step", "effect"): "unknown"}, 2, False),
        ("keyed", {("step", "effect"): "succeeded"}, 3, True),
        ("keyed", {("step", "effect"): "succeeded"}, 0, False),
        ("scale", {}, 1, False),
        ("rollback", {("step", "effect"): "succeeded", ("undo", "effect"): "succeeded"}, 2, True),
        ("rollback", {("step", "effect"): "succeeded", ("undo", "effect"): "succeeded"}, 1, False),
    ],
)
def test_how_often_an_effect_may_be_found_follows_from_what_is_on_record(kind, statuses, made, allowed):
    """Only what is declared idempotent may be there more than once, and only what is unknown may be missing."""
    assert (made in KINDS[kind].allowed(statuses)) is allowed


def test_a_run_with_a_violation_does_not_hold_and_says_how_to_repeat_it(capsys):
    """The seed and the command are printed at both ends, and a failpoint that nobody reached is a violation too."""
    report = Report(4711, "make chaos ARGS='--seed 4711'")
    report.add(Round("random 1", deaths=3))
    assert report.held
    report.add(Round(Failpoint.CLAIMED, deaths=1, died=["execution.claimed"]), dies=True)
    assert report.held
    report.add(Round(Failpoint.ADOPTED, deaths=1, died=["execution.claimed"]), dies=True)
    report.end()
    assert not report.held
    said = capsys.readouterr().out
    assert said.count("make chaos ARGS='--seed 4711'") == 2
    assert "nothing reached it" in said
    assert "DID NOT HOLD" in said


def test_a_process_dies_at_its_failpoint_once_for_each_subject(tmp_path):
    """A real SIGKILL; the process that follows goes past what its predecessor died of, and dies of the next."""
    book = tmp_path / "deaths"
    program = (
        "import sys; from pathlib import Path; from executor.failpoints import *\n"
        "from tests.chaos.victim import Deaths\n"
        "arm(Deaths(['step.intended'], 2, Path(sys.argv[1])))\n"
        "for subject in ('one', 'two', 'three'):\n"
        "    reach(Failpoint.STEP_PREPARED, subject); reach(Failpoint.STEP_INTENDED, subject)\n"
    )
    ends = [subprocess.run([sys.executable, "-c", program, str(book)], check=False).returncode for _ in range(3)]
    assert ends == [-9, -9, 0]
    assert [json.loads(line)["subject"] for line in book.read_text().splitlines()] == ["one", "two"]
