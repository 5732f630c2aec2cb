"""Mappings of alerts to runbooks: what they say, what is wrong with them, and what they let start."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes.pipeline_rig import Rig, runbook

from matcher.alerts import AlertIndex
from matcher.model import Origin, Signal, SignalStatus, Subject
from runbooks.findings import RunbookError
from runbooks.loader import load_text
from runbooks.mapping_files import MappingFiles, check_mappings, in_force, load_mappings, load_mappings_file
from runbooks.mappings import AlertFacts, holds
from safety.approvals import Verb
from services.records import DecisionKind

SHARED = Path(__file__).parents[3] / "shared" / "examples" / "v1-runbook-mappings.yaml"
TEXT = """\
mappings:
  - alert: MemoryHigh
    runbook: raise-memory
    autoTrigger: true
    conditions:
      - namespace: "!billing"
      - value: "> 50"
    parameters:
      namespace: "{{ $labels.namespace }}"
      podName: "{{ $labels.pod }}"
      threshold: "{{ $value }}"
      note: "{{ $labels.pod }} in {{ $labels.namespace }}"
  - alert: [DiskFull, Disk*]
    runbook: raise-memory
defaults:
  autoTrigger: false
  notifyChannel: "#alerts"
  suggestRunbook: true
"""
NAMED = {"trigger": {"root_cause_reason": [], "manual": True, "min_confidence": 0.8}}


def _mappings(text=TEXT):
    return in_force([load_mappings(text, Path("mappings.yaml"))])


def test_the_published_example_loads_unchanged():
    """Four alerts; a file of mappings is read as it stands."""
    text = SHARED.read_text() if SHARED.exists() else TEXT
    loaded = load_mappings(text)
    assert loaded.findings == ()
    mapped = loaded.content.mappings[0]
    assert mapped.auto_trigger is True
    assert {"namespace", "podName"} <= set(mapped.parameters)
    assert loaded.content.defaults.auto_trigger is False
    assert loaded.content.defaults.suggest_runbook


@pytest.mark.parametrize(
    ("test", "given", "expected"),
    [
        ("web", "web", True),
        ("WEB", "web", True),
        ("we*", "web", True),
        ("we*", "shop", False),
        ("!web", "web", False),
        ("!web", "shop", True),
        ("!= we?", "web", False),
        ("> 50", "50.5", True),
        ("> 50", "50", False),
        (">= 50", "50", True),
        ("< 14", "13", True),
        ("<= 14 ", "15", False),
        ("> 50", "many", False),
        ("> 50%", "60%", True),
        ("== 5", "5.0", True),
        (5, "5", True),
        (True, "true", True),
        (["a", "b*"], "bc", True),
        (["a", "b"], "c", False),
        ("> 50", "nan", False),
        (".*", "web", False),
    ],
)
def test_a_condition_holds_or_does_not(test, given, expected):
    """Texts, negation, globs, numbers, lists; what is no number is never larger or smaller."""
    assert holds(test, given) is expected


def test_parameters_are_filled_from_the_alert_and_left_out_when_it_does_not_say():
    """Nothing is guessed: without a value the runbook's own default counts, or nothing is planned."""
    (entry,) = _mappings().of("memoryhigh")
    full = AlertFacts("MemoryHigh", "shop", {"namespace": "shop", "pod": "web-1"}, {"value": "93.5"})
    assert entry.parameters(full) == {
        "namespace": "shop",
        "podName": "web-1",
        "threshold": "93.5",
        "note": "web-1 in shop",
    }
    bare = AlertFacts("MemoryHigh", "shop", {"namespace": "shop"})
    assert entry.parameters(bare) == {"namespace": "shop"}


def test_a_condition_on_what_the_alert_does_not_say_does_not_hold():
    """Missing data never permits."""
    (entry,) = _mappings().of("MemoryHigh")
    assert entry.why_not(AlertFacts("MemoryHigh", "shop", {}, {"value": "60"})) == ""
    assert "value" in entry.why_not(AlertFacts("MemoryHigh", "shop"))
    assert "billing" in entry.why_not(AlertFacts("MemoryHigh", "billing", {}, {"value": "60"}))


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("mappings:\n  - alrt: a\n    runbook: b\n", "RB102", 2),
        ("mappings:\n  - alert: a\n", "RB103", 2),
        ("mappings:\n  - alert: a\n    runbook: b\n    autoTrigger: sometimes\n", "RB104", 4),
        ("mappings:\n  - alert: a\n    runbook: b\n    conditions:\n      - x: '> y'\n", "RB111", 5),
        ("mappings:\n  - alert: a\n    runbook: b\n    conditions:\n      - x: '!'\n", "RB111", 5),
        ("mappings:\n  - alert: a\n    runbook: b\n    conditions:\n      - x: []\n", "RB111", 5),
        ("mappings:\n  - alert: a\n    runbook: b\n    parameters:\n      p: '{{ $label.x }}'\n", "RB301", 5),
        ("mappings:\n  - alert: a\n    runbook: b\n    parameters:\n      p: '{{ labels.x }}'\n", "RB301", 5),
        ("mappings:\n  - alert: a\n    alert: b\n    runbook: b\n", "RB005", 3),
        ("defaults: {autotrigger: false}\n", "RB102", 1),
        ("- a\n", "RB101", 1),
        ("mappings: {a: b\n", "RB003", 1),
    ],
)
def test_a_mistake_in_a_mapping_is_found_in_its_line(text, code, line):
    """Code, line and advice, as in runbooks."""
    with pytest.raises(RunbookError) as refused:
        load_mappings(text, Path("m.yaml"))
    assert (code, line) in {(one.code, one.line) for one in refused.value.findings}, str(refused.value)
    assert all(one.path == Path("m.yaml") and one.advice for one in refused.value.findings)


