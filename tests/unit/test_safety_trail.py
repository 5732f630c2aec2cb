"""Entries, their one spelling, and the segments of a process."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

from fakes.audited import entry
from hypothesis import given
from hypothesis import strategies as st

from safety.memory_trail import MemoryTrail
from safety.segments import Segments
from safety.trail import GENESIS, PIPELINE, Entry, EntryKind, Head, canonical, recomputed, seal, spelled

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EMPTY = Head("acme", "segment", -1, GENESIS)
FACTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(facts=st.dictionaries(st.text(), FACTS, max_size=4), reason=st.text(), subject=st.text())
def test_whatever_an_entry_says_it_is_stored_and_its_hash_can_be_made_again(facts, reason, subject):
    """Names and reasons come from alerts: surrogates, infinities and depths included."""
    sealed = seal(Entry(EntryKind.LOGIN, subject, reason=reason, facts=facts), EMPTY, NOW)
    assert recomputed(sealed) == sealed.hash
    sealed.reason.encode()
    assert canonical(json.loads(sealed.facts)) == sealed.facts


def test_the_hash_can_be_made_by_a_program_that_knows_nothing_of_this_one():
    """SHA-256 over the hash before, a line end, and JSON with sorted keys."""
    sealed = seal(Entry(EntryKind.PAUSED, "p-1", "ann", "storage", {"b": 1, "a": "ü"}), EMPTY, NOW)
    text = (
        '{"actor":"ann","at":"2026-03-01T12:00:00.000000Z","execution_id":"","facts":"{\\"a\\":\\"ü\\",\\"b\\":1}",'
        '"incident_id":"","kind":"pause.set","reason":"storage","segment":"segment","seq":0,"subject":"p-1",'
        '"tenant":"acme"}'
    )
    assert sealed.hash == hashlib.sha256(f"{GENESIS}\n{text}".encode()).hexdigest()


@given(st.lists(st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.timezones()), min_size=2, max_size=2))
def test_times_sort_as_their_texts_do(moments):
    """Exports and prunings compare texts."""
    one, other = moments
    assert (one < other) == (spelled(one) < spelled(other)) or one == other


def test_a_time_of_another_zone_is_spelled_in_utc():
    """One moment, one spelling."""
    assert spelled(datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1)))) == spelled(NOW)


def test_a_reason_without_end_is_cut():
    """An entry stays small, whatever an alert says."""
    assert len(seal(Entry(EntryKind.LOGIN, "x", reason="a" * 10_000), EMPTY, NOW).reason) == 2_000


def test_an_entry_without_an_actor_is_the_pipelines():
    """Somebody always did it."""
    assert seal(Entry(EntryKind.LOGIN, "x", actor=""), EMPTY, NOW).actor == PIPELINE


def test_a_segment_begins_with_who_writes_it_and_what_was_sealed_before():
    """So that removing the anchors is found."""
    segments = Segments("worker-1", lambda: "abc")
    with segments.writing() as draft:
        first, second = draft.seal({"acme": [entry(1)]}, NOW)
        draft.written()
    assert (first.kind, json.loads(first.facts)) == ("segment.begun", {"anchor": "abc", "writer": "worker-1"})
    assert (second.seq, second.prev) == (1, first.hash)


def test_two_transactions_at_once_write_two_segments_and_neither_waits():
    """No contended head."""
    segments = Segments("worker-1")
    with segments.writing() as one, segments.writing() as other:
        first, second = (draft.seal({"acme": [entry(1)]}, NOW) for draft in (one, other))
        one.written()
        other.written()
    assert first[0].segment != second[0].segment
    with segments.writing() as later:
        assert later.seal({"acme": [entry(2)]}, NOW)[0].seq == 2


def test_a_transaction_that_is_tried_again_seals_the_same_numbers():
    """The first try was undone."""
    segments = Segments("worker-1")
    with segments.writing() as draft:
        tries = [[one.seq for one in draft.seal({"acme": [entry(1)]}, NOW)] for _ in range(3)]
        draft.written()
    assert tries == [[0, 1]] * 3


def test_a_segment_whose_last_write_nobody_knows_is_never_written_again():
    """Two different entries would claim one number."""
    segments = Segments("worker-1")
    with segments.writing() as draft:
        known = draft.seal({"acme": [entry(1)]}, NOW)
        draft.written()
    with segments.writing() as draft:
        draft.seal({"acme": [entry(2)]}, NOW)  # and its transaction fails
    with segments.writing() as draft:
        assert draft.seal({"acme": [entry(3)]}, NOW)[0].segment != known[0].segment
        draft.written()
    assert [(one.id, one.seq, one.attempted) for one in segments.doubtful] == [(known[0].segment, 1, 2)]
    assert Head("acme", known[0].segment, 1, known[1].hash) in segments.heads()


def test_a_write_that_told_nothing_leaves_no_gap():
    """A refused claim is no event."""
    segments = Segments("worker-1")
    for dropped in (True, False):
        with segments.writing() as draft:
            rows = draft.seal({"acme": [entry(1)]}, NOW)
            (draft.dropped if dropped else draft.written)()
    assert [one.seq for one in rows] == [0, 1]
    assert segments.doubtful == []


async def test_the_trail_in_memory_keeps_the_order_and_the_tenants_apart():
    """What the durable one does, without a server."""
    trail = MemoryTrail()
    await asyncio.gather(*(trail.append(tenant, [entry(1), entry(2)]) for tenant in ("acme", "globex")))
    assert [one.subject for one in trail.of("acme")][1:] == ["subject-1", "subject-2"]
    assert {one.tenant for one in trail.of("globex")} == {"globex"}
