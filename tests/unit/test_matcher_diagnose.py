"""Which cause is believed, and how much."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations

import pytest
from fakes.graph_causes import FakeCausalGraph
from hypothesis import given
from hypothesis import strategies as st

from matcher.bridge import BackOff, next_check
from matcher.calibration import BUILT_IN, BadTable, Table, calibrate, with_tables
from matcher.diagnose import SelfEvident, by_event, diagnose
from matcher.model import Cause, Origin, Received, Signal, SignalStatus, Subject

T0 = datetime(2025, 10, 6, 10, 0, tzinfo=UTC)
POD = Subject("Pod", "cart-1", "shop")
RAW = st.floats(0, 1)


def signal(event_id="s", tenant="default", reason="KubePodCrashLooping"):
    return Signal(
        event_id,
        tenant,
        "prod",
        reason,
        "WARNING",
        SignalStatus.FIRING,
        POD,
        T0,
        "event_normalized",
        "k",
        Origin("a", 0, 0),
    )


def cause(event_id, raw, writer="engine", **more):
    return Cause(event_id, more.pop("reason", "OOMKilled"), more.pop("subject", POD), raw, writer, raw, **more)


@pytest.mark.parametrize(
    ("raw", "writer", "low", "high"),
    [
        (0.80, "kgroot-live", 0.88, 0.92),
        (0.40, "kgroot-live", 0.40, 0.50),
        (0.56, "kgroot-live", 0.74, 0.76),
        (0.83, "kgroot-live", 0.91, 0.93),
        (1.00, "kgroot-live", 0.91, 0.93),
        (0.80, "kgroot-enhanced_v1", 0.80, 0.88),
        (0.40, "kgroot-enhanced_v1", 0.35, 0.45),
        (0.80, "kgroot-unknown", 0.80, 0.80),
        (0.80, "anybody", 0.80, 0.80),
    ],
)
def test_a_top_score_of_a_known_writer_means_much_and_an_average_one_little(raw, writer, low, high):
    """The live writer cannot say more than 0.83: its best is worth acting on, its average is not."""
    assert low <= calibrate(raw, writer) <= high


@pytest.mark.parametrize("raw", [None, math.nan, math.inf, -math.inf, -0.1, 1.1, True])
@pytest.mark.parametrize("writer", ["kgroot-live", "anybody"])
def test_what_is_no_score_is_worth_nothing(raw, writer):
    """NULL, NaN and numbers out of range never become confidence."""
    assert calibrate(raw, writer) == 0


@given(RAW, RAW, st.sampled_from([*BUILT_IN, "anybody"]))
def test_calibration_is_monotone_and_bounded(one, other, writer):
    """A higher score never means less, and no score means more than certainty."""
    low, high = sorted((one, other))
    assert 0 <= calibrate(low, writer) <= calibrate(high, writer) <= 1


@given(RAW, st.text(max_size=20).filter(lambda name: name not in BUILT_IN))
def test_an_unknown_writer_is_never_trusted_more_than_its_score(raw, writer):
    """Without a table nothing is added."""
    assert calibrate(raw, writer) <= raw


KNOTS = st.lists(st.tuples(RAW, RAW), min_size=0, max_size=6)


@given(KNOTS, RAW, RAW)
def test_every_table_that_is_accepted_is_monotone_and_bounded(inner, one, other):
    """A table of the settings either holds the rules or is refused."""
    knots = ((0.0, 0.0), *inner, (1.0, 1.0))
    try:
        tables = with_tables({"w": knots})
    except BadTable:
        assert any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(knots))
        return
    low, high = sorted((one, other))
    assert 0 <= calibrate(low, "w", tables) <= calibrate(high, "w", tables) <= 1


@pytest.mark.parametrize(
    "knots",
    [
        [],
        [[0, 0]],
        [[0, 0.1], [1, 1]],
        [[0, 0], [0.9, 1]],
        [[0, 0], [0.5, 0.6], [0.5, 0.7], [1, 1]],
        [[0, 0], [0.5, 0.9], [1, 0.8]],
        [[0, 0], [1, 1.1]],
        [[0, 0], [1]],
    ],
)
def test_a_bad_table_is_refused_by_name(knots):
    """Invalid configuration is refused, never replaced by a default."""
    with pytest.raises(BadTable, match="calibration"):
        with_tables({"engine": knots})


def test_every_built_in_table_says_where_its_numbers_come_from():
    """Nobody may take them for measured outcomes."""
    assert all("not outcome" in table.source for table in BUILT_IN.values())
    assert with_tables({"kgroot-live": [[0, 0], [1, 1]]})["kgroot-live"] == Table(((0, 0), (1, 1)), "settings")


def test_message_and_graph_are_merged_by_event():
    """Of two accounts of one event the higher confidence counts, and each adds what only it knows."""
    told = (cause("c1", 0.5, subject=Subject("", "")), cause("c2", 0.3))
    found = [cause("c1", 0.56, "kgroot-live", hops=1, subject=Subject("", "")), cause("c3", 0.9, event_time=T0)]
    diagnosis = diagnose(Received(signal(), told), found)
    assert diagnosis.rca_from == "both"
    assert [c.event_id for c in diagnosis.causes] == ["c3", "c1", "c2"]
    assert diagnosis.causes[1].writer == "kgroot-live"
    assert diagnosis.causes[1].confidence == pytest.approx(0.75)
    merged = diagnose(Received(signal(), (cause("c1", 0.9, subject=Subject("", "")),)), [cause("c1", 0.1, hops=2)])
    assert merged.causes[0].subject == POD
    assert (merged.causes[0].hops, merged.causes[0].raw_score) == (2, 0.9)


def test_the_source_is_named():
    """The record says whether message or graph knew."""
    assert diagnose(Received(signal(), (cause("c", 0.5),)), None).rca_from == "message"
    assert diagnose(Received(signal()), [cause("c", 0.5)]).rca_from == "graph"


def test_no_cause_is_no_diagnosis():
    """Not even a signal that sounds like a cause is its own."""
    assert diagnose(Received(signal(reason="OOMKilled")), []) is None
    assert diagnose(Received(signal(), ()), None) is None


def test_a_signal_is_not_its_own_cause():
    """A cycle in the graph must not make the symptom explain itself."""
    assert diagnose(Received(signal("s")), [cause("s", 0.8)]) is None
    assert [c.event_id for c in diagnose(Received(signal("s")), [cause("s", 0.9), cause("c", 0.1)]).causes] == ["c"]


def test_self_evident_reasons_are_a_decision_of_the_operator():
    """Listed reasons are their own cause, families included, with the score that was chosen."""
    chosen = SelfEvident(("OOMKilled",), 0.85)
    diagnosis = diagnose(Received(signal(reason="LOG_OOM_KILLED")), None, self_evident=chosen)
    assert diagnosis.causes[0].confidence == 0.85
    assert diagnosis.causes[0].subject == POD
    assert diagnose(Received(signal(reason="Other")), None, self_evident=chosen) is None


def test_ties_have_one_order():
    """Confidence, then fewer hops, then the earlier event, then the id: the order of arrival plays no part."""
    causes = [
        cause("d", 0.5, hops=1, event_time=T0),
        cause("b", 0.5, hops=1, event_time=T0 - timedelta(minutes=1)),
        cause("a", 0.5, hops=1),
        cause("c", 0.5, hops=1, event_time=T0),
        cause("e", 0.5),
    ]
    for order in permutations(causes):
        assert [c.event_id for c in diagnose(Received(signal()), order).causes] == ["b", "c", "d", "a", "e"]


async def test_the_graphs_faults_are_survived():
    """Cycles, NULL confidence, lost subjects and edges across tenants neither crash nor leak."""
    graph = FakeCausalGraph(default_tenant="default")
    graph.event("s", "KubePodCrashLooping", about=POD, client_id=None)
    graph.event("oom", "OOMKilled", about=Subject("pod", "cart-1", "shop", "u-1"))
    graph.event("null", "BackOff", about=Subject("Replicaset", "cart", "shop"))
    graph.event("lost", "NodeNotReady")
    graph.event("foreign", "OOMKilled", client_id="other")
    graph.link("oom", "s", confidence=0.8, hops=1)
    graph.link("s", "oom", confidence=0.8, hops=1)
    graph.link("s", "s", confidence=0.83, hops=0)
    graph.link("null", "s")
    graph.link("lost", "s", confidence=0.5, version="enhanced_v1")
    graph.link("foreign", "s", confidence=0.83, hops=0)
    graph.link("missing", "s", confidence=0.83)
    found = await graph.causes_of([signal(), signal("not there")])
    assert set(found) == {"s"}
    diagnosis = diagnose(Received(signal()), by_event(found, ["s"]))
    assert [(c.event_id, c.writer) for c in diagnosis.causes] == [
        ("oom", "kgroot-live"),
        ("lost", "kgroot-enhanced_v1"),
        ("null", "kgroot-unknown"),
    ]
    assert diagnosis.causes[2].subject.kind == "ReplicaSet"
    assert diagnosis.causes[2].confidence == 0
    assert await graph.causes_of([signal(tenant="other")]) == {}


def test_late_edges_are_waited_for_and_then_given_up():
    """1, 2, 4, ... seconds; the last look is at the deadline; after it there is none."""
    now, looks = T0, []
    while (due := next_check(T0, len(looks), now)) is not None:
        looks.append((due - now).total_seconds())
        now = due
    assert looks[:5] == [1, 2, 4, 8, 16]
    assert now == T0 + timedelta(minutes=2)
    assert next_check(T0, 3, now + timedelta(hours=1)) is None


@given(st.integers(0, 10_000), st.integers(0, 200))
def test_the_next_look_is_ahead_and_never_after_the_deadline(attempt, seconds):
    """Whatever the attempt, the answer lies between now and the deadline, or there is none."""
    now = T0 + timedelta(seconds=seconds)
    due = next_check(T0, attempt, now)
    assert (due is None) == (seconds >= 120)
    assert due is None or now < due <= T0 + timedelta(minutes=2)


@pytest.mark.parametrize("wrong", [{"first": timedelta(0)}, {"factor": 0.5}, {"longest": timedelta(0)}])
def test_a_back_off_that_makes_no_sense_is_refused(wrong):
    """A pause of nothing would ask without end."""
    with pytest.raises(ValueError, match="back-off"):
        BackOff(**wrong)
