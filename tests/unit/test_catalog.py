"""The catalog as a whole: laid out, tried by its acceptance packs, documented, and granted what it changes."""

from __future__ import annotations

import itertools
from pathlib import Path

import docs_catalog
import pytest
import typer
from typer.testing import CliRunner

from compose.practice import bootstrap
from executor.actions import default_actions
from runbooks.loader import load_file
from safety.policy import PolicySettings
from services.cli import fmt, validate
from services.cli import test as rb_test
from services.testing.acceptance import find_packs, load_pack
from services.testing.kinds import SERVED
from services.testing.trial import Lab, run_scenario

ROOT = Path(__file__).parents[2]
CATALOG = ROOT / "runbooks" / "catalog"
NAMES = sorted(path.name for path in CATALOG.iterdir())
VERBS = {"patch": "patch", "delete": "delete", "create": "create", "evict": "create", "replace": "update"}
REQUIRED = {
    *("OOMKilled", "CrashLoopBackOff", "ImagePullBackOff", "CreateContainerConfigError", "FailedScheduling"),
    *("NodeNotReady", "NodeHasDiskPressure", "KubePersistentVolumeFillingUp", "KubeHpaMaxedOut", "CPUThrottlingHigh"),
    *("Unhealthy", "KubeDeploymentRolloutStuck", "KubeJobFailed", "CertificateExpiring", "Evicted"),
    *("PodStuckTerminating", "HighErrorRate", "HighMemoryUsage"),
}


def run(*words):
    """A command for authors, in this process."""
    cli = typer.Typer()
    for name, command in (("fmt", fmt.fmt), ("validate", validate.validate), ("test", rb_test.run_packs)):
        cli.command(name)(command)
    return CliRunner().invoke(cli, [*words, str(CATALOG)])


def test_every_common_failure_has_a_runbook():
    """The failures that the catalog promises to cover are causes of its runbooks."""
    causes = {
        reason
        for name in NAMES
        for reason in load_file(CATALOG / name / "runbook.yaml").runbook.trigger.root_cause_reason
    }
    assert causes >= REQUIRED


def test_every_acceptance_pack_holds():
    """Each runbook has one, and all its scenarios come out as they say."""
    assert all((CATALOG / name / "acceptance.yml").is_file() for name in NAMES)
    result = run("test")
    assert result.exit_code == 0, result.output[-3000:]


@pytest.mark.parametrize("name", sorted(docs_catalog.pages()))
def test_the_pages_of_the_catalog_are_current(name):
    """`make docs` writes them again."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == docs_catalog.pages()[name]()


@pytest.mark.parametrize("command", [["fmt", "--check"], ["validate", "--strict"]])
def test_packs_are_no_runbooks_for_the_other_commands(command):
    """They stand beside the runbooks, and are neither counted nor laid out."""
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert command[0] == "fmt" or f"{len(NAMES)} of {len(NAMES)} runbooks can be used" in result.output


def granted():
    """The rights of the pipeline's account, as (group, resource, verb)."""
    roles = [each for each in bootstrap.manifests() if each["kind"] == "ClusterRole"]
    return {
        right
        for role in roles
        for rule in role["rules"]
        for right in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }


def needed(calls):
    """The rights that changes of objects need."""
    found = set()
    for verb, kind in calls:
        resource = SERVED.find(kind)
        assert resource is not None, kind
        part = "pods/eviction" if verb == "evict" else resource.plural
        found.add((resource.group, part, VERBS[verb]))
    return found


async def changes():
    """Verb and kind of every change of an object that the packs make."""
    lab = Lab(default_actions(), PolicySettings())
    for path in find_packs([CATALOG]):
        pack = load_pack(path)
        for scenario in pack.pack.scenarios:
            for sent in (await run_scenario(pack, scenario, lab)).sent:
                if sent.verb in VERBS and SERVED.find(sent.object.split("/")[0]) is not None:
                    yield sent.verb, sent.object.split("/")[0]


async def test_the_account_may_do_what_the_catalog_does():
    """Every change that a pack makes is granted; a right that is taken away is missed."""
    calls = {call async for call in changes()}
    rights = needed(calls)
    assert {("apps", "deployments", "patch"), ("autoscaling", "horizontalpodautoscalers", "patch")} <= rights
    assert {("", "persistentvolumeclaims", "patch"), ("batch", "jobs", "create"), ("", "pods", "delete")} <= rights
    assert rights <= granted()
    for right in rights:
        assert not rights <= granted() - {right}