def test_mappings_are_checked_against_the_runbooks_there_are():
    """Unknown runbooks and parameters, missing ones, and a mapping that an earlier one hides."""
    runbooks = {
        "a": load_text(
            "runbook:\n  id: a\n  trigger: {manual: true}\n  parameters: [{name: pod, required: true}]\n"
            '  steps: [{name: x, action: wait, params: {seconds: "{{ params.pod }}"}}]\n'
        )
    }
    text = (
        "mappings:\n"
        "  - {alert: X, runbook: a, parameters: {pod: '{{ $labels.pod }}'}}\n"
        "  - {alert: X, runbook: a, parameters: {pdo: y}}\n"
        "  - {alert: Y, runbook: aa}\n"
    )
    found = [(one.code, one.line) for one in check_mappings([load_mappings(text)], runbooks)]
    assert found == [("RB232", 3), ("RB233", 3), ("RB231", 3), ("RB230", 4)]


def test_a_changed_file_is_taken_and_a_bad_one_keeps_its_last_good_version(tmp_path):
    """As with runbooks; a file that was never good leaves unmapped alerts to humans."""
    good, never = tmp_path / "good.yaml", tmp_path / "never.yaml"
    good.write_text("mappings: [{alert: A, runbook: r, autoTrigger: true}]\n")
    files = MappingFiles([good])
    assert files.reload() is True
    assert files.reload() is False
    assert [entry.auto for entry in files.current.of("A")] == [True]
    assert not files.current.suggests_unmapped
    good.write_text("mappings: [{alert: A, runbok: r}]\n")
    assert files.reload() is True
    assert [entry.auto for entry in files.current.of("A")] == [True]
    assert {one.code for one in files.errors} == {"RB102", "RB103"}
    both = MappingFiles([good, never])
    both.reload()
    assert both.current.suggests_unmapped
    with pytest.raises(RunbookError):
        load_mappings_file(never)


def test_a_measured_fraction_fits_a_parameter_that_is_a_whole_number():
    """Prometheus measures 93.6, the runbook counts in whole percent."""
    loaded = runbook(**NAMED, parameters=[{"name": "threshold", "type": "integer"}])
    signal = _signal("MemoryHigh", value="93.6")
    terms = AlertIndex([loaded], _mappings()).terms(signal, loaded, by_alert=True)
    assert terms.parameters["threshold"] == 94


def _signal(name, value="60", **labels):
    return Signal(
        "e",
        "acme",
        "kind",
        name,
        "WARNING",
        SignalStatus.FIRING,
        Subject("Pod", "app-1", "shop"),
        datetime(2026, 1, 1, tzinfo=UTC),
        "alertmanager",
        "k",
        Origin("alerts", 0, 0),
        labels={"alertname": name, "namespace": "shop", "pod": "app-1", **labels},
        annotations={"value": value},
    )


async def test_a_mapped_alert_is_its_own_cause_and_its_parameters_reach_the_steps():
    """Nobody waits for root cause analysis; labels and value become parameters of the plan."""
    rig = Rig(
        runbook(
            **NAMED,
            steps=[{"name": "raise", "action": "set", "params": {"name": "{{ target.name }}", "value": "512Mi"}}],
            parameters=[{"name": "podName", "required": True}, {"name": "threshold", "type": "integer"}],
        )
    )
    rig.mappings = _mappings()
    process = rig.process()
    await process.ingest.on_batch([rig.alert("MemoryHigh", value="93")])
    await process.quiet()
    decision = rig.only(DecisionKind.PERMIT)
    assert decision.incident.cause.writer == "alert"
    assert decision.incident.cause.confidence == 0.9
    params = decision.execution.plan.context["params"]
    assert (params["podName"], params["threshold"]) == ("app-1", 93)
    assert rig.effects() == ["set app=512Mi"]


async def test_a_runbook_that_names_an_alert_needs_no_mapping():
    """`trigger.alert` alone, exact or by glob."""
    rig = Rig(runbook(trigger={"root_cause_reason": [], "alert": ["Memory*"], "min_confidence": 0.8}))
    process = rig.process()
    await process.ingest.on_batch([rig.alert("MemoryHigh")])
    await process.quiet()
    assert rig.only(DecisionKind.PERMIT).incident.cause.reason == "MemoryHigh"


