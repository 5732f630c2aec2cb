"""Which inputs are one alert, one problem, one execution."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matcher.correlate import KEPT, Joined, Opened, fold, join_or_open
from matcher.fingerprint import alert_key, decision_id, execution_id, fingerprint, identity, incident_id
from matcher.model import Cause, Origin, Received, Signal, SignalStatus, Subject, Target
from matcher.reasons import FAMILIES, canonical_reason, family, same_reason

T0 = datetime(2025, 10, 6, 10, 0, tzinfo=UTC)
POD = Subject("Pod", "cart-7d9f-abcde", "shop")
TARGET = Target("prod", "Deployment", "cart", "shop")
CAUSE = Cause("c1", "OOMKilled", POD, 0.8, "kgroot-live", 0.9)
WINDOW, MAX_AGE = timedelta(minutes=10), timedelta(hours=6)


def signal(offset=0, *, event_id="", key="k", status="firing", at=T0, **more):
    facts = {
        "event_id": event_id or f"e{offset}",
        "tenant": "acme",
        "cluster": "prod",
        "reason": "KubePodCrashLooping",
        "severity": "WARNING",
        "status": SignalStatus(status),
        "subject": POD,
        "event_time": T0,
        "shape": "event_normalized",
        "alert_key": key,
        "origin": Origin("alerts", 0, offset),
        "received_at": at,
        **more,
    }
    return Signal(**facts)


@dataclass(frozen=True)
class Known:
    incident_id: str = "i-1"
    opened_at: datetime = T0
    last_seen: datetime = T0
    repeat_count: int = 3
    closed: bool = False


def decide(at, known, *, count=1, busy=False):
    return join_or_open(signal(at=at), CAUSE, TARGET, known, WINDOW, MAX_AGE, count=count, busy=busy)


def test_a_thousand_repeats_of_one_alert_are_one():
    """A storm of one alert with a new event id each costs one look-up, and all of them are counted."""
    (folded,) = fold([Received(signal(n)) for n in range(1000)])
    assert folded.count == 1000
    assert folded.signal.event_id == "e0"
    assert folded.last.event_id == "e999"
    assert len(folded.event_ids) == len(folded.origins) == KEPT
    assert folded.highest == {("alerts", 0): 999}


def test_a_change_of_status_begins_anew():
    """Firing, resolved, firing stay three, in their order."""
    states = ["firing", "firing", "resolved", "firing"]
    folded = fold([Received(signal(n, status=s)) for n, s in enumerate(states)])
    assert [(f.signal.status, f.count) for f in folded] == [("firing", 2), ("resolved", 1), ("firing", 1)]


def test_an_rca_result_joins_the_signal_that_it_explains():
    """The result brings the causes, the alert brings the reason; whichever comes first."""
    alert = Received(signal(1, event_id="e"))
    result = Received(signal(2, event_id="e", key="other", shape="rca_result", reason=""), (CAUSE,))
    for batch in ([alert, result], [result, alert]):
        (folded,) = fold(batch)
        assert folded.signal.reason == "KubePodCrashLooping"
        assert folded.received.causes == (CAUSE,)
        assert folded.count == 2
    (alone,) = fold([result])
    assert alone.signal.shape == "rca_result"
    foreign = replace(result, signal=replace(result.signal, tenant="other"))
    assert len(fold([alert, foreign])) == 2


def test_causes_that_nobody_named_stay_unknown():
    """None means ask the graph, an empty tuple means that an engine found nothing."""
    assert fold([Received(signal(1)), Received(signal(2))])[0].causes is None
    assert fold([Received(signal(1)), Received(signal(2), ())])[0].causes == ()


INPUTS = st.lists(
    st.builds(
        lambda key, status, partition, tenant, causes: (key, status, partition, tenant, causes),
        st.sampled_from("abc"),
        st.sampled_from(["firing", "resolved"]),
        st.integers(0, 2),
        st.sampled_from(["t1", "t2"]),
        st.sampled_from([None, (), (CAUSE,)]),
    ),
    max_size=40,
)


@given(INPUTS)
def test_folding_loses_no_input(rows):
    """Counts add up, offsets reach the highest of each partition, identities never mix, order is kept."""
    batch = [
        Received(signal(n, key=key, status=status, tenant=tenant, origin=Origin("a", partition, n)), causes)
        for n, (key, status, partition, tenant, causes) in enumerate(rows)
    ]
    folded = fold(batch)
    assert sum(f.count for f in folded) == len(batch)
    for who in {identity(r.signal) for r in batch}:
        mine = [r.signal.status for r in batch if identity(r.signal) == who]
        changes = [s for n, s in enumerate(mine) if n == 0 or mine[n - 1] != s]
        assert [f.signal.status for f in folded if identity(f.signal) == who] == changes
    highest = Counter()
    for item in folded:
        for place, offset in item.highest.items():
            highest[place] = max(highest[place], offset)
    assert dict(highest) == {
        place: max(r.signal.origin.offset for r in batch if (r.signal.origin.topic, r.signal.origin.partition) == place)
        for place in {(r.signal.origin.topic, r.signal.origin.partition) for r in batch}
    }
    assert fold(batch) == folded


def test_the_names_of_one_failure_are_one_problem():
    """Kubelet, alert rule and log parser name one failure differently; other tenants, clusters, targets differ."""
    key = TARGET.key
    one = fingerprint("acme", "prod", "OOMKilled", key)
    assert fingerprint("acme", "prod", "log_oom_killed", key) == one
    assert fingerprint("acme", "prod", "ErrImagePull", key) == fingerprint("acme", "prod", "ImagePullBackOff", key)
    others = {
        fingerprint("other", "prod", "OOMKilled", key),
        fingerprint("acme", "edge", "OOMKilled", key),
        fingerprint("acme", "prod", "BackOff", key),
        fingerprint("acme", "prod", "OOMKilled", key + "2"),
    }
    assert len(others | {one}) == 5
    assert len(one) == 32


def test_no_name_belongs_to_two_families():
    """A reason has one canonical name, and its family contains it."""
    names = [name.lower() for head, others in FAMILIES.items() for name in (head, *others)]
    assert len(names) == len(set(names))
    assert canonical_reason("KubeNodeNotReady") == "NodeNotReady"
    assert canonical_reason("Other") == "Other"
    assert family("Other") == ("other",)
    assert same_reason("backoff", "CrashLoopBackOff")
    assert not same_reason("", "")


PARTS = st.text(alphabet="ab:0|/", max_size=4)


@given(st.tuples(PARTS, PARTS, PARTS, PARTS), st.tuples(PARTS, PARTS, PARTS, PARTS))
def test_no_choice_of_names_makes_two_problems_one(one, other):
    """Separators inside of names cannot shift one part into the next."""
    assert (fingerprint(*one) == fingerprint(*other)) == (one == other)
    assert (
        alert_key(one[0], one[1], one[2], Subject("Pod", one[3]))
        == alert_key(other[0], other[1], other[2], Subject("Pod", other[3]))
    ) == (one == other)


def test_the_same_input_has_the_same_ids():
    """Ids are derived, so a message that is read twice meets its own records."""
    elsewhere = T0.astimezone(tz=None)
    assert incident_id("t", "f", T0) == incident_id("t", "f", elsewhere)
    assert incident_id("t", "f", T0) != incident_id("t", "f", T0 + timedelta(microseconds=1))
    assert execution_id("i", "sha", 1) == execution_id("i", "sha", 1)
    assert len({execution_id("i", "sha", 1), execution_id("i", "sha", 2), execution_id("i", "sh", 1)}) == 3
    assert decision_id("t", "i") == decision_id("t", "i")
    assert (
        len({decision_id("t", "i"), decision_id("t", "i", T0), decision_id("u", "i"), incident_id("t", "i", T0)}) == 4
    )


def test_a_first_signal_opens_an_incident():
    """Its id comes from the problem and the time of receipt."""
    opened = decide(T0, None, count=5)
    assert isinstance(opened, Opened)
    incident = opened.incident
    assert incident.fingerprint == fingerprint("acme", "prod", "OOMKilled", TARGET.key)
    assert incident.id == incident_id("acme", incident.fingerprint, T0)
    assert (incident.opened_at, incident.last_seen, incident.repeat_count) == (T0, T0, 5)
    assert decide(T0, None) == decide(T0, None)


def test_a_signal_within_the_window_is_a_repeat():
    """The open incident keeps its id and opening time, and counts."""
    later = T0 + timedelta(minutes=9)
    joined = decide(later, Known(), count=4)
    assert isinstance(joined, Joined)
    assert joined.incident.id == "i-1"
    assert joined.incident.opened_at == T0
    assert (joined.incident.last_seen, joined.incident.repeat_count) == (later, 7)


@pytest.mark.parametrize(
    ("at", "known", "busy", "kind"),
    [
        (WINDOW, Known(), False, Joined),
        (WINDOW + timedelta(seconds=1), Known(), False, Opened),
        (WINDOW + timedelta(seconds=1), Known(), True, Joined),
        (timedelta(minutes=1), Known(closed=True), False, Opened),
        (timedelta(minutes=1), Known(closed=True), True, Joined),
        (-timedelta(hours=1), Known(), False, Joined),
        (MAX_AGE, Known(last_seen=T0 + MAX_AGE), False, Joined),
        (MAX_AGE + timedelta(seconds=1), Known(last_seen=T0 + MAX_AGE), False, Opened),
    ],
)
def test_window_age_and_running_executions_decide(at, known, busy, kind):
    """Silence and age end an incident, a running execution keeps it; a late signal of before still belongs."""
    decided = decide(T0 + at, known, busy=busy)
    assert isinstance(decided, kind)
    if isinstance(decided, Joined):
        assert decided.incident.last_seen >= known.last_seen
    else:
        assert decided.why
        assert decided.incident.id != known.incident_id


def test_the_window_follows_receipt_not_the_start_of_the_alert():
    """An Alertmanager alert keeps its startsAt for days; its deliveries do not all belong to the first incident."""
    old = signal(at=T0 + timedelta(days=2), event_time=T0)
    assert isinstance(join_or_open(old, CAUSE, TARGET, Known(), WINDOW, MAX_AGE), Opened)
    assert signal(at=None).seen_at == T0
