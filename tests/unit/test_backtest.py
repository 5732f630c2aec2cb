"""Recorded incidents against changed runbooks: what would have been different, and what nobody can say."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta

import orjson
import pytest
from bench.incidents import Recorder, runbook, runbook_text
from hypothesis import given, settings
from hypothesis import strategies as st

from runbooks.loader import load_text
from safety.policy import PolicySettings
from services.cli.app import main
from services.testing.backtest import Difference, Head, Setup, compare, opened, propose_all
from services.testing.history import HistoryWriter, line_of, read_lines
from services.testing.proposing import Knobs

POLICY = PolicySettings(max_executions_per_hour_total=1000)
KNOBS = Knobs(POLICY, timedelta(minutes=10), {})


def recorded(count=200, seed=7):
    """Made-up incidents that the real planner planned."""
    chance, recorder = random.Random(seed), Recorder()  # noqa: S311 - the same numbers each time
    return [recorder.line(number, chance) for number in range(count)]


INCIDENTS = recorded()
PERMITTED = [one for one in INCIDENTS if one["kind"] == "permit"]
VERSIONS = {("raise-memory", runbook().sha): runbook_text()}


def backtested(incidents, *runbooks, head=None, base=None, policy=POLICY, since=None):
    """The backtest of some incidents."""
    head = head or Head(VERSIONS, ())
    lines = [line_of(one) for one in incidents]
    proposals = propose_all(lines, Setup(runbooks, head.versions, KNOBS), processes=1)
    others = propose_all(lines, Setup(base, head.versions, KNOBS), processes=1) if base else None
    return compare(proposals, policy, head, others, since)


def counted(result):
    """The differences that were found."""
    return {name: count for name, count in result.counts().items() if count}


def test_the_same_runbooks_change_nothing_but_what_the_cooldown_would_have_refused():
    """The made-up incidents never met the gate; one that comes within a target's cooldown is refused, nothing else."""
    spread = {one["incident"]["target"]["name"]: one for one in INCIDENTS}
    ordered = sorted(spread.values(), key=lambda one: one["decided_at"])
    result = backtested(ordered, runbook())
    assert (counted(result), result.unchanged) == ({}, len(ordered))


def test_another_factor_changes_every_plan():
    """Each permitted incident is planned again from what was read then; the effect names old and new value."""
    result = backtested(PERMITTED[:20], runbook("1.1.0", factor=3))
    assert result.counts()["changed-plan"] == 20
    one = result.findings[0]
    old, new = one.before.effects[0], one.after.effects[0]
    assert old.split(" -> ")[0] == new.split(" -> ")[0]
    assert old != new


def test_a_new_version_number_alone_changes_no_plan():
    """The hash of the file differs, what it does is the same."""
    assert counted(backtested(PERMITTED[:5], runbook("9.0.0"))) == {}


def test_a_dry_run_that_was_asked_for_stays_what_it_was():
    """Whatever the runbooks are now: it is counted, it is no difference, and it takes no lock."""
    run = {"runbook": "raise-memory", "source": "manual", "by": "ann", "dry_run": True}
    one = PERMITTED[0]
    asked = {**one, "incident": {**one["incident"], "signal": {**one["incident"]["signal"], "run": run}}}
    later = {**one, "decided_at": (datetime.fromisoformat(one["decided_at"]) + timedelta(seconds=1)).isoformat()}
    result = backtested([asked, later], runbook("1.1.0", factor=3))
    assert (result.incidents, result.unchanged) == (2, 1)
    assert counted(result) == {"changed-plan": 1}


def test_a_runbook_that_no_longer_names_the_cause_loses_its_incidents():
    """Each with its incident's id."""
    changed = load_text(runbook_text().replace("OOMKilled", "Evicted"))
    result = backtested(PERMITTED[:3], changed)
    assert counted(result) == {"lost": 3}
    assert [one.incident for one in result.findings] == [one["id"] for one in PERMITTED[:3]]


def test_a_runbook_that_names_another_cause_gains_incidents_that_it_cannot_plan():
    """Nothing was read for an incident that nobody answered: it is gained, and what would follow is not guessed."""
    missed = [one for one in INCIDENTS if one["kind"] == "no_match" and one["incident"]["cause"]["confidence"] >= 0.8][
        :4
    ]
    changed = load_text(runbook_text().replace("root_cause_reason: OOMKilled", 'root_cause_reason: "*"'))
    result = backtested(missed, changed)
    assert counted(result) == {"gained": 4, "cannot-replan": 4}
    assert "was not recorded" in result.findings[0].after.message


