"""What is worth automating: points for what is known, none for what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbooks.loader import load_text
from runbooks.scoring import (
    ENOUGH,
    PRIME,
    Ran,
    Seen,
    Verdict,
    complexity,
    duration,
    frequency,
    impact,
    score_cause,
    score_runbook,
    success,
)
from services.cli import app

PLAIN = """runbook:
  id: plain
  trigger: {root_cause_reason: [OOMKilled]}
  safety: {require_approval: false}
  steps:
    - {id: a, name: Look, action: kubectl_get, params: {resource: pod/x}}
    - {id: b, name: Wait, action: wait, params: {duration: 1s}STEP}
"""
PRIME_SEEN = Seen(30, {"CRITICAL": 30}, [2400.0] * ENOUGH)
PRIME_RAN = Ran(10, 9, 0, [60.0] * 10)


def runbook(step="", **changes):
    text = PLAIN.replace("STEP", step)
    for before, after in changes.items():
        text = text.replace(before, after)
    return load_text(text)


@pytest.mark.parametrize(("count", "points"), [(0, 0), (1, 1), (3, 1), (4, 2), (29, 2), (30, 3), (1000, 3)])
def test_frequency_counts_incidents_of_a_month(count, points):
    """Monthly, weekly and daily; none at all is known too, and is worth nothing."""
    assert frequency(Seen(count)).points == points


@pytest.mark.parametrize(("minutes", "points"), [(1, 1), (4.9, 1), (5, 2), (30, 2), (31, 3)])
def test_duration_is_the_median_by_hand(minutes, points):
    """One that took days does not decide."""
    seen = Seen(9, by_hand=[minutes * 60] * ENOUGH + [1e6])
    assert duration(seen, Ran(seconds=[1e6] * 9)).points == points


def test_executions_do_not_say_how_long_it_takes_by_hand():
    """They are told; a few samples by hand are no median."""
    few = duration(Seen(9, by_hand=[9999.0] * (ENOUGH - 1)), Ran(seconds=[360.0] * 9))
    assert (few.points, few.why) == (
        None,
        "seen 4 times by hand, 5 are needed; its executions took 6.0 min (median of 9)",
    )
    assert duration(Seen(9), Ran()).points is None


@pytest.mark.parametrize(
    ("counts", "demanded", "points"),
    [
        ({"CRITICAL": 3, "WARNING": 2}, (), 3),
        ({"CRITICAL": 2, "WARNING": 2}, (), 2),
        ({"INFO": 5}, ("critical",), 1),
        ({"CRITICAL": 2, "PURPLE": 3}, (), None),
        ({"CRITICAL": 4, "PURPLE": 3}, (), 3),
        ({}, ("critical", "warning"), 2),
        ({}, ("critical", "p*"), None),
        ({}, (), None),
    ],
)
def test_impact_is_what_half_of_the_incidents_reach(counts, demanded, points):
    """A severity that says nothing pulls down; a trigger counts by the lowest that it lets in."""
    assert impact(Seen(sum(counts.values()), counts), demanded).points == points


@pytest.mark.parametrize(
    ("step", "points"),
    [
        ("", 3),
        (", when: incident.rca_confidence > 0.5", 2),
        (", on_failure: approve, on_success: complete, when: incident.rca_confidence > 0.5, require_approval: true", 1),
    ],
)
def test_complexity_counts_branches(step, points):
    """A straight way is worth most."""
    assert complexity(runbook(step).runbook).points == points


@pytest.mark.parametrize(
    ("ran", "points"),
    [
        (Ran(ENOUGH - 1, ENOUGH - 1), None),
        (Ran(0, 0, earlier=100), None),
        (Ran(10, 4), 1),
        (Ran(10, 5), 2),
        (Ran(10, 8), 2),
        (Ran(10, 9), 3),
    ],
)
def test_success_is_proven_by_this_version(ran, points):
    """Too few executions and those of other versions prove nothing."""
    assert success(ran).points == points


def test_a_proven_runbook_is_prime():
    """All that is known adds up."""
    made = score_runbook(runbook(), PRIME_SEEN, PRIME_RAN)
    assert (made.total, made.at_most, made.verdict, made.reservations) == (15, 15, Verdict.PRIME, ())


def test_nothing_known_is_nothing_won():
    """Without a graph only the file counts, and each unknown is told."""
    made = score_runbook(runbook(), None, None)
    assert (made.total, made.at_most, made.verdict) == (3, 15, Verdict.UNKNOWN)
    assert [one.name for one in made.criteria if one.points is None] == ["frequency", "duration", "impact", "success"]


def test_a_cause_without_a_runbook_is_never_prime():
    """Its steps and their success are unknown, however often it hurts."""
    made = score_cause("DiskFull", PRIME_SEEN)
    assert (made.total, made.verdict) == (9, Verdict.UNKNOWN)
    assert made.total < PRIME
    assert score_cause("DiskFull", Seen(1, {"INFO": 1}, [10.0] * 5)).verdict is Verdict.NO


def test_reservations_are_told_beside_the_points():
    """A runbook that asks people is not one that runs by itself."""
    asking = runbook(", require_approval: true", **{"require_approval: false}": "require_approval: true}"})
    told = score_runbook(asking, PRIME_SEEN, PRIME_RAN).reservations
    assert told == ("asks a human before it runs", "asks a human on its way")


@given(
    count=st.integers(0, 99),
    severities=st.dictionaries(st.sampled_from(["INFO", "WARNING", "CRITICAL", "?"]), st.integers(0, 40)),
    hands=st.lists(st.floats(0, 1e6), max_size=9),
    machines=st.lists(st.floats(0, 1e6), max_size=9),
    ended=st.lists(st.booleans(), max_size=20),
)
def test_knowing_less_never_makes_it_better(count, severities, hands, machines, ended):
    """Whatever is taken away, the points do not rise, and lie within what was possible."""
    ran = Ran(len(ended), sum(ended), 0, machines)
    seen = Seen(count, severities, hands)
    full = score_runbook(runbook(), seen, ran)
    for less in (score_runbook(runbook(), None, ran), score_runbook(runbook(), seen, None)):
        assert less.total <= full.total <= full.at_most <= 15


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """Settings whose Neo4j is away."""
    monkeypatch.setenv("ROOTMEND_NEO4J__URI", "bolt://127.0.0.1:1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain.yaml").write_text(PLAIN.replace("STEP", ""))
    return tmp_path


def test_without_a_graph_the_files_are_rated(alone, capsys):
    """It is said that nobody was asked, and the unknown is null, not 0."""
    assert app.main(["score", "plain.yaml", "--json"]) == 0
    told = capsys.readouterr()
    (row,) = json.loads(told.out)
    assert "Neo4j does not answer" in told.err
    assert (row["name"], row["total"], row["verdict"]) == ("plain", 3, "unknown")
    assert row["criteria"]["frequency"]["points"] is None
    assert app.main(["score", "plain.yaml"]) == 0
    assert "frequency (?): the graph could not be asked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plain.yaml", "--reason", "x"], "not both"),
        (["nowhere"], "nowhere does not exist"),
        (["empty"], "no runbook under empty"),
        (["bad.yaml"], "bad.yaml:1"),
        (["plain.yaml", "--since", "soon"], "--since: expected a duration"),
    ],
)
def test_wrong_use_is_told(alone, capsys, words, said):
    """With what is wrong, and exit code 2."""
    Path("empty").mkdir()
    Path("bad.yaml").write_text("runbook: {id: x}\n")
    assert app.main(["score", *words]) == 2
    assert said in capsys.readouterr().err
