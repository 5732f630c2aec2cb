"""What `rb validate` knows of the Kubernetes actions: other spellings, ceilings, effects that last."""

from __future__ import annotations

import pytest

from executor.actions import action_schemas, default_actions
from runbooks.findings import RunbookError
from runbooks.loader import load_text

HEAD = """\
runbook:
  id: x
  trigger: {root_cause_reason: OOMKilled}
  safety: {require_approval: false}
  steps:
    - {name: read, action: kubectl_get, params: {resource: deployment, field: spec.replicas}, output_var: now}
"""


def codes(step: str) -> list[str]:
    try:
        found = load_text(f"{HEAD}    - {step}\n", actions=action_schemas(default_actions())).findings
    except RunbookError as error:
        found = error.findings
    return [finding.code for finding in found if finding.line == 7]


@pytest.mark.parametrize(
    "step",
    [
        '{name: a, action: kubernetes/scale, params: {deployment: web, replicas: "{{ now }}"}}',
        '{name: a, action: kubernetes/rolloutUndo, params: {deployment: web, toRevision: "{{ now }}"}}',
        "{name: a, action: kubernetes/checkDeploymentReady, params: {namespace: a, minReadyReplicas: 2}}",
        '{name: a, action: kubectl_scale, params: {resource: deployment, replicas: "{{ now + 2 }}", max: 8}}',
        '{name: a, action: kubectl_set_resources, params: {limits: {memory: "{{ now * 2 }}"}, max: {memory: 1Gi}}}',
        "{name: a, action: kubectl_create_job, params: {cronjob: nightly}}",
    ],
)
def test_what_is_right_in_either_spelling_raises_no_alarm(step):
    """Names of both dialects are known, and a ceiling is a ceiling wherever it stands."""
    assert set(codes(step)) <= {"RB209"}


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("{name: a, action: kubectl_scale, params: {replicas: 2}}", "RB203"),
        ("{name: a, action: kubectl_get, params: {}}", "RB203"),
        ("{name: a, action: kubernetes/rolloutUndo, params: {toRevison: 2}}", "RB202"),
        ('{name: a, action: kubectl_scale, params: {resource: deployment, replicas: "{{ now + 2 }}"}}', "RB402"),
        (
            '{name: a, action: kubectl_scale, params: {resource: deployment, replicas: 3, max: "{{ now * 2 }}"}}',
            "RB402",
        ),
        ('{name: a, action: kubectl_set_env, params: {env: {N: "{{ now * 2 }}"}, resource: deployment}}', "RB402"),
        ("{name: a, action: kubernetes/execCommand, params: {command: [ps]}}", "RB407"),
        (
            "{name: a, action: kubectl_create_job, params: {manifest: {apiVersion: batch/v1, kind: Job}}}",
            "RB407",
        ),
    ],
)
def test_what_is_wrong_is_found_in_either_spelling(step, code):
    """A missing object, a misspelt name, growth without end, a lasting effect that nobody is asked about."""
    assert code in codes(step)