async def test_the_trust_in_an_alert_is_a_setting_that_nothing_exceeds():
    """Below the runbook's confidence the gate says no, whatever a table of calibration says."""
    for trust, kind in ((0.7, DecisionKind.REFUSAL), (0.85, DecisionKind.PERMIT)):
        rig = Rig(runbook(**NAMED), alert_confidence=trust)
        rig.mappings = _mappings()
        process = rig.process()
        await process.ingest.on_batch([rig.alert("MemoryHigh", value="60")])
        await process.quiet()
        assert rig.only(kind).incident.cause.confidence == trust


async def test_an_alert_that_nothing_names_is_never_its_own_cause():
    """Without a cause from elsewhere it waits, and then nothing is done."""
    rig = Rig(runbook(**NAMED))
    rig.mappings = _mappings()
    process = rig.process()
    await process.ingest.on_batch([rig.alert("LatencyHigh")])
    assert [one.kind for one in rig.decisions()] == [DecisionKind.WAITING]
    assert rig.effects() == []


async def test_a_mapping_whose_conditions_do_not_hold_starts_nothing():
    """The alert is then no cause of its own, and waits like any other."""
    rig = Rig(runbook(**NAMED))
    rig.mappings = _mappings()
    process = rig.process()
    await process.ingest.on_batch([rig.alert("MemoryHigh", value="40"), rig.alert("MemoryHigh", app="app")])
    await process.quiet()
    assert {one.kind for one in rig.decisions()} == {DecisionKind.WAITING}
    assert rig.effects() == []


async def test_without_auto_trigger_a_human_is_asked_when_nothing_else_was_found():
    """Root cause analysis has its time first; then the runbook is suggested, on the channel of the defaults."""
    rig = Rig(runbook(**NAMED))
    rig.mappings = _mappings()
    process = rig.process()
    await process.ingest.on_batch([rig.alert("DiskFull")])
    assert [one.kind for one in rig.decisions()] == [DecisionKind.WAITING]
    for _ in range(20):
        rig.clock.passed += 30
        await process.bridge.sweep()
    decision = rig.only(DecisionKind.APPROVAL)
    assert "suggested only" in decision.message
    told = decision.execution.notification["on_approval"]["slack"]
    assert told["channel"] == "#alerts"
    assert rig.effects() == []


async def test_a_yes_to_a_suggestion_runs_the_plan_that_was_shown():
    """The plan that is made again has the same parameters, so the approval still fits."""
    rig = Rig(runbook(**NAMED, parameters=[{"name": "podName"}]))
    rig.mappings = _mappings(TEXT.replace("autoTrigger: true", "autoTrigger: false", 1))
    process = rig.process()
    await process.ingest.on_batch([rig.alert("MemoryHigh", value="60")])
    for _ in range(20):
        rig.clock.passed += 30
        await process.bridge.sweep()
    asked = rig.only(DecisionKind.APPROVAL).approval
    await rig.store.answer(
        asked.id, Verb.APPROVE, by="ann", reason="yes", now=rig.clock.now(), plan_hash=asked.plan_hash
    )
    await process.desk.sweep()
    await process.quiet()
    assert rig.effects() == ["set app=512Mi"]


async def test_defaults_that_ask_hold_for_every_alert_that_no_mapping_names():
    """A cause from the graph is found, but the operator said that unmapped alerts start nothing by themselves."""
    rig = Rig(runbook())
    rig.mappings = _mappings()
    process = rig.process()
    alert = rig.alert("KubePodCrashLooping")
    await process.ingest.on_batch([alert])
    (waiting,) = rig.decisions()
    rig.explain(waiting.signal.event_id)
    rig.clock.passed += 5
    await process.bridge.sweep()
    decision = rig.only(DecisionKind.APPROVAL)
    assert "no mapping names the alert KubePodCrashLooping" in decision.message


async def test_an_event_of_the_cluster_is_no_alert_and_runs_as_before():
    """Defaults are about alerts; what root cause analysis found from events is not touched."""
    rig = Rig()
    rig.mappings = _mappings()
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    assert rig.only(DecisionKind.PERMIT)


async def test_related_runbooks_are_named_where_nothing_answers():
    """The decision names what sounds alike, and nothing is done."""
    rig = Rig(runbook(id="memory-high-restart"))
    rig.mappings = _mappings()
    process = rig.process()
    await process.ingest.on_batch([rig.alert("PodMemoryHigh")])
    (waiting,) = rig.decisions()
    rig.explain(waiting.signal.event_id)
    rig.runbooks = [runbook(id="memory-high-restart", trigger={"root_cause_reason": "DiskFull"})]
    rig.clock.passed += 5
    await process.bridge.sweep()
    assert "related: memory-high-restart" in rig.only(DecisionKind.NO_MATCH).message
    assert rig.effects() == []


def test_the_example_in_the_documentation_loads():
    """What people copy first must work."""
    page = (Path(__file__).parents[2] / "docs" / "dialects.md").read_text()
    loaded = load_mappings(page.split("```yaml\n")[1].split("```")[0])
    assert loaded.findings == ()
    assert loaded.content.mappings[0].auto_trigger is True
