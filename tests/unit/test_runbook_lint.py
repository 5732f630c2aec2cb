"""Runbooks that load, but deserve a warning: what could go wrong is said where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.action_schemas import ACTIONS

from runbooks.filters import ALL
from runbooks.findings import Severity
from runbooks.loader import load_text
from runbooks.rules import RULES

HEAD = """\
runbook:
  id: x
  trigger: {root_cause_reason: OOMKilled}
"""
READ = '    - {name: read, action: kubectl_get, params: {resource: "deployment/x"}, output_var: current}\n'


def _warnings(text):
    return [(finding.code, finding.line) for finding in load_text(text, actions=ACTIONS).findings]


def _steps(*steps, head=HEAD):
    return head + "  steps:\n" + "".join(f"    - {step}\n" for step in steps)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            _steps('{name: a, action: wait, params: {seconds: "{{ delay }}"}}'), [("RB303", 5)], id="implicit-parameter"
        ),
        pytest.param(
            _steps("{name: a, action: kubectl_drain, params: {ignore_daemonsets: yes}}"),
            [("RB012", 5)],
            id="yes-as-boolean",
        ),
        pytest.param(
            _steps("{name: a, action: kubectl_apply, params: {manifest: {kind: ConfigMap, mode: 0644}}}"),
            [("RB013", 5)],
            id="octal",
        ),
        pytest.param(
            HEAD + "  parameters: [{name: p}]\n  steps:\n    - {name: a, action: wait, params: {seconds: 1}}\n",
            [("RB210", 4)],
            id="unused-parameter",
        ),
        pytest.param(
            _steps("{name: a, action: kubectl_get, params: {resource: pod}, output_var: v}"),
            [("RB209", 5)],
            id="unused-variable",
        ),
        pytest.param(
            _steps(
                "{name: a, action: kubectl_rollout_restart, params: {resource: deployment}}",
                '{name: b, action: wait, params: {condition: "pod/{{ incident.resource.name }} ready", timeout: 5m}}',
            ),
            [("RB401", 6)],
            id="waits-for-a-replaced-pod",
        ),
        pytest.param(
            HEAD
            + "  steps:\n"
            + READ
            + '    - {name: a, action: kubectl_patch, params: {resource: sts, patch: {m: "{{ current * 2 }}"}}}\n',
            [("RB402", 6)],
            id="growth-in-place",
        ),
        pytest.param(
            HEAD
            + "  steps:\n"
            + READ
            + '    - {name: b, action: calculate, params: {expression: "{{ current * 2 }}"}, output_var: new}\n'
            + '    - {name: a, action: kubectl_patch, params: {resource: deployment, patch: {m: "{{ new }}"}}}\n',
            [("RB402", 7)],
            id="growth-through-a-variable",
        ),
        pytest.param(
            HEAD
            + "  steps:\n"
            + READ
            + '    - {name: b, action: calculate, params: {expression: "{{ current | grow(2, 9) }}"}, output_var: n}\n'
            + '    - {name: a, action: kubectl_patch, params: {resource: deployment, patch: {m: "{{ n }}"}}}\n',
            [],
            id="growth-with-a-ceiling",
        ),
        pytest.param(
            _steps("{name: a, action: kubectl_patch, params: {resource: configmap, patch: {}}}"),
            [("RB403", 5)],
            id="write-without-a-target",
        ),
        pytest.param(
            _steps('{name: a, action: webhook, params: {url: "https://x.test"}}'), [("RB405", 5)], id="no-inverse"
        ),
        pytest.param(
            _steps(
                '{name: a, action: webhook, params: {url: "https://x.test"}}',
                head=HEAD + "  safety: {require_approval: false}\n",
            ),
            [("RB405", 6), ("RB407", 6)],
            id="irreversible-without-approval",
        ),
        pytest.param(
            _steps('{name: a, action: webhook, params: {url: "https://x.test", method: GET}}'), [], id="only-a-question"
        ),
        pytest.param(
            "runbook:\n  id: x\n  trigger: {root_cause_reason: A, min_confidence: 0.3}\n"
            "  safety: {require_approval: false}\n  steps:\n    - {name: a, action: wait, params: {seconds: 1}}\n",
            [("RB408", 3)],
            id="acts-on-a-guess",
        ),
        pytest.param(
            'runbook:\n  id: x\n  trigger: {root_cause_reason: "*"}\n'
            "  steps:\n    - {name: a, action: wait, params: {seconds: 1}}\n",
            [("RB410", 3)],
            id="answers-everything",
        ),
        pytest.param(
            _steps("{name: a, action: wait, params: {seconds: 1}}", head=HEAD + "  safety: {blast_radius_limit: 0}\n"),
            [("RB411", 4)],
            id="never-runs",
        ),
        pytest.param(
            _steps("{name: a, action: wait, params: {seconds: 1}}", head=HEAD + "  verification: {settle: 0}\n"),
            [("RB416", 4)],
            id="no-settle-time",
        ),
        pytest.param(
            _steps("{name: a, action: kubectl_cordon}", head=HEAD + "  safety: {dry_run_first: false}\n"),
            [("RB418", 4)],
            id="no-dry-run",
        ),
        pytest.param(
            _steps("{name: a, action: wait, params: {seconds: 1}}")
            + "  rollback:\n    - {name: a, action: wait, params: {seconds: 1}, on_failure: rollback}\n",
            [("RB412", 7)],
            id="rollback-that-rolls-back",
        ),
        pytest.param(
            HEAD + "  steps:\n    - name: a\n      action: kubectl_apply\n      params:\n        manifest: |\n"
            '          kind: ConfigMap\n          data: {team: "{{ incident.labels.team }}"}\n',
            [("RB309", 10)],
            id="label-inside-yaml",
        ),
        pytest.param(
            HEAD + "  steps:\n    - name: a\n      action: kubectl_apply\n      params:\n        manifest: |\n"
            "          kind: ConfigMap\n          data: {team: {{ incident.labels.team | json }}}\n",
            [],
            id="label-escaped",
        ),
    ],
)
def test_a_runbook_that_could_go_wrong_is_warned_about(text, expected):
    """The warning stands where the cause stands, and nothing else is warned about."""
    assert _warnings(text) == expected
    assert all(RULES[code].severity is Severity.WARNING for code, _ in expected)


def test_variables_of_the_steps_are_known_in_the_rollback_and_in_messages():
    """A rollback uses what was read before the change."""
    text = (
        HEAD
        + "  steps:\n"
        + READ
        + '  notification: {on_failure: {slack: {channel: "#a", message: "{{ current }}: {{ error_message }}"}}}\n'
        + '  rollback:\n    - {name: back, action: kubectl_patch, params: {resource: sts, patch: "{{ current }}"}}\n'
    )
    assert _warnings(text) == []


def test_a_misspelt_incident_field_in_a_message_is_an_error_too():
    """A message is sent in the worst moment: that is not when a typo should come out."""
    text = _steps("{name: a, action: wait, params: {seconds: 1}}") + (
        '  notification: {on_success: {slack: {channel: "#a", message: "{{ incident.resource.nmae }}"}}}\n'
    )
    with pytest.raises(ValueError, match=r"incident\.resource\.nmae is unknown"):
        load_text(text)


def test_every_rule_says_why_and_what_to_do():
    """A code without an explanation is of no use."""
    for rule in RULES.values():
        assert rule.title
        assert rule.why.endswith(".")
        assert rule.advice


def test_the_documentation_has_every_rule_and_every_filter():
    """What can be reported or used can be looked up."""
    docs = Path(__file__).parents[2] / "docs"
    rules, page = (docs / "rules.md").read_text(), (docs / "runbooks.md").read_text()
    for rule in RULES.values():
        cells = (rule.code, rule.severity, rule.title, rule.why, rule.advice.replace("|", "\\|"))
        assert "| " + " | ".join(cells) + " |" in rules
    for name in ALL:
        assert f"`{name}`" in page or f"`{name}(" in page, name
