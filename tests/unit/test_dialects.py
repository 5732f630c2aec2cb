"""Runbooks of other dialects load as they stand, and every finding names the line of the original."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from executor.actions import action_schemas, default_actions
from runbooks.dialects.recognise import Dialect, OtherDocument
from runbooks.findings import RunbookError
from runbooks.folder import RunbookFolder
from runbooks.loader import load_file, load_folder, load_text, read_canonical
from runbooks.model import OnFailure, OnSuccess

OWN = Path(__file__).parent / "dialects"
SHARED = Path(__file__).parents[3] / "shared" / "examples"
ACTIONS = action_schemas(default_actions())
V1 = (OWN / "v1-restart.yaml").read_text()
OPS = (OWN / "ops001-import.yaml").read_text()


def _files(pattern):
    return [pytest.param(path, id=path.name) for folder in (OWN, SHARED) for path in sorted(folder.glob(pattern))]


def _step(loaded, step_id):
    return next(step for step in loaded.runbook.steps if step.id == step_id)


@pytest.mark.parametrize("path", [*_files("v1-[rh]*-*.yaml"), *_files("ops001-*.yaml")])
def test_a_file_of_another_dialect_loads_as_it_stands(path):
    """With the real actions, and with not one error."""
    if path.name in {"v1-runbook-mappings.yaml", "v1-rbac.yaml"}:
        with pytest.raises(OtherDocument):
            load_file(path, actions=ACTIONS)
        return
    loaded = load_file(path, actions=ACTIONS)
    assert loaded.runbook.steps
    assert loaded.path == path


def test_v1_says_who_and_when():
    """Metadata and trigger; conditions on the alert become parts of the trigger, or an expression."""
    runbook = load_text(V1, actions=ACTIONS).runbook
    assert (runbook.id, runbook.version, runbook.author) == ("slow-answers-restart", "1.0", "web-team")
    assert (runbook.updated, runbook.tags) == ("2026-02-01", ("latency",))
    trigger = runbook.trigger
    assert (trigger.alert, trigger.exclude_namespaces) == (("AnswersSlow",), ("billing",))
    assert trigger.severity == ("critical", "warning")
    assert trigger.when == "incident.labels['tier'] in ['web']"


def test_v1_preconditions_keep_their_consequences():
    """An action that reads, and a change window in its time zone."""
    ready, window = load_text(V1, actions=ACTIONS).runbook.preconditions
    assert (ready.action, ready.on_failure) == ("kubernetes/checkDeploymentReady", "abort")
    assert ready.params == {"namespace": "{{ params.namespace }}", "minReadyReplicas": 1}
    assert (window.windows[0].start, window.windows[0].timezone) == ("08:00", "Europe/Vienna")
    assert window.on_failure == "request_approval"


def test_v1_steps_keep_what_follows_them():
    """Continue, complete and rollback; approval unless every condition holds; output and state by name."""
    loaded = load_text(V1, actions=ACTIONS)
    look, wait = _step(loaded, "look_around"), _step(loaded, "wait_a_little")
    assert (look.action, look.on_failure, look.output_var) == ("kubernetes/execCommand", OnFailure.CONTINUE, "seen")
    assert look.timeout == timedelta(seconds=20)
    assert (wait.on_success, wait.on_failure) == (OnSuccess.COMPLETE, OnFailure.CONTINUE)
    assert wait.params["condition"] == "metrics.latency < 0.2"
    restart = _step(loaded, "restart_it")
    assert restart.require_approval == (
        "not ((params.restarts < params.limit) and (params.environment != 'production'))"
    )
    assert restart.params["deployment"] == "{{ params.podName | extract_deployment }}"
    assert _step(loaded, "see_it_back").on_failure is OnFailure.ROLLBACK


def test_v1_reads_the_live_object_before_the_step_that_asks_for_it():
    """`deployment.*` in a template is a read of its own, and what the rollback misses is kept as well."""
    loaded = load_text(V1, actions=ACTIONS)
    ids = [step.id for step in loaded.runbook.steps]
    assert ids.index("read_deployment") == ids.index("restart_it") - 1
    kept = _step(loaded, "restart_it").save_state
    assert kept["replicasBefore"] == "{{ deployment.spec.replicas }}"
    assert "deployment.kubernetes.io/revision" in kept["previousRevision"]


def test_v1_rollback_keeps_triggers_and_procedures():
    """Four reasons in words of their own; a condition that waits is looked at live, the rest is put in before."""
    runbook = load_text(V1, actions=ACTIONS).runbook
    failed, metric, health, back, unfixed = runbook.rollback.triggers
    assert {trigger.run for trigger in runbook.rollback.triggers} == {"take_back"}
    assert (failed.step_failed, back.step_failed, unfixed.not_fixed) == ("restart_it", "see_it_back", True)
    assert (metric.condition, metric.window) == ("metrics.errorRate > 0.05", timedelta(minutes=5))
    assert health.health_check_failed == 3
    undo, scale, settle = runbook.procedures["take_back"]
    assert undo.params["toRevision"] == "{{ state.previousRevision }}"
    assert scale.when == "(state.replicasBefore | default(none)) is not none"
    assert settle.params["condition"] == "deployment.status.readyReplicas == {{ state.replicasBefore | json }}"


def test_v1_approvals_keep_the_workflow():
    """Who, how many, in which order, until when, with which answers; and the way around it."""
    approvals = load_text(V1, actions=ACTIONS).runbook.approvals
    (rule,), (bypass,) = approvals.rules, approvals.bypass
    assert (rule.step, rule.order, rule.timeout) == ("restart_it", "sequential", timedelta(minutes=15))
    assert rule.when == "(params.environment == 'production') or (params.restarts >= params.limit)"
    assert [(one.value, one.required, one.min_approvals) for one in rule.approvers] == [
        ("first-line", True, 1),
        ("web-team", False, 2),
    ]
    assert rule.escalation[0].notify == ("second-line",)
    assert rule.reject[0].requires_comment
    assert (bypass.roles, bypass.audit_level, bypass.requires_justification) == (("lead",), "critical", True)


def test_a_v1_file_without_approvals_asks_a_human():
    """What a file does not say takes the strict value, in every dialect."""
    asks = V1[: V1.index("approvals:")] + V1[V1.index("rollback:") :]
    assert load_text(asks, actions=ACTIONS).runbook.safety.require_approval is True
    assert load_text(V1, actions=ACTIONS).runbook.safety.require_approval is False


def test_ops_001_keeps_its_promises_and_its_graph():
    """Legal basis, assumptions and KPIs; dashes of ids become underscores wherever they are used."""
    runbook = load_text(OPS, actions=ACTIONS).runbook
    assert (runbook.version, runbook.legal_basis) == ("2.10.0", "Contract 7, section 2")
    assert [(one.name, one.check) for one in runbook.assumptions] == [
        ("source_is_up", None),
        ("small_enough", "incident.cluster == 'test'"),
    ]
    assert (runbook.kpis.max_duration, runbook.kpis.max_error_rate) == (timedelta(minutes=2), 0.1)
    get, check, publish = runbook.steps
    assert [step.depends_on for step in runbook.steps] == [(), ("get_rows",), ("check",)]
    assert (get.on_failure, check.on_failure) == (OnFailure.ABORT, OnFailure.CONTINUE)
    assert check.params["entities"] == "{{ steps.get_rows.outputs.rows }}"
    assert publish.params["metrics"] == {
        "rows": "{{ (steps.check.outputs.good) | length }}",
        "seconds": "{{ execution.duration }}",
        "price": "${5}",
    }
    assert publish.outputs == {"published": True}
    assert runbook.trigger.manual


def test_ops_001_variables_become_parameters_and_secrets():
    """Nothing is read from the environment of the pipeline by the name that a file chooses."""
    get = load_text(OPS, actions=ACTIONS).runbook.steps[0]
    assert get.params == {"source_url": "{{ params.ROWS_URL }}/rows", "auth_token": "{{ secrets.ROWS_TOKEN }}"}
    (declared,) = load_text(OPS, actions=ACTIONS).runbook.parameters
    assert (declared.name, declared.required) == ("ROWS_URL", True)


def _line(text, part):
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


@pytest.mark.parametrize(
    ("text", "old", "new", "code"),
    [
        pytest.param(V1, "    onFailure: abort", "    onFailure: abotr", "RB106", id="consequence"),
        pytest.param(V1, "    saveOutput: seen", "    saveOuput: seen", "RB102", id="key"),
        pytest.param(V1, '"step.restart-it.failed"', '"step.restrat-it.failed"', "RB206", id="step"),
        pytest.param(V1, "    action: rolloutRestart", "    action: rolloutRestrat", "RB201", id="action"),
        pytest.param(V1, "minReadyReplicas: 1", "minReadyReplica: 1", "RB202", id="parameter-of-a-check"),
        pytest.param(V1, "pollInterval: 5s", "polInterval: 5s", "RB202", id="parameter"),
        pytest.param(V1, '"metrics.latency < 20%"', '"metrics.latency <"', "RB301", id="half-an-expression"),
        pytest.param(V1, '"context.restarts < limit"', '"context.restarts < limt"', "RB301", id="name-in-a-condition"),
        pytest.param(V1, "window: 5m", "window: soon", "RB109", id="duration"),
        pytest.param(V1, "timezone: Europe/Vienna", "timezone: Europe/Wien", "RB221", id="time-zone"),
        pytest.param(V1, "    continueOnFailure: true", "    approved: true", "RB102", id="approved-in-the-file"),
        pytest.param(V1, "window: 5m, action: take-back", "window: 5m, action: take-bakc", "RB215", id="procedure"),
        pytest.param(OPS, "depends_on: [get-rows]", "depends_on: [get-row]", "RB218", id="dependency"),
        pytest.param(OPS, "    type: schema_check", "    type: schema_chek", "RB201", id="type"),
        pytest.param(OPS, "outputs.rows}", "outputs.row}", "RB302", id="output"),
        pytest.param(OPS, "${len(", "${lenn(", "RB301", id="function"),
        pytest.param(OPS, "${steps.get-rows.", "${step.get-rwos.", "RB301", id="step-in-an-expression"),
        pytest.param(OPS, "max_duration_seconds", "max_duration_second", "RB102", id="kpi"),
        pytest.param(OPS, "source_is_up: true", "source_is_up: false", "RB111", id="assumption"),
        pytest.param(OPS, "log_and_continue", "log_and_go_on", "RB106", id="on-failure"),
    ],
)
def test_a_mistake_is_found_where_the_author_wrote_it(text, old, new, code):
    """The line is that of the file, not that of its translation."""
    assert text.count(old) >= 1
    broken = text.replace(old, new, 1)
    with pytest.raises(RunbookError) as refused:
        load_text(broken, Path("mine.yaml"), actions=ACTIONS)
    errors = {(one.code, one.line) for one in refused.value.findings if one.severity == "error"}
    assert (code, _line(broken, new.strip())) in errors, str(refused.value)
    assert all(one.advice for one in refused.value.findings)


def test_approval_inside_a_file_counts_for_nothing():
    """`approved: true` is refused in every dialect, wherever it stands."""
    for text, place in ((V1, "  name: slow-answers-restart"), (OPS, "id: rb-7-import")):
        with pytest.raises(RunbookError) as refused:
            load_text(text.replace(place, f"{place}\n{' ' * (len(place) - len(place.lstrip()))}approved: true", 1))
        assert "RB102" in {one.code for one in refused.value.findings}


def test_json_of_the_canonical_form_loads_with_or_without_its_top_key():
    """As programs send it: tabs, characters in two halves, numbers with exponents."""
    body = {
        "id": "j",
        "version": 1.0,
        "description": "fine \U0001f600",
        "trigger": {"root_cause_reason": "OOMKilled", "min_confidence": 9e-1},
        "steps": [{"name": "a", "action": "wait", "params": {"seconds": 1}}],
    }
    for given in (body, {"runbook": body}):
        text = json.dumps(given, indent="\t")
        loaded = load_text(text, actions=ACTIONS)
        assert loaded.runbook.description == "fine \U0001f600"
        assert (loaded.runbook.version, loaded.runbook.trigger.min_confidence) == ("1.0", 0.9)
        wrong = text.replace('"action"', '"acton"')
        with pytest.raises(RunbookError) as refused:
            load_text(wrong, actions=ACTIONS)
        assert ("RB102", _line(wrong, "acton")) in {(one.code, one.line) for one in refused.value.findings}


def test_json_that_is_broken_is_located():
    """Line and column of the place where it stops being JSON."""
    with pytest.raises(RunbookError) as refused:
        load_text('{"runbook":\n  {"id": }}', Path("x.json"))
    assert [(one.code, one.line, one.column) for one in refused.value.findings] == [("RB003", 2, 10)]


def test_duplicate_keys_of_json_are_refused():
    """Python's reader would silently take the last one."""
    with pytest.raises(RunbookError) as refused:
        load_text('{"runbook": {"id": "a", "id": "b"}}')
    assert "RB005" in {one.code for one in refused.value.findings}


