"""Warnings about how steps follow each other, about rules around them, and about several runbooks together."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fakes.action_schemas import ACTIONS

from executor.actions import action_schemas, default_actions
from runbooks.findings import RunbookError
from runbooks.loader import load_folder, load_text
from runbooks.templates import TemplateError, evaluate, render

HEAD = "runbook:\n  id: x\n  trigger: {root_cause_reason: OOMKilled}\n"
WAIT = "    - {name: a, action: wait, params: {seconds: 1}}\n"
CALL = "    - {name: c, action: webhook, params: {url: http://x}, retry: {attempts: 3, errors: [timeout]}}\n"
OWN = Path(__file__).parent / "dialects"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            HEAD + "  steps:\n" + WAIT + "    - {name: b, action: wait, params: {seconds: 1}, when: false}\n",
            ("RB214", 6),
            id="never-wanted",
        ),
        pytest.param(
            HEAD
            + "  steps:\n    - {name: a, action: wait, params: {seconds: 1}, on_success: complete}\n"
            + "    - {name: b, action: wait, params: {seconds: 1}}\n",
            ("RB214", 6),
            id="behind-the-end",
        ),
        pytest.param(
            HEAD + "  steps:\n" + WAIT + "  procedures: {back: [{name: b, action: wait, params: {seconds: 1}}]}\n",
            ("RB217", 6),
            id="procedure-of-nobody",
        ),
        pytest.param(HEAD + "  steps:\n" + CALL, ("RB417", 5), id="retry-of-a-call"),
        pytest.param(
            HEAD + "  timeout: 1m\n  steps:\n    - {name: a, action: wait, params: {seconds: 1}, timeout: 5m}\n",
            ("RB419", 6),
            id="longer-than-the-whole",
        ),
        pytest.param(
            HEAD
            + "  steps:\n    - {name: a, action: wait, timeout: 1m, "
            + "params: {condition: rollout complete, timeout: 5m}}\n",
            ("RB419", 5),
            id="longer-than-the-step",
        ),
        pytest.param(
            HEAD + '  steps:\n    - {name: a, action: wait, params: {condition: "rollout complete"}}\n',
            ("RB422", 5),
            id="wait-without-end",
        ),
        pytest.param(
            HEAD + "  safety: {rates: {per_minute: 9, per_day: 3}}\n  steps:\n" + WAIT, ("RB424", 4), id="rates"
        ),
        pytest.param(
            HEAD
            + "  steps:\n"
            + WAIT
            + "  approvals:\n    rules:\n      - {name: r, timeout: 5m, escalation: [{after: 9m, notify: [b]}]}\n",
            ("RB425", 8),
            id="escalation-too-late",
        ),
        pytest.param(
            HEAD + "  steps:\n" + WAIT + "  approvals:\n    rules: [{name: r, approvers: [{value: a}, {value: a}]}]\n",
            ("RB425", 7),
            id="approver-twice",
        ),
        pytest.param(
            HEAD + "  steps:\n" + WAIT + "  approvals: {bypass: [{roles: [a], requires_justification: false}]}\n",
            ("RB426", 6),
            id="bypass-without-a-word",
        ),
        pytest.param(
            HEAD
            + "  steps:\n    - name: a\n      action: wait\n      params: {seconds: 1}\n"
            + "      retry: {backoff: 1m, max_backoff: 1s}\n",
            ("RB429", 8),
            id="pauses",
        ),
    ],
)
def test_a_flow_that_could_go_wrong_is_warned_about(text, expected):
    """The code and the line; the runbook can still be used."""
    found = [(one.code, one.line) for one in load_text(text, actions=ACTIONS).findings]
    assert expected in found


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            HEAD
            + "  steps:\n    - {name: a, action: wait, params: {seconds: 1}, on_success: complete, "
            + "on_failure: continue}\n"
            + "    - {name: b, action: wait, params: {seconds: 1}}\n",
            id="graduated",
        ),
        pytest.param(
            HEAD
            + "  steps:\n    - {name: a, action: wait, params: {seconds: 1}, on_success: complete}\n"
            + "    - {name: b, action: wait, params: {seconds: 1}, depends_on: []}\n",
            id="beside-the-end",
        ),
        pytest.param(
            HEAD
            + '  steps:\n    - {name: a, action: kubectl_get, params: {resource: pod}, for_each: ["x", "y"], '
            + 'save_state: {before: "{{ item }}"}, when: "each.index < 1"}\n'
            + '    - {name: b, action: wait, params: {seconds: "{{ state.before | length }}"}}\n',
            id="loop",
        ),
        pytest.param(
            HEAD
            + "  preconditions:\n    - {name: p, action: kubectl_get, params: {resource: pod}, check: output.ready}\n"
            + "    - {name: q, check: metrics.load < 5}\n  steps:\n"
            + WAIT
            + "  rollback:\n    triggers: [{condition: 'sum(rate(errors[5m])) > 3', window: 5m}, {step_failed: '*'}]\n",
            id="terms",
        ),
        pytest.param(
            HEAD
            + "  steps:\n    - {name: a, action: wait, params: {seconds: 1}, depends_on: []}\n"
            + "    - {name: b, action: wait, params: {seconds: 1}, depends_on: []}\n"
            + '    - {name: c, action: wait, params: {seconds: "{{ steps.a.output.n + steps.b.output.n }}"}, '
            + "depends_on: [a, b]}\n",
            id="diamond",
        ),
    ],
)
def test_what_is_right_is_not_warned_about(text):
    """A graduated response, a loop, a graph, checks and triggers: no false alarm."""
    assert load_text(text, actions=ACTIONS).findings == ()


def _runbook(name, *calls):
    steps = "".join(
        f"    - {{name: c{n}, action: run_runbook, params: {{runbook: {one}}}}}\n" for n, one in enumerate(calls)
    )
    return f"runbook:\n  id: {name}\n  trigger: {{manual: true}}\n  steps:\n{WAIT}{steps}"


def test_runbooks_that_call_each_other_are_found_in_their_folder(tmp_path):
    """A circle over three files, told once, and a call of what is not there with the nearest id."""
    for name, calls in {"one": ["two"], "two": ["three"], "three": ["one"], "four": ["thre"]}.items():
        (tmp_path / f"{name}.yaml").write_text(_runbook(name, *calls))
    _, found = load_folder(tmp_path)
    told = {(one.path.name, one.code, one.line): one for one in found}
    assert [key[1] for key in told].count("RB223") == 1
    assert told["four.yaml", "RB219", 6].advice == "did you mean three?"


def test_a_file_by_itself_may_call_what_stands_elsewhere(tmp_path):
    """`rb validate one.yaml` knows nothing of the rest of the folder."""
    file = tmp_path / "one.yaml"
    file.write_text(_runbook("one", "two"))
    assert load_folder(file)[1] == ()


def test_an_id_that_is_taken_says_in_which_version(tmp_path):
    """Two versions of one runbook in one folder are as much a mistake as two copies."""
    for name, version in (("a", "1.0"), ("b", "1.0"), ("c", "2.0")):
        (tmp_path / f"{name}.yaml").write_text(
            _runbook("one").replace("  trigger", f'  version: "{version}"\n  trigger')
        )
    _, found = load_folder(tmp_path)
    assert [one.code for one in found] == ["RB414", "RB414"]
    assert "also in version 1.0" in found[0].message
    assert "there in version 1.0" in found[1].message


def test_the_owner_of_a_pod_is_asked_and_never_guessed():
    """The live owner of the incident's pod; any other pod stops the runbook."""
    context = {
        "incident": {"resource": {"kind": "Pod", "name": "web-7d9f-x2"}},
        "target": {"kind": "StatefulSet", "name": "shop", "pod": "web-7d9f-x2"},
    }
    assert render("{{ name | extract_deployment }}", {**context, "name": "web-7d9f-x2"}) == "shop"
    assert evaluate("extract_deployment('shop')", context) == "shop"
    with pytest.raises(TemplateError, match="owner of the pod other-1 is not known here: only that of web-7d9f-x2"):
        render("{{ 'other-1' | extract_deployment }}", context)
    alone = {**context, "target": {"kind": "Pod", "name": "web-7d9f-x2", "pod": "web-7d9f-x2"}}
    with pytest.raises(TemplateError, match="has no controller"):
        render("{{ 'web-7d9f-x2' | extract_deployment }}", alone)


def test_a_mistake_at_the_end_of_a_procedure_has_its_own_line():
    """Positions below `procedures` and `rollback.steps` are those of the file."""
    text = (
        HEAD
        + "  steps:\n"
        + WAIT
        + "  rollback:\n    steps:\n      - {name: r, action: wait, params: {second: 1}}\n"
        + "  procedures:\n    back:\n      - {name: p, action: wait, params: {second: 1}}\n"
    )
    with pytest.raises(RunbookError) as refused:
        load_text(text, actions=ACTIONS)
    assert [(one.code, one.line) for one in refused.value.findings if one.code == "RB202"] == [
        ("RB202", 8),
        ("RB202", 11),
    ]


def test_other_dialects_load_as_fast_as_the_canonical_form():
    """A thousand runbooks are read in a few seconds on a busy machine, whoever wrote them."""
    actions = action_schemas(default_actions())
    text = (OWN / "ops001-import.yaml").read_text()
    load_text(text, actions=actions)
    start = time.perf_counter()
    for number in range(100):
        load_text(text.replace("rb-7-import", f"rb-{number}"), actions=actions)
    assert time.perf_counter() - start < 2
