"""What cannot be read becomes a dead letter with the right error; nothing crashes and nothing is lost."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matcher.model import Received
from services.intake.contracts import DeadLetter
from services.intake.dead_letter import dead_letter
from services.intake.errors import ErrorCode
from services.intake.parse import Poison, parse
from services.intake.settings import IntakeSettings

NOW = datetime(2025, 10, 6, 10, 10, tzinfo=UTC)
LIMITS = IntakeSettings(max_message_bytes=20_000, max_alerts=3, max_causes=3, max_labels=4)

EVENT = {
    "etype": "k8s.event",
    "event_id": "e1",
    "reason": "BackOff",
    "subject": {"kind": "Pod", "name": "a", "ns": "n"},
}
RAW = {"metadata": {"uid": "u"}, "reason": "R", "involvedObject": {"kind": "Pod", "name": "a", "namespace": "n"}}
V2 = {"event_id": "evt-1", "event_type_abstract": "X", "reason": "R", "pod_name": "a", "namespace": "n"}
CAUSE = {"event_id": "c", "reason": "OOMKilled", "confidence": 0.5}
RCA = {"schema": "rca.result/v1", "incident_id": "e1", "writer": "w", "causes": [CAUSE]}
ALERT = {"labels": {"alertname": "A", "pod": "p", "namespace": "n"}, "startsAt": "2025-10-06T10:00:00Z"}


def js(message):
    return json.dumps(message).encode()


def event(**change):
    return js({**EVENT, **change})


def pod(**change):
    return event(subject={**EVENT["subject"], **change})


def alerts(*items, **change):
    return js({"alerts": list(items), **change})


def alert(**change):
    return alerts({**ALERT, **change})


def labelled(**change):
    return alert(labels={**ALERT["labels"], **change})


def rca(**change):
    return js({**RCA, **change})


def cause(**change):
    return rca(causes=[{**CAUSE, **change}])


MALFORMED = [
    ("tombstone", None, "empty_value"),
    ("no bytes", b"", "empty_value"),
    ("oversize", event(message="x" * 20_001), "oversize"),
    ("latin-1", b'{"etype":"caf\xe9"}', "bad_utf8"),
    ("cut utf-8", b'{"reason":"\xf0\x9f"}', "bad_utf8"),
    ("utf-16", '{"a":1}'.encode("utf-16"), "bad_utf8"),
    ("gzip inside", base64.b64decode("H4sIAAAAAAAAA6tWSlSyUqoFAGK4hWgIAAAA"), "bad_utf8"),
    ("only spaces", b"   ", "bad_json"),
    ("plain text", b"OOMKilled in shop/cart", "bad_json"),
    ("cut off", b'{"etype":"k8s.event","event_id":', "bad_json"),
    ("two objects", b"{} {}", "bad_json"),
    ("single quotes", b"{'etype':'x'}", "bad_json"),
    ("trailing comma", b'{"etype":"x",}', "bad_json"),
    ("NaN", b'{"etype":"x","n":NaN}', "bad_json"),
    ("Infinity", b'{"etype":"x","n":-Infinity}', "bad_json"),
    ("lone surrogate", b'{"etype":"\\ud800"}', "bad_json"),
    ("raw control character", b'{"etype":"a\x01"}', "bad_json"),
    ("NUL bytes", b"\x00\x00\x00\x00", "bad_json"),
    ("avro-like header", b"\x00\x00\x00\x00\x07abc", "bad_json"),
    ("deep lists", b'{"x":' + b"[" * 70 + b"]" * 70 + b"}", "too_deep"),
    ("deeper than the parser", b"[" * 5000, "too_deep"),
    ("deep objects", b'{"a":' * 65 + b"1" + b"}" * 65, "too_deep"),
    ("a list", b"[1,2]", "not_an_object"),
    ("a text", b'"firing"', "not_an_object"),
    ("a number", b"17", "not_an_object"),
    ("null", b"null", "not_an_object"),
    ("a boolean", b"true", "not_an_object"),
    ("empty object", b"{}", "unknown_shape"),
    ("foreign object", js({"hello": "world"}), "unknown_shape"),
    ("enrichment of nothing", js({"enrichment": {"group_id": 1}}), "unknown_shape"),
    ("enrichment of a body", js({"enrichment": {}, "alerts": [ALERT]}), "unknown_shape"),
    ("other schema", js({"schema": "remediation.decision/v1"}), "unsupported_schema"),
    ("newer rca", js({**RCA, "schema": "rca.result/v2"}), "unsupported_schema"),
    ("newer rca with subject", js({**RCA, "schema": "rca.result/v2", "subject": {}}), "unsupported_schema"),
    ("event id is a number", event(event_id=17), "bad_shape"),
    ("subject is a text", event(subject="Pod/a"), "bad_shape"),
    ("subject is a list", event(subject=["Pod", "a"]), "bad_shape"),
    ("name is a number", pod(name=7), "bad_shape"),
    ("labels are a list", event(labels=["a"]), "bad_shape"),
    ("label is an object", event(labels={"a": {"b": 1}}), "bad_shape"),
    ("enrichment is a text", js({**EVENT, "enrichment": "x"}), "bad_shape"),
    ("involvedObject is null", js({**RAW, "involvedObject": None}), "bad_shape"),
    ("alerts is an object", js({"alerts": {"labels": {}}}), "bad_shape"),
    ("alert is a text", alerts("A"), "bad_shape"),
    ("alert labels are a text", alert(labels="x"), "bad_shape"),
    ("causes is an object", rca(causes={}), "bad_shape"),
    ("cause without reason", rca(causes=[{"event_id": "c"}]), "bad_shape"),
    ("negative hops", cause(hops=-1), "bad_shape"),
    ("time is an object", event(event_time={"s": 1}), "bad_shape"),
    ("no alerts", alerts(), "no_alerts"),
    ("too many alerts", alerts(*[ALERT] * 4), "too_many"),
    ("too many labels", event(labels={str(n): "x" for n in range(5)}), "too_many"),
    ("too many causes", rca(causes=[CAUSE] * 4), "too_many"),
    ("event without id", event(event_id=None), "no_event_id"),
    ("event with blank id", event(event_id="  "), "no_event_id"),
    ("raw event without uid", js({**RAW, "metadata": {}}), "no_event_id"),
    ("rca without incident", rca(incident_id=None), "no_event_id"),
    ("event id too long", event(event_id="e" * 257), "bad_event_id"),
    ("event id with newline", event(event_id="a\nb"), "bad_event_id"),
    ("cause id with NUL", cause(event_id="a\0b"), "bad_event_id"),
    ("event without reason", event(reason=None), "no_reason"),
    ("raw event with blank reason", js({**RAW, "reason": " "}), "no_reason"),
    ("alert without name", alert(labels={"pod": "p"}), "no_reason"),
    ("reason with escape codes", event(reason="\x1b[31mred"), "bad_reason"),
    ("reason too long", event(reason="R" * 254), "bad_reason"),
    ("cause with a tab", cause(reason="a\tb"), "bad_reason"),
    ("alert about nothing", alert(labels={"alertname": "Watchdog"}), "no_subject"),
    ("alert about its exporter", labelled(job="kube-state-metrics", pod="kube-state-metrics-x"), "no_subject"),
    ("kind with a slash", pod(kind="apps/v1"), "bad_kind"),
    ("kind with a quote", pod(kind="Pod'"), "bad_kind"),
    ("name with a newline", pod(name="a\nb"), "bad_name"),
    ("name with a slash", pod(name="../secrets"), "bad_name"),
    ("name in capitals", pod(name="Cart"), "bad_name"),
    ("name too long", pod(name="a" * 254), "bad_name"),
    ("name with Cypher", pod(name="a'}) DETACH DELETE n //"), "bad_name"),
    ("name with a template", pod(name="{{ secrets.x }}"), "bad_name"),
    ("name in other letters", pod(name="\uff43art"), "bad_name"),
    ("half a subject, unclean", event(subject={"name": "a\x07"}), "bad_name"),
    ("node with a space", js({**V2, "pod_name": None, "node": "n 1"}), "bad_name"),
    ("label pod with a colon", labelled(pod="a:b"), "bad_name"),
    ("namespace with a dot", pod(ns="a.b"), "bad_namespace"),
    ("namespace too long", pod(ns="n" * 64), "bad_namespace"),
    ("uid with a brace", pod(uid="{1}"), "bad_uid"),
    ("time in words", event(event_time="yesterday"), "bad_time"),
    ("thirteenth month", event(event_time="2025-13-01T00:00:00Z"), "bad_time"),
    ("date alone", event(event_time="2025-10-06"), "bad_time"),
    ("minutes since the epoch", event(event_time=29_329_086), "bad_time"),
    ("negative epoch", event(event_time=-1), "bad_time"),
    ("beyond all years", event(event_time=1e300), "bad_time"),
    ("start in words", alert(startsAt="soon"), "bad_time"),
    ("end in words", alert(endsAt="later"), "bad_time"),
    ("tenant with a brace", event(client_id="a}b"), "bad_tenant"),
    ("tenant with a slash", labelled(tenant="a/b"), "bad_tenant"),
    ("cluster with a space", event(cluster="my cluster"), "bad_cluster"),
    ("confidence above one", cause(confidence=95), "bad_confidence"),
    ("confidence below zero", cause(confidence=-0.1), "bad_confidence"),
    ("confidence as a text", cause(confidence="0.9"), "bad_confidence"),
    ("confidence as a boolean", cause(confidence=True), "bad_confidence"),
    ("writer with a newline", rca(writer="a\nb"), "bad_writer"),
]


def read(value, headers=()):
    return parse("alerts", 0, 7, value, headers, NOW, LIMITS)


@pytest.mark.parametrize(("value", "code"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED])
def test_what_is_malformed_says_why(value, code):
    """Each malformed message has its error code and a detail for people, on one line."""
    (poison,) = read(value)
    assert isinstance(poison, Poison), poison
    assert poison.error_code == code
    assert poison.detail
    assert poison.detail.isprintable()
    assert len(poison.detail) < 500


def test_there_are_enough_malformed_messages_and_each_code_occurs():
    """The table covers every error code but the one for faults of our own."""
    assert len(MALFORMED) >= 60
    assert {code for _, _, code in MALFORMED} == set(ErrorCode) - {ErrorCode.INTERNAL}
    assert all(code.meaning for code in ErrorCode)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (("tenant", b"\xff\xfe"), "bad_tenant"),
        (("tenant", b"a b"), "bad_tenant"),
        (("cluster", b"\x00"), "bad_cluster"),
    ],
)
def test_poisonous_headers_are_refused_where_they_count(header, code):
    """A header that is no text is no tenant; when the message names its own, the header does not matter."""
    (poison,) = read(event(), [header])
    assert poison.error_code == code
    (fine,) = read(event(client_id="own", cluster="own"), [header])
    assert isinstance(fine, Received)


def test_brackets_in_texts_are_no_nesting():
    """Depth is counted outside of strings, escapes included."""
    (received,) = read(event(message='[{"\\' * 200))
    assert isinstance(received, Received)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_crash_intake(value):
    """Whatever comes is read or refused, and never a fault of ours."""
    assert all(isinstance(r, Received) or r.error_code != ErrorCode.INTERNAL for r in read(value))


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
GOOD = [EVENT, RAW, V2, RCA, {**EVENT, "enrichment": {"resource": {}}}, {"alerts": [ALERT]}]
FIELDS = sorted(
    {field for message in GOOD for field in message} | {"status", "labels", "event_time", "client_id", "alerts"}
)


@settings(max_examples=500, deadline=None)
@given(
    st.sampled_from(GOOD), st.sampled_from(FIELDS), ODD, st.sampled_from(["", "subject", "metadata", "involvedObject"])
)
def test_no_change_of_a_good_message_crashes_intake(good, field, value, inside):
    """Any field of any shape may hold anything."""
    changed = json.loads(json.dumps(good))
    place = changed[inside] if isinstance(changed.get(inside), dict) else changed
    place[field] = value
    first, second = read(js(changed)), read(js(changed))
    assert first
    assert first == second
    assert all(isinstance(r, Received) or r.error_code != ErrorCode.INTERNAL for r in first)


@settings(max_examples=200, deadline=None)
@given(st.lists(ODD | st.just(ALERT), min_size=1, max_size=3))
def test_no_alert_of_a_body_is_lost(items):
    """A body gives one result for each of its alerts, good or bad."""
    assert len(read(js({"alerts": items}))) == len(items)


def letter(value, key=b"k", headers=(), **more):
    poison = Poison(ErrorCode.BAD_JSON, "line 1")
    return dead_letter(
        poison, topic="alerts", partition=2, offset=9, key=key, value=value, headers=headers, at=NOW, **more
    )


def test_a_dead_letter_holds_error_origin_and_bytes():
    """The original bytes come back out of it, headers and key included."""
    raw = json.loads(letter(b"\xff{", headers=[("h", b"\x00"), ("h", b"2")]).value())
    assert raw["schema"] == "remediation.dead_letter/v1"
    assert (raw["error"], raw["detail"]) == ("bad_json", "line 1")
    assert (raw["topic"], raw["partition"], raw["offset"]) == ("alerts", 2, 9)
    assert base64.b64decode(raw["value_base64"]) == b"\xff{"
    assert base64.b64decode(raw["key_base64"]) == b"k"
    assert [base64.b64decode(h["value_base64"]) for h in raw["headers"]] == [b"\x00", b"2"]
    assert raw["value_sha256"] == sha256(b"\xff{").hexdigest()
    assert raw["truncated"] is False
    assert DeadLetter.model_validate_json(letter(b"x").value()) == letter(b"x")


def test_a_dead_letter_is_bounded_and_says_so():
    """A value that is too large is cut; its length and hash are still those of the whole."""
    big = b"x" * 3_000_000
    dead = letter(big)
    assert len(dead.value()) < 1_000_000
    assert dead.truncated
    assert dead.value_bytes == len(big)
    assert dead.value_sha256 == sha256(big).hexdigest()
    assert letter(b"x", key=b"k" * 5000).truncated
    assert letter(b"x", headers=[("h", b"")] * 33).truncated


def test_a_dead_letter_of_a_tombstone_keeps_that_there_was_nothing():
    """No value and an empty value are different things."""
    assert letter(None, key=None).value_base64 is None
    assert letter(b"").value_base64 == ""


@given(st.text(max_size=50), st.binary(max_size=50), st.text(max_size=5))
def test_any_letter_can_be_written(detail, value, header):
    """Nothing that Kafka can carry keeps a dead letter from being written."""
    poison = Poison(ErrorCode.BAD_JSON, detail)
    dead = dead_letter(
        poison, topic="t", partition=0, offset=0, key=None, value=value, headers=[(header, value)], at=NOW
    )
    assert base64.b64decode(json.loads(dead.value())["value_base64"]) == value
