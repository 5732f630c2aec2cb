"""Each shape of message becomes the signal that it means."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from matcher.model import Cause, Origin, Received, SignalStatus, Subject
from services.intake.contracts import INBOUND
from services.intake.parse import Poison, parse
from services.intake.settings import IntakeSettings

NOW = datetime(2025, 10, 6, 10, 10, tzinfo=UTC)
SETTINGS = IntakeSettings(default_tenant="acme", default_cluster="prod")
POD = Subject("Pod", "oom-test", "rca-lab")


def read(message, *, headers=(), key=None, topic="events.normalized", settings=SETTINGS):
    value = message if isinstance(message, bytes) else json.dumps(message).encode()
    return parse(topic, 3, 42, value, headers, NOW, settings, key=key)


def one(message, **how):
    (result,) = read(message, **how)
    assert isinstance(result, Received), result
    return result


def body(*alerts, **more):
    return {"version": "4", "status": "firing", "receiver": "rb", "alerts": list(alerts), **more}


def alert(**more):
    labels = {
        "alertname": "KubePodCrashLooping",
        "namespace": "shop",
        "pod": "cart-7d9f-abcde",
        **more.pop("labels", {}),
    }
    return {
        "status": "firing",
        "labels": labels,
        "startsAt": "2025-10-06T10:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "8f2c",
        **more,
    }


EVENT = {
    "etype": "prom.alert",
    "event_id": "a58845de-4b4f-40fb-83cd-68a7fd43ff69",
    "event_time": "2025-10-06T10:06:00.383156216Z",
    "reason": "KubePodNotReady",
    "severity": "WARNING",
    "status": "firing",
    "message": "Pod has been in a non-ready state for more than 15 minutes.",
    "subject": {"kind": "Pod", "name": "oom-test", "ns": "rca-lab"},
}
RAW = {
    "metadata": {"uid": "5b0c", "name": "cart.17", "namespace": "shop"},
    "reason": "BackOff",
    "message": "Back-off restarting failed container",
    "type": "Warning",
    "involvedObject": {"kind": "Pod", "uid": "u-1", "namespace": "shop", "name": "cart-7d9f-abcde"},
    "firstTimestamp": "2025-10-06T09:00:00Z",
    "lastTimestamp": "2025-10-06T10:05:00Z",
    "eventTime": None,
}
V2 = {
    "event_id": "evt-0123456789abcdef",
    "cluster_name": "edge-1",
    "timestamp": "2025-10-06T10:05:00.5+00:00",
    "event_type_abstract": "POD_FAILURE",
    "namespace": "shop",
    "pod_name": "cart-7d9f-abcde",
    "node": "n1",
    "service": "cart",
    "reason": "Unhealthy",
    "message": "Readiness probe failed",
    "severity": "warning",
    "involved_object_kind": "Replicaset",
    "involved_object_name": "cart-7d9f",
    "raw_event_id": "x",
}
RCA = {
    "schema": "rca.result/v1",
    "result_id": "r1",
    "tenant": "acme",
    "cluster": "prod",
    "incident_id": "e-9",
    "produced_at": "2025-10-06T10:09:00Z",
    "writer": "kgroot-live",
    "subject": {"kind": "pod", "ns": "shop", "name": "cart-7d9f-abcde", "uid": "u-1"},
    "causes": [
        {"event_id": "c1", "reason": "OOMKilled", "confidence": 0.8, "hops": 1},
        {"event_id": "c2", "reason": "NodeNotReady", "confidence": None, "subject": {"kind": "Node", "name": "N_1"}},
    ],
}
ENRICHED = {**EVENT, "enrichment": {"enriched_at": "2025-10-06T10:07:00Z", "group_count": 3}}

GOLDEN = [
    ("alertmanager", body(alert()), "KubePodCrashLooping", Subject("Pod", "cart-7d9f-abcde", "shop"), "10:00:00"),
    ("event_normalized", EVENT, "KubePodNotReady", POD, "10:06:00.383156"),
    ("raw_event", RAW, "BackOff", Subject("Pod", "cart-7d9f-abcde", "shop", "u-1"), "10:05:00"),
    ("normalizer_v2", V2, "Unhealthy", Subject("ReplicaSet", "cart-7d9f", "shop"), "10:05:00.500000"),
    ("alerts_enriched", ENRICHED, "KubePodNotReady", POD, "10:06:00.383156"),
    ("rca_result", RCA, "", Subject("Pod", "cart-7d9f-abcde", "shop", "u-1"), "10:09:00"),
]


@pytest.mark.parametrize(("shape", "message", "reason", "subject", "clock"), GOLDEN, ids=[row[0] for row in GOLDEN])
def test_each_shape_becomes_its_signal(shape, message, reason, subject, clock):
    """Structure alone tells the shape; reason, subject and time come out the same way from all of them."""
    signal = one(message).signal
    assert (signal.shape, signal.reason, signal.subject) == (shape, reason, subject)
    assert signal.event_time.time().isoformat() == clock
    assert signal.event_time.tzinfo is UTC
    assert signal.received_at == NOW
    assert signal.origin == Origin("events.normalized", 3, 42)
    assert signal.status is SignalStatus.FIRING


@pytest.mark.parametrize(("shape", "message"), [(row[0], row[1]) for row in GOLDEN], ids=[row[0] for row in GOLDEN])
def test_each_golden_message_fits_its_contract(shape, message):
    """What is read here is what the published contract says, unknown fields included."""
    model = INBOUND[shape].model_validate({**message, "never_seen": {"x": 1}})
    assert model.model_extra is not None
    assert model.model_extra["never_seen"] == {"x": 1}


def test_the_event_id_is_the_graphs():
    """Events keep the id that the graph knows them by."""
    assert one(EVENT).signal.event_id == EVENT["event_id"]
    assert one(RAW).signal.event_id == "5b0c"
    assert one(V2).signal.event_id == V2["event_id"]
    assert one(ENRICHED).signal.event_id == EVENT["event_id"]
    assert one(RCA).signal.event_id == "e-9"


def test_an_rca_result_brings_raw_causes():
    """Causes carry the writer's raw score; null counts as 0, a missing subject is the result's own."""
    received = one(RCA)
    own = Subject("Pod", "cart-7d9f-abcde", "shop", "u-1")
    assert received.causes == (
        Cause("c1", "OOMKilled", own, 0.8, "kgroot-live", 0.8, hops=1),
        Cause("c2", "NodeNotReady", Subject("Node", "N_1"), 0.0, "kgroot-live", 0.0),
    )


def test_an_rca_result_without_causes_asks_the_graph():
    """Missing causes are unknown; an empty list says that the engine found none."""
    assert one({k: v for k, v in RCA.items() if k != "causes"}).causes is None
    assert one({**RCA, "causes": []}).causes == ()
    assert one({k: v for k, v in RCA.items() if k != "writer"}).causes[0].writer == "unknown"


def test_one_body_holds_many_alerts_and_a_bad_one_spoils_none():
    """Each alert is a signal of its own; a broken one becomes poison in its place."""
    first, second, third = read(
        body(alert(), alert(labels={"alertname": ""}), alert(labels={"pod": "b"}, fingerprint="2"))
    )
    assert isinstance(first, Received)
    assert second == Poison("no_reason", "alerts[1]: labels.alertname is missing")
    assert isinstance(third, Received)


def test_an_alert_has_one_id_over_all_its_deliveries():
    """Firing, repeated and resolved deliveries share event id and alert key; a new start is a new event."""
    firing, over = one(body(alert())).signal, one(body(alert(status="resolved", endsAt="2025-10-06T10:05:00Z"))).signal
    again = one(body(alert(startsAt="2025-10-06T10:08:00Z"))).signal
    assert (firing.event_id, firing.alert_key) == (over.event_id, over.alert_key)
    assert over.status is SignalStatus.RESOLVED
    assert again.event_id != firing.event_id
    assert again.alert_key == firing.alert_key


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (body(alert(status="resolved")), "resolved"),
        (body(alert(status=None), status="resolved"), "resolved"),
        (body(alert(endsAt="2025-10-06T10:09:59Z")), "resolved"),
        (body(alert(endsAt="2025-10-06T10:14:00Z")), "firing"),
        (body(alert(endsAt="2025-10-06T18:00:00Z")), "firing"),
        (body(alert(), status="resolved"), "firing"),
        (body(alert(labels={"alertstate": "inactive"})), "resolved"),
        ({**EVENT, "status": "Resolved"}, "resolved"),
        ({**EVENT, "alerts": {"status": "resolved", "fingerprint": "f"}}, "resolved"),
        ({**EVENT, "alerts": [{"startsAt": "2025-10-06T10:00:00Z", "endsAt": "2025-10-06T10:05:00Z"}]}, "resolved"),
        ({**EVENT, "alerts": {"startsAt": "2025-10-06T10:00:00Z", "endsAt": "0001-01-01T00:00:00Z"}}, "firing"),
        ({**V2, "status": "cleared"}, "resolved"),
    ],
)
def test_resolved_alerts_are_seen_through(message, status):
    """A resolved alert is resolved even when its status says firing; an end to come is no end."""
    assert one(message).signal.status == status


def test_repeats_of_a_normalised_event_share_their_key():
    """A new uuid for each delivery does not make a new alert; another pod, reason or tenant does."""
    key = one(EVENT).signal.alert_key
    assert one({**EVENT, "event_id": "other", "event_time": "2025-10-06T10:07:00Z"}).signal.alert_key == key
    assert one({**EVENT, "reason": "Other"}).signal.alert_key != key
    assert one({**EVENT, "client_id": "else"}).signal.alert_key != key
    assert one({**EVENT, "subject": {**EVENT["subject"], "name": "b"}}).signal.alert_key != key


@pytest.mark.parametrize(
    ("labels", "subject"),
    [
        ({"pod": "a", "namespace": "n"}, Subject("Pod", "a", "n")),
        ({"pod": "ksm", "namespace": "mon", "exported_pod": "a", "exported_namespace": "n"}, Subject("Pod", "a", "n")),
        ({"deployment": "web", "namespace": "n", "pod": "kube-state-metrics-1"}, Subject("Deployment", "web", "n")),
        ({"statefulset": "db", "namespace": "n"}, Subject("StatefulSet", "db", "n")),
        ({"daemonset": "log", "namespace": "n"}, Subject("DaemonSet", "log", "n")),
        ({"job_name": "backup", "namespace": "n", "job": "kube-state-metrics"}, Subject("Job", "backup", "n")),
        (
            {"node": "n1", "namespace": "mon", "pod": "kps-kube-state-metrics-x", "job": "kube-state-metrics"},
            Subject("Node", "n1"),
        ),
        (
            {"instance": "n1:9100", "namespace": "mon", "pod": "node-exporter-x", "job": "node-exporter"},
            Subject("Node", "n1"),
        ),
        ({"pod": "cart-1", "namespace": "n", "node": "n1", "job": "kube-state-metrics"}, Subject("Pod", "cart-1", "n")),
        ({"service": "web", "namespace": "n"}, Subject("Service", "web", "n")),
        ({"namespace": "n"}, Subject("Namespace", "n")),
    ],
)
def test_labels_say_what_an_alert_is_about(labels, subject):
    """The exporter that was scraped never becomes the subject."""
    item = {**alert(), "labels": {"alertname": "X", **labels}}
    assert one(body(item)).signal.subject == subject


def test_tenant_and_cluster_come_from_the_message_first():
    """The value says more than headers, headers more than the key, the key more than the defaults."""
    headers = (("Tenant", b"from-header"), ("cluster", b"c-header"))
    assert one(EVENT).signal.tenant == "acme"
    assert one(EVENT, key=b"client-7::abc").signal.tenant == "client-7"
    assert one(EVENT, key=b"bare").signal.tenant == "acme"
    assert one(EVENT, key=b"client-7::abc", headers=headers).signal.tenant == "from-header"
    said = one({**EVENT, "client_id": "own", "cluster": "c-own"}, headers=headers).signal
    assert (said.tenant, said.cluster) == ("own", "c-own")
    labelled = one(body(alert(labels={"tenant": "t", "cluster": "c"}))).signal
    assert (labelled.tenant, labelled.cluster) == ("t", "c")
    assert one(V2).signal.cluster == "edge-1"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2025-10-06T10:06:00.383156216Z", datetime(2025, 10, 6, 10, 6, 0, 383156, tzinfo=UTC)),
        ("2025-10-06T12:06:00+02:00", datetime(2025, 10, 6, 10, 6, tzinfo=UTC)),
        ("2025-10-06 10:06:00", datetime(2025, 10, 6, 10, 6, tzinfo=UTC)),
        ("2025-10-06t10:06:00z", datetime(2025, 10, 6, 10, 6, tzinfo=UTC)),
        (1759745160, datetime(2025, 10, 6, 10, 6, tzinfo=UTC)),
        (1759745160.5, datetime(2025, 10, 6, 10, 6, 0, 500000, tzinfo=UTC)),
        (1759745160000, datetime(2025, 10, 6, 10, 6, tzinfo=UTC)),
        ("1759745160000", datetime(2025, 10, 6, 10, 6, tzinfo=UTC)),
        (1759745160000000000, datetime(2025, 10, 6, 10, 6, tzinfo=UTC)),
        (None, NOW),
        ("", NOW),
        ("0001-01-01T00:00:00Z", NOW),
    ],
)
def test_times_are_read_in_every_form(sent, expected):
    """Nanoseconds, offsets and epochs are the same instants; a missing time is the time of receipt."""
    assert one({**EVENT, "event_time": sent}).signal.event_time == expected


def test_a_time_far_in_the_future_is_put_right_and_noted():
    """A clock that is wrong must not keep an incident open for ever."""
    received = one({**EVENT, "event_time": (NOW + timedelta(hours=3)).isoformat()})
    assert received.signal.event_time == NOW
    assert received.notes == ("event time lies 10800 s ahead; the time of receipt took its place",)
    near = NOW + timedelta(minutes=9)
    assert one({**EVENT, "event_time": near.isoformat()}).signal.event_time == near


def test_an_event_without_subject_is_left_to_the_graph():
    """The graph may know by the event id; alerts of other labels stay other alerts."""
    bare = {k: v for k, v in EVENT.items() if k != "subject"}
    signal = one(bare).signal
    assert signal.subject == Subject("", "")
    other = one({**bare, "event_id": "e2", "labels": {"job": "api"}}).signal
    third = one({**bare, "event_id": "e3", "labels": {"job": "api"}}).signal
    assert other.alert_key != signal.alert_key
    assert other.alert_key == third.alert_key


def test_the_enrichers_resource_stands_in_for_a_lost_subject():
    """alerts.enriched may know what the event does not say."""
    bare = {k: v for k, v in ENRICHED.items() if k != "subject"}
    resource = {"kind": "Pod", "name": "oom-test", "ns": "rca-lab"}
    signal = one({**bare, "enrichment": {"resource": resource}}).signal
    assert signal.subject == POD
    assert signal.alert_key == one(EVENT).signal.alert_key


def test_every_enriched_inner_shape_is_read():
    """The enricher adds its part to whatever came in."""
    for inner in (EVENT, RAW, V2):
        signal = one({**inner, "enrichment": {}}).signal
        assert signal.shape == "alerts_enriched"
        assert signal.event_id == one(inner).signal.event_id


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ("Replicaset", "ReplicaSet"),
        ("pod", "Pod"),
        ("statefulsets", "StatefulSet"),
        ("deploy", "Deployment"),
        ("Rollout", "Rollout"),
    ],
)
def test_kinds_are_spelt_one_way(sent, kind):
    """The graph and the messages spell kinds in several ways."""
    assert one({**EVENT, "subject": {"kind": sent, "name": "x", "ns": "n"}}).signal.subject.kind == kind


def test_nodes_have_no_namespace():
    """Events of nodes come in the namespace default; the node does not."""
    signal = one({**RAW, "involvedObject": {"kind": "Node", "name": "n1", "namespace": "default"}}).signal
    assert signal.subject == Subject("Node", "n1")


@pytest.mark.parametrize(
    ("sent", "severity"),
    [
        ("warn", "WARNING"),
        ("Warning", "WARNING"),
        ("page", "CRITICAL"),
        (None, "UNKNOWN"),
        ("none", "INFO"),
        ("P1", "P1"),
    ],
)
def test_severities_are_spelt_one_way(sent, severity):
    """Runbooks name severities in KGroot's words."""
    assert one({**EVENT, "severity": sent}).signal.severity == severity


def test_a_long_message_is_cut_and_noted():
    """Texts are bounded; nothing else is lost."""
    received = one({**EVENT, "message": "x" * 5000})
    assert len(received.signal.message) == SETTINGS.max_text
    assert received.notes == ("a message of 5000 characters was cut",)


def test_a_byte_order_mark_and_double_keys_are_harmless():
    """Both are legal enough to read: the last of two keys counts, as everywhere."""
    assert one(b"\xef\xbb\xbf" + json.dumps(EVENT).encode()).signal.reason == "KubePodNotReady"
    assert one(json.dumps(EVENT).encode()[:-1] + b',"reason":"Second"}').signal.reason == "Second"
