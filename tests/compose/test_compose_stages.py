"""The stages of the practice cluster hold no misspelt field and no expression that fails."""

import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from compose.practice import stages

jq = pytest.importorskip("jq")

QUANTITIES = [
    "256Mi",
    "256M",
    "1Gi",
    "1G",
    "268435456",
    "1e9",
    "0.5Gi",
    "512000k",
    "100m",
    "1Ti",
    "",
    "nonsense",
    "-1",
    "1Ei",
]


def a_pod(*, needs=None, limit=None, image="web:1.0", pull=None, status=None, owner=None):
    annotations = {"practice.rootmend.dev/needs-memory": needs, "practice.rootmend.dev/pull": pull}
    resources = {"limits": {"memory": limit}} if limit is not None else {}
    metadata = {"name": "p", "annotations": {key: value for key, value in annotations.items() if value is not None}}
    if owner:
        metadata["ownerReferences"] = [{"kind": owner}]
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "app", "image": image, "resources": resources}]},
        "status": status or {"phase": "Pending"},
    }


def answer(name, pod):
    return jq.compile(stages.predicates()[name]).input_value(pod).all()


def every_expression():
    for stage in stages.load():
        for each in stage.spec.selector.matchExpressions:
            yield pytest.param(each.key, id=f"{stage.metadata.name}-{each.key[:20]}")
        if stage.spec.delay and stage.spec.delay.durationFrom:
            yield pytest.param(stage.spec.delay.durationFrom.expressionFrom, id=f"{stage.metadata.name}-delay")


STRANGE = [
    {},
    {"metadata": {}, "spec": {}, "status": {}},
    {"metadata": {"annotations": None}, "spec": {"containers": []}, "status": {"conditions": None}},
    {"spec": {"containers": [{"name": "app"}]}, "status": {"containerStatuses": [{}]}},
    {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}], "containerStatuses": [{"state": {}}]}},
    *(a_pod(needs=quantity, limit=quantity) for quantity in QUANTITIES),
    a_pod(needs="400Mi", limit=500),
]


@pytest.mark.parametrize("expression", list(every_expression()))
def test_no_expression_ever_fails(expression):
    """An error in an expression would stop KWOK, so each one answers for every object, however strange."""
    # KWOK's jq accepts a dot before brackets, which older ones do not.
    program = jq.compile(expression)
    for thing in STRANGE:
        for value in program.input_value(thing).all():
            assert value is None or isinstance(value, str), thing


@pytest.mark.parametrize(
    ("needs", "limit", "too_little"),
    [
        ("400Mi", "256Mi", "true"),
        ("400Mi", "399Mi", "true"),
        ("400Mi", "400Mi", "false"),
        ("400Mi", "512Mi", "false"),
        ("400Mi", "0.5Gi", "false"),
        ("400Mi", "419430400", "false"),
        ("400Mi", "419430399", "true"),
        ("1G", "1Gi", "false"),
        ("1Gi", "1G", "true"),
        ("400Mi", None, "false"),
        (None, "256Mi", "false"),
        ("much", "256Mi", "false"),
        ("400Mi", "1e9", "false"),
    ],
)
def test_memory_is_compared_in_bytes(needs, limit, too_little):
    """A container is killed exactly when its limit is below its need, whatever the units are; no limit is enough."""
    assert answer("too_little_memory", a_pod(needs=needs, limit=limit)) == [too_little]


@pytest.mark.parametrize(
    ("image", "pull", "unpullable"),
    [
        ("web:1.0", None, "false"),
        ("web:missing", None, "true"),
        ("web:no-such-tag-2", None, "true"),
        ("registry.practice.rootmend.dev/pay:1.0", None, "true"),
        ("registry.practice.rootmend.dev/pay:1.0", "refused", "true"),
        ("registry.practice.rootmend.dev/pay:1.0", "granted", "false"),
        ("registry.practice.rootmend.dev/pay:missing", "granted", "true"),
        ("other.example/registry.practice.rootmend.dev/pay:1.0", None, "false"),
        ("missing/web:1.0", None, "false"),
    ],
)
def test_an_image_is_pulled_or_not(image, pull, unpullable):
    """Only unknown tags, and the private registry without a good credential, cannot be pulled."""
    assert answer("image_unpullable", a_pod(image=image, pull=pull)) == [unpullable]


def test_restarts_come_slower_and_slower():
    """The delay doubles from 3 s and stays at 60 s."""
    stage = next(stage for stage in stages.load() if stage.metadata.name == "oom-restart")
    program = jq.compile(stage.spec.delay.durationFrom.expressionFrom)
    delays = [
        program.input_value(a_pod(status={"containerStatuses": [{"restartCount": count}]})).first()
        for count in (1, 2, 3, 4, 5, 6, 50)
    ]
    assert delays == ["3s", "6s", "12s", "24s", "48s", "60s", "60s"]


def test_a_fault_wins_over_the_healthy_stage():
    """Stages of faults have weight and healthy ones have none, and no pod is ready while its fault holds."""
    weights = {stage.metadata.name: stage.spec.weight for stage in stages.load()}
    assert weights["pod-ready"] == 0
    assert all(weights[name] > 0 for name in weights if name.startswith(("oom-", "image-pull-")))


def test_every_fault_starts_with_not_ready():
    """A roll-out that is broken never reports success: no template of a fault says Ready=True."""
    for stage in stages.load():
        if stage.metadata.name.startswith(("oom-", "image-pull-")):
            for step in stage.spec.steps:
                if step.patch:
                    assert not re.search(r'type: Ready, status: "True"', step.patch.template)


def test_stages_of_faults_leave_deleted_pods_alone():
    """A pod that is being deleted goes, whatever its fault."""
    for stage in stages.load():
        if stage.spec.resourceRef.kind == "Pod" and stage.metadata.name != "pod-delete":
            keys = {(each.key, each.operator) for each in stage.spec.selector.matchExpressions}
            assert (".metadata.deletionTimestamp", "DoesNotExist") in keys, stage.metadata.name


def test_a_misspelt_field_is_refused():
    """KWOK would ignore it silently."""
    document = stages.load()[0].model_dump(exclude_none=True, mode="json")
    document["spec"]["wait"] = 3
    with pytest.raises(ValidationError, match="wait"):
        stages.Stage.model_validate(document)


def test_an_unknown_predicate_is_refused():
    """A reference to a predicate that is not there stops the load, not the cluster."""
    with pytest.raises(KeyError):
        stages._resolve({"key": "@no_such_predicate"}, stages.predicates())


def test_the_file_for_kwok_holds_every_stage():
    """What KWOK is given is valid YAML with all stages and without references."""
    text = stages.text(log=Path("/pod.log"), last_log=Path("/last.log"), exec_folder=Path("/nowhere"))
    documents = list(yaml.safe_load_all(text))
    names = [each["metadata"]["name"] for each in documents if each["kind"] == "Stage"]
    assert names == [stage.metadata.name for stage in stages.load()]
    assert not re.search(r"key: ['\"]?@", text)


def test_commands_run_in_the_pods_of_one_namespace_only():
    """They run on the machine itself, so a runbook that is practised with must not get there by accident."""
    text = stages.text(log=Path("/pod.log"), last_log=Path("/last.log"), exec_folder=Path("/nowhere"))
    runs = [each for each in yaml.safe_load_all(text) if each["kind"] == "ClusterExec"]
    assert [each["spec"]["selector"] for each in runs] == [{"matchNamespaces": [stages.EXEC_NAMESPACE]}]
    assert runs[0]["spec"]["execs"] == [{"local": {"workDir": "/nowhere"}}]