def test_a_higher_threshold_refuses():
    """By the gate's own check."""
    changed = load_text(runbook_text().replace("min_confidence: 0.8", "min_confidence: 0.99"))
    result = backtested(PERMITTED[:4], changed)
    assert counted(result) == {"refused": 4}
    assert {one.after.check for one in result.findings} == {"confidence"}


def test_a_lower_threshold_asks_what_was_not_recorded():
    """A refusal before planning left no plan: let through or not, nobody can say."""
    low = [one for one in INCIDENTS if one["check"] == "confidence"][:3]
    changed = load_text(runbook_text().replace("min_confidence: 0.8", "min_confidence: 0.5"))
    assert counted(backtested(low, changed)) == {"cannot-replan": 3}


def refused_by(check, one):
    """An incident as a refusal after planning records it."""
    return {**one, "kind": "refusal", "check": check, "executions": [], "numbers": {**one["numbers"], "plan": "hash"}}


def test_a_higher_rate_lets_through_what_was_refused():
    """The plan was made then and its blast radius measured; other limits do not change it."""
    refusals = [refused_by("runbook_rate", one) for one in PERMITTED[:3]]
    result = backtested(refusals, runbook(per_hour=500), head=Head(VERSIONS, ()))
    assert counted(result) == {"let-through": 3}


def test_a_lower_rate_refuses_what_ran():
    """The recorded times decide: two an hour are two in any hour."""
    close = [{**one, "decided_at": f"2026-01-01T00:0{at}:00+00:00"} for at, one in enumerate(PERMITTED[:5])]
    for one in close:
        one["executions"] = [{**one["executions"][0], "finished_at": one["decided_at"]}]
    distinct = {one["incident"]["target"]["name"] for one in close}
    result = backtested(close, runbook(per_hour=2))
    assert len(distinct) == 5
    assert counted(result) == {"refused": 3}
    assert {one.after.check for one in result.findings} == {"runbook_rate"}


def test_an_approval_rule_asks_where_it_ran_by_itself():
    """The plan's reasons reach the gate."""
    changed = load_text(runbook_text().replace("require_approval: false", "require_approval: true"))
    assert counted(backtested(PERMITTED[:4], changed)) == {"asked": 4}


def test_what_was_refused_while_paused_stays_refused():
    """Also when another refusal came first then: the pause switch is on record."""
    at = datetime.fromisoformat(PERMITTED[0]["decided_at"])
    head = Head(VERSIONS, [(at - timedelta(seconds=1), True), (at + timedelta(days=1), False)])
    result = backtested([refused_by("lock", PERMITTED[0])], runbook(), head=head)
    assert (result.unchanged, counted(result)) == (1, {})


def test_a_step_that_reads_what_nobody_read_cannot_be_replanned():
    """The text says what is missing."""
    changed = load_text(
        runbook_text().replace('field: "spec.template.spec.containers[name=app]', 'field: "status.x[name=app]')
    )
    result = backtested(PERMITTED[:2], changed)
    assert counted(result) == {"cannot-replan": 2}
    assert "status.x" in result.findings[0].after.message


def test_another_field_of_a_recorded_object_can_be_read():
    """The plan kept the body of what it changes."""
    changed = load_text(
        runbook_text("2.0.0")
        .replace('field: "spec.template.spec.containers[name=app].resources.limits.memory"', 'field: "spec.replicas"')
        .replace("{{ current | parse_memory | grow(2, params.max_memory) }}", "{{ current }}00Mi")
    )
    result = backtested(PERMITTED[:1], changed)
    assert counted(result) == {"changed-plan": 1}
    assert "-> 300Mi" in result.findings[0].after.effects[0]


def test_two_sets_of_runbooks_can_be_compared_with_each_other():
    """What the model cannot know about the past is the same on both sides, and so no difference."""
    dense = INCIDENTS[:60]
    assert counted(backtested(dense, runbook(), base=(runbook(),))) == {}
    found = counted(backtested(dense, runbook("1.1.0", factor=3), base=(runbook(),)))
    assert set(found) == {"changed-plan"}


