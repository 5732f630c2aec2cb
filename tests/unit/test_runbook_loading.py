"""The guide's runbooks load as they stand, the catalog is clean, and the schema agrees with the loader."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from fakes.action_schemas import ACTIONS
from jsonschema import Draft202012Validator

from runbooks.loader import load_file, load_folder, load_text
from runbooks.schema import runbook_schema
from runbooks.templates import evaluate, render
from services.cli.validate import known_actions

ROOT = Path(__file__).parents[2]
CATALOG = ROOT / "runbooks" / "catalog"
EXAMPLES = ROOT.parent / "shared" / "examples"

GUIDE_SHAPED = {
    "full": """\
# a comment before the first key
runbook:
  id: memory-up-v1
  name: "More memory"
  version: 1.0
  author: some-team
  trigger:
    root_cause_reason: "OOMKilled"
    symptom_reason: ["BackOff", "Error"]
    min_confidence: 0.80  # a comment
    affected_resource_kinds: ["Pod"]
  safety:
    require_approval: false
    max_executions_per_hour: 5
    blast_radius_limit: 10
    dry_run_first: true
  steps:
    - name: "Read the limit"
      action: kubectl_get
      params: {resource: "pod", name: "{{ incident.resource.name }}", field: "spec.containers[0].resources"}
      output_var: current_memory
    - name: "Calculate"
      action: calculate
      params:
        expression: "{{ current_memory | parse_memory | multiply(2) }}"
      output_var: new_memory
    - name: "Patch"
      action: kubectl_patch
      params:
        resource: "deployment"
        name: "{{ incident.resource.controller }}"
        patch: |
          spec:
            template:
              spec:
                containers:
                - name: "{{ incident.resource.container_name }}"
                  resources: {limits: {memory: "{{ new_memory }}"}}
    - name: "Check"
      action: check_neo4j
      params:
        query: |
          MATCH (e:Episodic {eid: $incident_id}) RETURN count(e) AS failures
        expect: "failures == 0"
  notification:
    on_failure:
      slack: {channel: "#ops", message: "❌ {{ incident.resource.name }}: {{ error_message }}"}
  rollback:
    - name: "Put it back"
      action: kubectl_patch
      params: {resource: "deployment", patch: "memory: {{ current_memory }}"}
""",
    "implicit": """\
runbook:
  id: credentials-v1
  trigger: {root_cause_reason: "ImagePullBackOff", min_confidence: 0.75}
  steps:
    - name: "Secret"
      action: kubectl_apply
      params:
        manifest: |
          kind: Secret
          data:
            .dockerconfigjson: "{{ base64(registry_config) }}"
    - name: "Restart"
      action: kubectl_rollout_restart
      params: {resource: "deployment/{{ incident.resource.controller }}"}
