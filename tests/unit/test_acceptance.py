"""Acceptance packs: scenarios run as declared, and what does not hold is told so that it can be found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import jsonschema
import pytest

import runbooks
from services.cli.app import main
from services.testing.acceptance import acceptance_schema
from services.testing.expecting import holds

CATALOG = Path(runbooks.__file__).parent / "catalog"
SHOP = """
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: cart, namespace: shop}
  spec:
    replicas: 2
    selector: {matchLabels: {app: cart}}
    template:
      metadata: {labels: {app: cart}}
      spec:
        containers: [{name: app, image: "cart:1", resources: {limits: {memory: 256Mi}}}]
"""
WELL = "pod.spec.containers[0].resources.limits.memory | parse_memory >= '512Mi' | parse_memory"
FIXED = f"""
  - name: twice the memory is enough
    incident: {{target: Deployment/shop/cart}}
    fakes: {{manifests: fixtures/shop.yaml, sick: [{{why: OOMKilled, unless: "{WELL}"}}]}}
    expected:
      status: success
      verdict: verified
      steps: {{new_limit: {{status: succeeded, output: 512Mi}}, raise_limit: succeeded}}
      kpis: {{duration_seconds: "<= 300", success_rate: 1}}
      calls: [{{verb: patch, object: Deployment/shop/cart, contains: 512Mi, times: 1}}]
      files: {{new_limit: expected/limit.json}}
"""
OTHERS = """
  - name: more memory does not help
    incident: {target: Deployment/shop/cart}
    fakes: {manifests: fixtures/shop.yaml, sick: [{why: OOMKilled}]}
    expected: {status: rollback, errors: {count: 1, type: wait, contains: not reached}}
  - name: a doubtful diagnosis
    incident: {target: Deployment/shop/cart, confidence: 0.6}
    fakes: {manifests: fixtures/shop.yaml}
    expected: {status: refused, check: confidence}
  - name: no limit to double
    incident: {target: Deployment/shop/other}
    fakes:
      cluster:
        - apiVersion: apps/v1
          kind: Deployment
          metadata: {name: other, namespace: shop}
          spec:
            selector: {matchLabels: {app: other}}
            template: {metadata: {labels: {app: other}}, spec: {containers: [{name: app, image: x}]}}
    expected: {status: plan_failed, message: Read the memory limit}
  - name: a step that is answered
    incident: {target: Deployment/shop/cart}
    fakes: {manifests: fixtures/shop.yaml, steps: {raise_limit: {error: the API server is on fire}}}
    expected:
      status: rollback
      steps: {raise_limit: {status: failed, error: on fire}}
      calls: [{verb: patch, times: 0}]