def test_earlier_incidents_only_fill_the_gate():
    """They count for rates, and are not reported."""
    close = [{**one, "decided_at": f"2026-01-01T00:0{at}:00+00:00"} for at, one in enumerate(PERMITTED[:3])]
    result = backtested(close, runbook(per_hour=2), since=datetime.fromisoformat("2026-01-01T00:02:00+00:00"))
    assert (result.incidents, counted(result)) == (1, {"refused": 1})


@settings(max_examples=15, deadline=None)
@given(per_hour=st.integers(1, 6), size=st.integers(1, 40))
def test_no_hour_ever_holds_more_executions_than_the_runbook_allows(per_hour, size):
    """Whatever was recorded: the simulated gate keeps the rate as the real one does."""
    result = backtested(PERMITTED[:size], runbook(per_hour=per_hour))
    refused = {one.decision for one in result.findings if Difference.REFUSED in one.differences}
    ran = [datetime.fromisoformat(one["decided_at"]) for one in PERMITTED[:size] if one["decision"] not in refused]
    for at in ran:
        assert sum(at <= other < at + timedelta(hours=1) for other in ran) <= per_hour


def test_all_cores_say_what_one_says(tmp_path):
    """Processes share nothing and keep the order."""
    path = tmp_path / "incidents.jsonl.gz"
    with HistoryWriter(path) as file:
        file.runbook({"id": "raise-memory", "version": "1.0.0", "sha": runbook().sha, "text": runbook_text()})
        for one in recorded(1200):
            file.incident(one)
    results = []
    for processes in (1, 2):
        head, lines = opened(read_lines(path))
        proposals = propose_all(lines, Setup((runbook("1.1.0", factor=3),), head.versions, KNOBS), processes=processes)
        results.append([one.as_json() for one in compare(proposals, POLICY, head).findings])
    assert results[0] == results[1]
    assert len(results[0]) > 400


@pytest.fixture
def files(tmp_path):
    """An exported file, and a folder with a changed runbook."""
    history = tmp_path / "incidents.jsonl.gz"
    with HistoryWriter(history) as file:
        file.runbook({"id": "raise-memory", "version": "1.0.0", "sha": runbook().sha, "text": runbook_text()})
        for one in PERMITTED[:5]:
            file.incident(one)
    changed = tmp_path / "changed"
    changed.mkdir()
    (changed / "raise-memory.yaml").write_text(runbook_text("1.1.0", factor=3))
    return history, changed


def test_the_command_tells_machines(files, capsys):
    """Counts and one finding for each incident, without any server."""
    history, changed = files
    assert main(["backtest", "--from", str(history), "--runbooks", str(changed), "--json"]) == 0
    told = orjson.loads(capsys.readouterr().out)
    assert (told["incidents"], told["differences"]["changed-plan"]) == (5, 5)
    assert told["findings"][0]["incident"] == PERMITTED[0]["id"]


@pytest.mark.parametrize(("names", "code"), [("lost", 0), ("changed-plan,lost", 1), ("any", 1)])
def test_the_command_fails_on_what_it_is_told_to(files, names, code, capsys):
    """For pull requests."""
    history, changed = files
    assert main(["backtest", "--from", str(history), "--runbooks", str(changed), "--fail-on", names]) == code
    assert "5 changed-plan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--fail-on", "lots"], "there is no difference 'lots'"),
        (["--runbooks", "/nowhere"], "/nowhere does not exist"),
        (["--since", "soon"], "--since"),
    ],
)
def test_wrong_use_is_told(files, arguments, told, capsys):
    """With exit code 2 and what is expected."""
    history, changed = files
    assert main(["backtest", "--from", str(history), "--runbooks", str(changed), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_folder_with_a_broken_runbook_is_refused(files, capsys):
    """Its incidents would look lost."""
    history, changed = files
    (changed / "broken.yaml").write_text("runbook: {id: x}")
    assert main(["backtest", "--from", str(history), "--runbooks", str(changed)]) == 2
    assert "broken.yaml" in capsys.readouterr().err


def test_recorded_lines_are_plain_json():
    """Nothing in them needs our code to be read."""
    assert json.loads(line_of(PERMITTED[0]))["kind"] == "permit"