""",
}


def _guide_texts():
    files = sorted(EXAMPLES.glob("guide-*.yaml"))
    return {path.name: path.read_text() for path in files} or GUIDE_SHAPED


@pytest.mark.parametrize(("name", "text"), [*GUIDE_SHAPED.items(), *_guide_texts().items()])
def test_runbooks_of_the_guide_load_unchanged(name, text):
    """What users have written after the guide works without an edit; also in their editors."""
    loaded = load_text(text, Path(name), actions=ACTIONS)
    assert loaded.runbook.version == "1.0"
    assert all(step.id for step in loaded.runbook.steps)
    assert list(Draft202012Validator(runbook_schema()).iter_errors(yaml.safe_load(text))) == []


def test_a_name_that_nothing_declares_is_an_implicit_parameter():
    """The guide uses names that it declares nowhere: allowed, but said."""
    loaded = load_text(GUIDE_SHAPED["implicit"], actions=ACTIONS)
    assert [(finding.code, finding.line) for finding in loaded.findings] == [("RB303", 11)]


def test_the_version_is_the_text_of_the_file():
    """1.10 is another version than 1.1."""
    template = "runbook: {{id: x, version: {}, trigger: {{root_cause_reason: a}}, steps: [{{name: a, action: wait}}]}}"
    versions = ("1.0", "1.10", "2", '"3.0"', "1.0.0", "0x10")
    read = [load_text(template.format(version)).runbook.version for version in versions]
    assert read == ["1.0", "1.10", "2", "3.0", "1.0.0", "0x10"]


def test_steps_without_an_id_get_one_from_their_name():
    """References need a name, and two steps never share one."""
    text = "runbook: {id: x, trigger: {root_cause_reason: a}, steps: [%s]}"
    step = '{name: "%s", action: wait}'
    loaded = load_text(text % ", ".join(step % name for name in ("Get it!", "get it", "2nd", "❌")))
    assert [item.id for item in loaded.runbook.steps] == ["get_it", "get_it_2", "step_2nd", "step"]


def test_positions_are_those_of_the_file():
    """Messages at run time can still point at the line."""
    loaded = load_file(CATALOG / "nodenotready-cordon-drain" / "runbook.yaml")
    line, column = loaded.lines["steps", 1, "action"]
    text = (CATALOG / "nodenotready-cordon-drain" / "runbook.yaml").read_text().splitlines()
    assert text[line - 1][column - 1 :] == "action: kubectl_drain"


def test_the_catalog_has_no_findings_at_all():
    """What the project ships is what it asks of others."""
    loaded, findings = load_folder(CATALOG, actions=known_actions())
    assert findings == ()
    assert set(loaded) == {path.name for path in CATALOG.iterdir()}
    assert len(loaded) == 20


def test_the_catalog_asks_a_human_where_it_should():
    """What loses something, hands out credentials or opens reserved places is asked for; growth has a ceiling."""
    loaded, _ = load_folder(CATALOG)
    asked = {name: item.runbook.safety.require_approval for name, item in loaded.items()}
    assert {name for name, answer in asked.items() if answer is not False} == {
        "imagepullbackoff-registry-credentials",
        "nodenotready-cordon-drain",
        "nodediskpressure-clean-up",
        "pvc-nearly-full-expand",
        "pod-stuck-terminating-force-delete",
        "failedscheduling-tolerate-taint",
        "high-error-rate-after-deployment-undo",
    }
    assert asked["high-error-rate-after-deployment-undo"] == "{{ incident.rca_confidence < 0.9 }}"
    assert loaded["oomkilled-increase-memory"].runbook.verification.settle == timedelta(seconds=15)


@pytest.mark.parametrize(
    ("limit", "expected"), [("256Mi", "512Mi"), ("3Gi", "4Gi"), ("268435456", "512Mi"), ("4Gi", None), (None, None)]
)
def test_the_memory_runbook_doubles_up_to_the_ceiling_and_then_stops(limit, expected):
    """At the ceiling, or without a limit, it stops before any change and says why."""
    runbook = load_file(CATALOG / "oomkilled-increase-memory" / "runbook.yaml").runbook
    context = {"current_memory": limit, "params": {"max_memory": runbook.parameters[0].default}}
    expression = runbook.steps[1].params["expression"]
    if expected is None:
        with pytest.raises(ValueError, match=r"ceiling is 4Gi|no memory limit"):
            render(expression, context)
    else:
        assert render(expression, context) == expected
        assert evaluate(expression, context) == expected


def test_the_schema_in_the_documentation_is_the_one_that_the_program_makes():
    """Editors are told what the loader accepts (`rb schema` writes it again)."""
    assert json.loads((ROOT / "docs" / "runbook.schema.json").read_text()) == runbook_schema()


def test_the_schema_is_valid_and_every_key_is_described():
    """An editor can show help for each key."""
    schema = runbook_schema()
    Draft202012Validator.check_schema(schema)
    for name, definition in schema["$defs"].items():
        for key, field in definition.get("properties", {}).items():
            assert field.get("description"), f"{name}.{key}"


def test_the_schema_refuses_what_the_loader_refuses():
    """A misspelt limit is marked while it is typed."""
    validator = Draft202012Validator(runbook_schema())
    good = {"id": "x", "trigger": {"root_cause_reason": "a"}, "steps": [{"name": "a", "action": "wait"}]}
    assert list(validator.iter_errors({"runbook": good})) == []
    for bad in ({"safety": {"approved": True}}, {"steps": []}, {"safety": {"cooldown": "soon"}}, {"id": "a b"}):
        assert list(validator.iter_errors({"runbook": {**good, **bad}})), bad


def test_the_catalog_matches_the_schema():
    """The same files, checked by an editor."""
    validator = Draft202012Validator(runbook_schema())
    for path in CATALOG.rglob("runbook.yaml"):
        assert list(validator.iter_errors(yaml.safe_load(path.read_text()))) == []


def test_runbooks_load_fast_and_stay_small():
    """A thousand runbooks are read in seconds and need few megabytes."""
    text = (CATALOG / "oomkilled-increase-memory" / "runbook.yaml").read_text()
    texts = [text.replace("id: oomkilled-increase-memory", f"id: oom-{number}") for number in range(100)]
    start = time.perf_counter()
    loaded = [load_text(item) for item in texts]
    assert time.perf_counter() - start < 2
    places = loaded[0].lines
    assert loaded[1].lines == places
    own = sys.getsizeof(places) + sum(sys.getsizeof(place) + sys.getsizeof(at) for place, at in places.items())
    assert own < 30_000
    shared = [place for place, other in zip(places, loaded[1].lines, strict=True) if place is other]
    assert len(shared) == len(places)


def test_the_example_in_the_documentation_loads():
    """What people copy first must work."""
    page = (ROOT / "docs" / "runbooks.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    assert load_text(example, actions=ACTIONS).findings == ()