"""


@pytest.fixture
def pack(tmp_path):
    """A folder with a runbook of the catalog and a pack."""
    folder = tmp_path / "oom"
    (folder / "fixtures").mkdir(parents=True)
    (folder / "expected").mkdir()
    shutil.copy(CATALOG / "oomkilled-increase-memory" / "runbook.yaml", folder)
    (folder / "fixtures" / "shop.yaml").write_text(SHOP)
    (folder / "expected" / "limit.json").write_text('"512Mi"')
    (folder / "acceptance.yml").write_text(f"scenarios:{FIXED}{OTHERS}")
    return folder


def rewritten(pack, old, new):
    """The pack with one thing changed."""
    file = pack / "acceptance.yml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return pack


def test_every_scenario_holds(pack, capsys):
    """A fix, a fix that does not help, a refusal, a plan that cannot be made, a declared answer."""
    code = main(["test", str(pack)])
    told = capsys.readouterr().out
    assert code == 0, told
    assert "5 of 5 scenarios passed" in told
    assert "undo     succeeded Raise the memory limit" in told


WRONG = {
    "status": ("status: success", "status: failure", "status: expected failure, found success"),
    "verdict": ("verdict: verified", "verdict: not_fixed", "verdict: expected not_fixed, found verified"),
    "a step's output": ("output: 512Mi", "output: 1Gi", "output of step new_limit: expected 1Gi, found 512Mi"),
    "a step that is not there": ("raise_limit: succeeded", "raise_limits: succeeded", "did you mean raise_limit?"),
    "a KPI": ('"<= 300"', '"<= 1"', "kpi duration_seconds: expected <= 1, found 15"),
    "an unknown KPI": ("success_rate: 1", "succes_rate: 1", "not measured; did you mean success_rate?"),
    "a call": ("times: 1}]", "times: 2}]", "expected 2, found 1"),
    "errors": ("count: 1, type: wait", "count: 2, type: drain", "type of an error: expected drain, found wait"),
    "the check": ("check: confidence", "check: lock", "check: expected lock, found confidence"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_hold_is_told(pack, what, capsys):
    """Each expectation can fail, and says what was found; exit code 1."""
    old, new, told = WRONG[what]
    assert main(["test", str(rewritten(pack, old, new))]) == 1
    out = capsys.readouterr().out
    assert told in out
    assert "4 of 5 scenarios passed" in out


def test_an_expected_file_is_compared(pack, capsys):
    """The difference is told by its path."""
    (pack / "expected" / "limit.json").write_text('"1Gi"')
    assert main(["test", str(pack)]) == 1
    assert "'1Gi' is '512Mi'" in capsys.readouterr().out


def test_scenarios_can_be_chosen(pack, capsys):
    """By a part of their name."""
    assert main(["test", str(pack), "-k", "doubtful"]) == 0
    assert "1 of 1 scenarios passed" in capsys.readouterr().out


BAD = {
    "an unknown key": (
        "expected: {status: rollback",
        "expectd: {status: rollback",
        ": there is no key scenarios.1.expectd; did you mean expected?",
    ),
    "a misspelt part": ("check: confidence", "chek: confidence", "did you mean check?"),
    "a wrong type": ("confidence: 0.6", "confidence: much", "scenarios.2.incident.confidence"),
    "a name twice": ("name: a doubtful diagnosis", "name: no limit to double", "two scenarios have the name"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_pack_that_cannot_be_read_is_told(pack, what, capsys):
    """With file, line and the nearest name; exit code 2."""
    old, new, told = BAD[what]
    rewritten(pack, old, new)
    assert main(["test", str(pack)]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["/nowhere"], "/nowhere does not exist"),
        (["--live", "htp"], "there is no port 'htp'; did you mean http?"),
        (["--param", "X"], "expected NAME=VALUE"),
        (["-k", "zzz"], "no scenario to try"),
    ],
)
def test_wrong_use_is_told(pack, arguments, told, capsys):
    """Exit code 2."""
    assert main(["test", str(pack), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_missing_fixture_is_told_and_hides_no_other_scenario(pack, capsys):
    """One scenario that cannot be tried is a failure of its own, with the nearest file."""
    rewritten(
        pack,
        "confidence: 0.6}\n    fakes: {manifests: fixtures/shop.yaml}",
        "confidence: 0.6}\n    fakes: {manifests: fixtures/shp.yaml}",
    )
    assert main(["test", str(pack)]) == 1
    told = capsys.readouterr().out
    assert "there is no file fixtures/shp.yaml; did you mean fixtures/shop.yaml?" in told
    assert "4 of 5 scenarios passed" in told


def test_a_file_outside_of_the_pack_is_refused(pack, capsys):
    """A pack brings everything along."""
    rewritten(pack, "manifests: fixtures/shop.yaml, sick: [{why: OOMKilled}]", "manifests: ../../secret.yaml")
    assert main(["test", str(pack)]) == 1
    assert "is not in the folder of the pack" in capsys.readouterr().out


def test_the_reports_are_whole(pack, tmp_path):
    """JUnit XML with a failure and its text; a page that loads nothing and escapes everything."""
    rewritten(pack, "name: a doubtful diagnosis", 'name: "<script>alert(1)</script> & \\u0007"')
    rewritten(pack, "check: confidence", "check: lock")
    xml, page = tmp_path / "j.xml", tmp_path / "t.html"
    assert main(["test", str(pack), "--junit", str(xml), "--html", str(page)]) == 1
    root = ET.parse(xml).getroot()  # noqa: S314 - written by us just now
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("5", "1", "0")
    (failure,) = root.iter("failure")
    assert "expected lock, found confidence" in failure.get("message")
    text = page.read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "4 of 5 scenarios passed" in text
    assert "http" not in text.replace("http-equiv", "")


def test_json_tells_machines(pack, capsys):
    """Each scenario with its failures."""
    assert main(["test", str(pack), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["passed"], told["failed"]) == (5, 0)
    assert told["scenarios"][0]["kpis"]["success_rate"] == 1


def test_a_human_who_says_no_stops_it(pack, capsys):
    """The gate asks, nobody approves: the scenario can expect just that."""
    runbook = pack / "runbook.yaml"
    runbook.write_text(runbook.read_text().replace("require_approval: false", "require_approval: true"))
    (pack / "acceptance.yml").write_text(
        "scenarios:\n  - name: nobody says yes\n    approve: false\n    incident: {target: Deployment/shop/cart}\n"
        "    fakes: {manifests: fixtures/shop.yaml}\n    expected: {status: approval}\n"
    )
    code = main(["test", str(pack)])
    assert code == 0, capsys.readouterr()


def test_the_schema_describes_packs(pack):
    """Editors complete every key; the pack of this test fits, a misspelt one does not."""
    schema = acceptance_schema()
    good = {"scenarios": [{"name": "x", "expected": {"status": "success"}}]}
    jsonschema.validate(good, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"scenarios": [{"name": "x", "expect": {}}]}, schema)


@pytest.mark.parametrize(
    ("expected", "found", "holding"),
    [
        ("<= 300", 300, True), ("<= 300", 301, False), ("> 0", 1, True), ("> 0", 0, False), (">= 0.95", 0.95, True),
        ("!= 3", 3, False), ("== 3", 3.0, True), (195, 195.0, True), (195, 194, False), ("success", "success", True),
        (1, True, False), ("> 0", "many", False), ("< 1", None, False),
    ],
)  # fmt: skip
def test_comparisons(expected, found, holding):
    """A value, or a relation to a number; what is no number is in no relation."""
    assert holds(expected, found) is holding
