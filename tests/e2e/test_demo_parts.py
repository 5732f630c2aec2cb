"""Parts of the demo that need no server."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from compose.demo import messages
from compose.demo.board import Board, row_of
from compose.demo.cli import choose
from compose.demo.kgroot import About, Event, Score, score
from compose.demo.record import Decision, Execution, Step
from compose.demo.scenarios import ALL
from compose.demo.workloads import deployment
from compose.errors import WrongUse
from services.intake.parse import parse
from services.intake.settings import IntakeSettings

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DEPLOYMENT = Event("KubeDeploymentRolloutStuck", About("Deployment", "shop-api", "demo"), "stuck", at=NOW)
POD = Event("BackOff", About("Pod", "shop-api-1-a", "demo", "4c1b0d66-0f54-4a9a-8f4c-0f6f1f1f1f1f"), "back-off", at=NOW)


def received(body, topic="events.normalized"):
    """What the product's intake makes of a message."""
    settings = IntakeSettings(default_tenant="demo-tenant", default_cluster="practice")
    (one,) = parse(topic, 0, 0, orjson.dumps(body), (), NOW, settings)
    return one


@pytest.mark.parametrize(
    ("body", "shape", "about"),
    [
        (messages.event_normalized(DEPLOYMENT, "demo-tenant"), "event_normalized", DEPLOYMENT),
        (messages.vector_event(DEPLOYMENT, "demo-tenant", NOW), "event_normalized", DEPLOYMENT),
        (messages.alerts_enriched(DEPLOYMENT, "demo-tenant", ["node:n1"]), "alerts_enriched", DEPLOYMENT),
        (messages.normalizer_v2(DEPLOYMENT, "practice"), "normalizer_v2", DEPLOYMENT),
        (messages.raw_event(POD), "raw_event", POD),
        (messages.alertmanager_body(DEPLOYMENT, "demo-tenant"), "alertmanager", DEPLOYMENT),
        (
            messages.rca_result(POD, [(DEPLOYMENT, 0.9)], tenant="demo-tenant", cluster="practice", writer="x"),
            "rca_result",
            POD,
        ),
    ],
)
def test_every_message_of_the_demo_is_one_that_the_product_reads(body, shape, about):
    """The intake recognises the shape, the tenant and the subject of each."""
    signal = received(body).signal
    assert (signal.shape, signal.tenant, signal.cluster) == (shape, "demo-tenant", "practice")
    assert (signal.subject.kind, signal.subject.name) == (about.about.kind, about.about.name)


def test_repeats_share_nothing_but_the_fingerprint():
    """A storm's deliveries differ in their ids, and are one alert to the product."""
    one = received(messages.vector_event(DEPLOYMENT, "t", NOW)).signal
    other_event = Event(DEPLOYMENT.reason, DEPLOYMENT.about, "stuck", at=NOW + timedelta(seconds=2))
    other = received(messages.vector_event(other_event, "t", NOW)).signal
    assert one.event_id != other.event_id
    assert one.alert_key == other.alert_key


def test_confidence_follows_the_live_writers_formula():
    """0.83 is the ceiling for two different resources; four minutes and a poor match give its author's average."""
    assert Score(1, 1, 0.95).confidence == pytest.approx(0.83)
    old = Event("OOMKilled", POD.about, "", at=NOW - timedelta(minutes=4))
    assert score(old, DEPLOYMENT, domain=0.45).confidence == pytest.approx(0.39)


def test_resources_are_named_as_kgroot_names_them():
    """Events name a pod by its uid, alerts by namespace and name, nodes have no namespace."""
    assert POD.about.rid == "pod:4c1b0d66-0f54-4a9a-8f4c-0f6f1f1f1f1f"
    assert DEPLOYMENT.about.rid == "deployment:demo:shop-api"
    assert About("Node", "n1").rid == "node:n1"


def test_only_takes_commas_and_repeats_in_any_order():
    """What is asked for comes in the order of showing; nothing means all."""
    assert [one.key for one in choose(["storm,oom", "node"])] == ["oom", "node", "storm"]
    assert [one.key for one in choose([])] == [kind.key for kind in ALL]


def test_an_unknown_incident_is_wrong_use():
    """The answer names those that there are."""
    with pytest.raises(WrongUse, match="ooom") as caught:
        choose(["ooom"])
    assert "oom" in caught.value.hint


def test_each_scenario_has_names_of_its_own():
    """Side by side they must not meet: keys and workloads differ, and none begins like another one."""
    apps = [kind.app for kind in ALL]
    assert len({kind.key for kind in ALL}) == len(ALL)
    assert not [(a, b) for a in apps for b in apps if a != b and b.startswith(a)]


def test_a_workload_says_what_it_needs_and_what_it_may_have():
    """These two decide in the stages of KWOK whether it is healthy."""
    template = deployment("demo", "web", "web:1", needs="400Mi", limit="256Mi")["spec"]["template"]
    assert template["metadata"]["annotations"] == {"practice.rootmend.dev/needs-memory": "400Mi"}
    assert template["spec"]["containers"][0]["resources"]["limits"] == {"memory": "256Mi"}


def decided(kind, *executions, check="", message=""):
    """A decision of a kind."""
    return Decision(
        id="d",
        kind=kind,
        check=check,
        message=message,
        incident_id="i",
        reason="R",
        target_key="practice/ns/Deployment/x",
        cause_reason="OOMKilled",
        confidence=0.9,
        runbook_id="rb",
        inputs=1,
        subject=("Deployment", "ns", "x"),
        executions=executions,
    )


def run(status, *, verdict="", outcome="", step="succeeded", approvals=()):
    """An execution of one step."""
    steps = (Step("raise_limit", "step", step, "", NOW, None),)
    return Execution("e", status, outcome, verdict, "", steps, approvals, None, None, resumed=False)


@pytest.mark.parametrize(
    ("decision", "marks"),
    [
        (decided("waiting"), {"cause": "busy", "gate": "open", "record": "open"}),
        (decided("refusal", message="too low"), {"gate": "no", "steps": "left out", "record": "done"}),
        (
            decided("approval", run("waiting_approval", step="intended", approvals=(("a", "pending"),))),
            {"gate": "busy", "approval": "busy", "record": "open"},
        ),
        (decided("permit", run("running", step="intended")), {"gate": "done", "steps": "busy", "verify": "open"}),
        (decided("permit", run("verifying")), {"steps": "done", "verify": "busy", "approval": "left out"}),
        (
            decided("permit", run("done", verdict="verified", outcome="success")),
            {"steps": "done", "verify": "done", "record": "done"},
        ),
        (
            decided("permit", run("done", verdict="not_fixed", outcome="rollback")),
            {"steps": "done", "verify": "no", "record": "no"},
        ),
    ],
)
def test_the_board_shows_how_far_an_incident_is(decision, marks):
    """Each state of the record is a row of marks."""
    row = row_of(decision)
    assert {stage: row[stage].mark for stage in marks} == marks


def test_the_board_tells_of_changes_only():
    """A line is printed when something is new, not at every look."""
    told = []
    board = Board({"oom": "OOM"}, on_change=lambda *change: told.append(change))
    for _ in range(2):
        board.put("oom", row_of(decided("permit", run("running", step="intended"))))
    assert len(told) == len({(stage, cell) for _, stage, cell in told})
    assert board.undecided() == []