def test_every_dialect_is_recognised_by_its_marks():
    """The same marks as the table of the documentation."""
    canonical = "runbook: {id: x, trigger: {manual: true}, steps: [{name: a, action: wait}]}"
    told = [read_canonical(text).dialect for text in (V1, OPS, canonical)]
    assert told == [Dialect.V1, Dialect.OPS_001, Dialect.CANONICAL]


def test_a_folder_takes_every_dialect_and_leaves_other_documents_alone(tmp_path):
    """Mappings, acceptance packs and fixtures stand beside runbooks; a change of any dialect is followed."""
    (tmp_path / "v1.yaml").write_text(V1)
    (tmp_path / "ops.yaml").write_text(OPS)
    (tmp_path / "mappings.yaml").write_text("mappings: [{alert: AnswersSlow, runbook: slow-answers-restart}]\n")
    (tmp_path / "acceptance.yml").write_text("scenarios: []\n")
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "fixtures" / "rows.json").write_text('{"rows": []}')
    loaded, found = load_folder(tmp_path, actions=ACTIONS)
    assert set(loaded) == {"slow-answers-restart", "rb-7-import"}
    assert [one for one in found if one.severity == "error"] == []
    folder = RunbookFolder([tmp_path], actions=ACTIONS)
    assert folder.reload().added == ("rb-7-import", "slow-answers-restart")
    (tmp_path / "v1.yaml").write_text(
        V1.replace("limit, type: integer, default: 3", "limit, type: integer, default: 4")
    )
    assert folder.reload().changed == ("slow-answers-restart",)
    (tmp_path / "v1.yaml").write_text(V1.replace("saveOutput", "saveOuput"))
    rejected = folder.reload().rejected
    assert [one.kept for one in rejected] == ["slow-answers-restart"]


def test_a_document_that_is_named_as_a_runbook_says_what_it_is(tmp_path):
    """Named by itself it was meant as a runbook, so it is an error with advice."""
    file = tmp_path / "mappings.yaml"
    file.write_text("mappings: []\n")
    _, found = load_folder(file, actions=ACTIONS)
    assert [one.code for one in found] == ["RB101"]
    assert "runbooks.mappings" in found[0].advice
