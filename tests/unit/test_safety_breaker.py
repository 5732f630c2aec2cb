"""The storm breaker as values: it opens and closes exactly as its table says, and never flaps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.breaker import (
    DEFAULT_LIMITS,
    BreakerSettings,
    Counted,
    Counter,
    Limit,
    Seen,
    counters_of,
    heard,
    limits_of,
    looked,
    packed,
    unpacked,
)
from safety.scopes import Axis, StormScope, Where

SCOPE = StormScope("acme", Axis.REASON, "prod/OOMKilled")
COUNTER = Counter(SCOPE, Counted.CAUSES, "OOMKilled")
OTHER = Counter(SCOPE, Counted.FAILURES)
LIMIT = Limit(upper=10, lower=4, window_seconds=60)
QUIET = 30.0
WHERE = Where("acme", "prod", "oom", "prod/shop/Deployment/cart", ("shop",), "OOMKilled")


def opened(count=11, now=1000):
    state = heard(None, COUNTER, count, LIMIT, now)
    assert state is not None
    return state


@pytest.mark.parametrize(("count", "opens"), [(0, False), (9, False), (10, False), (11, True), (5000, True)])
def test_a_closed_scope_opens_above_its_upper_limit_and_at_no_other_count(count, opens):
    """Ten are allowed: the eleventh stops automation."""
    state = heard(None, COUNTER, count, LIMIT, 1000)
    assert (state is not None) == opens
    if state:
        assert (state.count, state.upper, state.since, state.calm) == (count, 10, 1000, 0)


@pytest.mark.parametrize(("count", "calm"), [(0, True), (3, True), (4, False), (10, False), (11, False)])
def test_an_open_scope_becomes_calm_below_its_lower_limit_alone(count, calm):
    """Between the two limits it neither opens nor comes to rest."""
    state = looked(opened(), {COUNTER.key: count}, 2000, QUIET)
    assert state is not None
    assert (state.calm == 2000) == calm


def test_a_calm_scope_closes_after_its_time_and_not_before():
    """To the millisecond."""
    state = looked(opened(), {}, 2000, QUIET)
    assert state is not None
    assert looked(state, {}, 31_999, QUIET) is not None
    assert looked(state, {}, 32_000, QUIET) is None


def test_calm_begins_anew_when_it_grows_between_two_looks():
    """What is heard of counts at once; a look that comes later does not miss it."""
    calm = looked(opened(), {}, 2000, QUIET)
    again = heard(calm, COUNTER, 4, LIMIT, 20_000)
    assert again is not None
    assert again.calm == 0
    later = looked(again, {}, 32_000, QUIET)
    assert later is not None
    assert later.calm == 32_000


def test_every_count_that_passed_its_limit_holds_the_scope_open():
    """The causes are gone, the failures are not: a second storm inside the first."""
    state = heard(opened(), OTHER, 11, LIMIT, 1500)
    assert state is not None
    state = looked(state, {OTHER.key: 7}, 2000, QUIET)
    assert state is not None
    assert state.calm == 0
    assert set(state.hot) == {COUNTER.key, OTHER.key}


def test_a_count_that_never_passed_its_limit_holds_nothing_open():
    """Ten failures are allowed; they do not keep a storm of causes alive."""
    state = heard(opened(), OTHER, 10, LIMIT, 1500)
    assert state is not None
    assert set(state.hot) == {COUNTER.key}


EVENTS = st.lists(
    st.tuples(st.sampled_from(["hear", "look"]), st.integers(0, 25), st.integers(0, 20_000)), min_size=1, max_size=60
)


@given(EVENTS)
def test_it_opens_and_closes_exactly_per_its_table(events):
    """Against a plain second reading of the table, over any order of events."""
    state, now, calm_from = None, 0, None
    for what, count, passes in events:
        now += passes
        before = state
        if what == "hear":
            state = heard(state, COUNTER, count, LIMIT, now)
            if before is None:
                assert (state is not None) == (count > LIMIT.upper)
                calm_from = None
            else:
                assert state is not None, "hearing of something never closes a scope"
                calm_from = None if count >= LIMIT.lower else calm_from
        elif state is not None:
            state = looked(state, {COUNTER.key: count}, now, QUIET)
            calm_from = None if count >= LIMIT.lower else (now if calm_from is None else calm_from)
            closes = calm_from is not None and now - calm_from >= QUIET * 1000
            assert (state is None) == closes
            calm_from = None if closes else calm_from
        if state is not None:
            assert state.calm == (calm_from or 0)


@given(st.lists(st.tuples(st.integers(LIMIT.lower, LIMIT.upper), st.integers(1, 60_000)), max_size=60))
def test_a_count_between_the_limits_changes_nothing_however_it_moves(moves):
    """No flapping: a closed scope stays closed, an open one open."""
    closed, open_, now = None, opened(), 1000
    for count, passes in moves:
        now += passes
        closed = heard(closed, COUNTER, count, LIMIT, now)
        open_ = looked(heard(open_, COUNTER, count, LIMIT, now), {COUNTER.key: count}, now, QUIET)
        assert closed is None
        assert open_ is not None


@given(EVENTS)
def test_between_two_openings_it_was_calm_for_the_whole_time(events):
    """It opens at most once in each quiet time."""
    state, now, openings = None, 0, []
    for what, count, passes in events:
        now += passes
        before = state
        state = heard(state, COUNTER, count, LIMIT, now) if what == "hear" else state
        if before is None and state is not None:
            openings.append(now)
        if what == "look" and state is not None:
            state = looked(state, {COUNTER.key: count}, now, QUIET)
    assert all(later - earlier >= QUIET * 1000 for earlier, later in pairwise(openings))


def test_one_target_that_cries_often_counts_once():
    """A storm is many targets, not many alerts; each scope that it is in counts it."""
    counters = counters_of([Seen(WHERE, Counted.CAUSES, WHERE.target_key)] * 1000, BreakerSettings())
    assert {counter.scope.key for counter in counters} == {
        "cluster:prod",
        "namespace:prod/shop",
        "runbook:oom",
        "reason:prod/OOMKilled",
    }
    assert all(members == (WHERE.target_key,) for members in counters.values())


def test_a_limit_of_zero_counts_nothing():
    """Who does not want an axis turns it off, and no other with it."""
    limits = limits_of({(Axis.CLUSTER, Counted.CAUSES): 0, (Axis.REASON, Counted.CAUSES): 3}, 0.5, {Counted.CAUSES: 60})
    counters = counters_of([Seen(WHERE, Counted.CAUSES, "one")], BreakerSettings(limits))
    assert [counter.scope.axis for counter in counters] == [Axis.REASON]


def test_it_is_on_by_default_on_every_axis_for_all_that_it_counts():
    """Safety is not opted into."""
    assert set(DEFAULT_LIMITS) == {(axis, counted) for axis in Axis for counted in Counted}


@pytest.mark.parametrize("wrong", [(0, 1, 60), (5, 6, 60), (5, 0, 60), (5, 3, 0)])
def test_limits_that_make_no_sense_are_refused(wrong):
    """A lower limit above the upper one would flap."""
    with pytest.raises(ValueError, match="lower"):
        Limit(*wrong)


def test_what_is_kept_is_read_as_it_was():
    """Also with the numbers as Redis' scripts write them."""
    state = opened(count=31, now=1_732_206_600_123)
    assert unpacked(SCOPE, packed(state)) == state
    assert unpacked(SCOPE, packed(state).replace("1732206600123", "1.732206600123e+12")) == state
