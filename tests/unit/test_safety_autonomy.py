"""The ladder of autonomy: nobody is promoted without evidence, and what speaks against somebody is looked at first."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safety.autonomy import (
    AGAINST,
    Climber,
    Declined,
    Ended,
    Ladder,
    Result,
    Rung,
    Standing,
    Threshold,
    by_person,
    eligible,
    lower_of,
    next_move,
    reaches,
    tally,
    wilson_lower,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WHO = Climber("acme", "raise-memory", "Deployment")
BY_ITSELF = Ladder(
    thresholds={Rung.SUGGEST: Threshold(1, 0.05), Rung.APPROVE: Threshold(3, 0.3), Rung.AUTO: Threshold(10, 0.6)}
)
RESULTS = st.lists(st.sampled_from(list(Result)), max_size=60)
RUNGS = st.sampled_from(list(Rung))


def ran(results, start=NOW - timedelta(days=2)):
    """Executions with these results, a minute apart."""
    return [Ended(f"e{i}", start + timedelta(minutes=i), result) for i, result in enumerate(results)]


def test_the_rungs_stand_in_their_order():
    """Observe is below suggest, below approve, below auto."""
    assert [rung.value for rung in sorted(Rung, key=lambda rung: rung.height)] == [
        "observe",
        "suggest",
        "approve",
        "auto",
    ]
    assert lower_of(Rung.AUTO, Rung.SUGGEST, Rung.APPROVE) is Rung.SUGGEST
    assert Rung.AUTO.above is None


@pytest.mark.parametrize(
    ("verified", "ended", "lower"), [(0, 0, 0.0), (20, 20, 0.8389), (9, 10, 0.5958), (0, 10, 0.0), (50, 100, 0.4038)]
)
def test_the_lower_bound_is_that_of_wilson(verified, ended, lower):
    """The bound agrees with published values of the Wilson score interval at 95 %."""
    assert wilson_lower(verified, ended) == pytest.approx(lower, abs=5e-5)


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_lower_bound_is_monotonic_and_below_the_share(verified, more):
    """One more verified fix never lowers the bound, one more failure never raises it, and it never beats the share."""
    ended = verified + more
    bound = wilson_lower(verified, ended)
    assert 0 <= bound <= (verified / ended if ended else 0)
    assert wilson_lower(verified + 1, ended + 1) >= bound
    assert wilson_lower(verified, ended + 1) <= bound


@given(RESULTS, RUNGS)
def test_nobody_is_promoted_without_evidence(results, rung):
    """A promotion has at least as many executions, and as good ones, as its threshold asks for."""
    move = next_move(WHO, Standing(rung), ran(results), BY_ITSELF, NOW)
    if move is not None and move.promotes:
        assert move.standing.rung is rung.above
        assert results.count(Result.VERIFIED) > 0
        assert reaches(move.tally, BY_ITSELF.thresholds[move.standing.rung])


@given(RESULTS, st.integers(0, 60))
def test_more_verified_fixes_never_make_less_eligible(results, at):
    """What was reached stays reached when one more fix is verified; one more failure never makes anybody eligible."""
    standing = Standing(Rung.APPROVE)
    before = eligible(standing, ran(results), BY_ITSELF, NOW)
    better = [*results[:at], Result.VERIFIED, *results[at:]]
    worse = [*results[:at], Result.FAILED, *results[at:]]
    if before:
        assert eligible(standing, ran(better), BY_ITSELF, NOW) is before
    else:
        assert eligible(standing, ran(worse), BY_ITSELF, NOW) is None


@given(RESULTS, st.sampled_from(sorted(AGAINST)), st.integers(0, 60))
def test_demotion_wins(results, bad, at):
    """However good the rest of the evidence is, one result against a runbook takes it from auto at once."""
    move = next_move(WHO, Standing(Rung.AUTO), ran([*results[:at], bad, *results[at:]]), BY_ITSELF, NOW)
    assert move is not None
    assert move.standing.rung.height < Rung.AUTO.height


def test_enough_failures_drop_to_suggest():
    """As many results against it within the window as the rules say leave a runbook with suggestions only."""
    one = next_move(WHO, Standing(Rung.APPROVE), ran([Result.NOT_FIXED]), BY_ITSELF, NOW)
    assert one is None
    two = next_move(WHO, Standing(Rung.APPROVE), ran([Result.NOT_FIXED, Result.ROLLED_BACK]), BY_ITSELF, NOW)
    assert two is not None
    assert two.standing.rung is Rung.SUGGEST


def test_an_unclear_end_neither_promotes_nor_demotes():
    """No evidence of a fix is no success and no failure."""
    assert next_move(WHO, Standing(Rung.AUTO), ran([Result.UNCLEAR] * 9), BY_ITSELF, NOW) is None
    assert next_move(WHO, Standing(Rung.APPROVE), ran([Result.UNCLEAR] * 40), BY_ITSELF, NOW) is None


def test_evidence_begins_anew_after_a_demotion():
    """The good runs before a demotion do not carry the runbook straight up again."""
    results = [Result.VERIFIED] * 100 + [Result.NOT_FIXED]
    down = next_move(WHO, Standing(Rung.AUTO), ran(results), BY_ITSELF, NOW)
    assert down is not None
    assert next_move(WHO, down.standing, ran(results), BY_ITSELF, NOW) is None
    again = ran(results + [Result.VERIFIED] * 10)
    up = next_move(WHO, down.standing, again, BY_ITSELF, NOW)
    assert up is not None
    assert up.standing.rung is Rung.AUTO
    assert next_move(WHO, up.standing, again, BY_ITSELF, NOW) is None, "what demoted it once does not do it twice"


def test_old_evidence_no_longer_counts():
    """Neither fixes nor failures from before the window move anybody."""
    old = ran([Result.VERIFIED] * 50 + [Result.FAILED] * 5, NOW - timedelta(days=60))
    assert next_move(WHO, Standing(Rung.APPROVE), old, BY_ITSELF, NOW) is None
    assert tally(old, BY_ITSELF, NOW).ended == 0


def test_a_promotion_that_needs_a_human_waits_for_one():
    """The evidence only makes eligible, and a person's move is recorded with the name, the reason and the numbers."""
    ladder, good = Ladder(), ran([Result.VERIFIED] * 25)
    assert next_move(WHO, Standing(Rung.APPROVE), good, ladder, NOW) is None
    assert eligible(Standing(Rung.APPROVE), good, ladder, NOW) is Rung.AUTO
    move = by_person(WHO, Standing(Rung.APPROVE), good, ladder, NOW, rung=Rung.AUTO, by="ada", reason="seen it")
    assert not isinstance(move, Declined)
    assert (move.standing.rung, move.standing.by, move.standing.reason) == (Rung.AUTO, "ada", "seen it")
    assert (move.tally.verified, move.tally.ended) == (25, 25)


@pytest.mark.parametrize(
    ("by", "reason", "rung", "word"),
    [("", "why", Rung.OBSERVE, "name"), ("ada", " ", Rung.OBSERVE, "reason"), ("ada", "why", Rung.APPROVE, "already")],
)
def test_a_persons_move_without_name_or_reason_is_declined(by, reason, rung, word):
    """A move that could not be explained afterwards is none."""
    declined = by_person(WHO, Standing(Rung.APPROVE), [], Ladder(), NOW, rung=rung, by=by, reason=reason)
    assert isinstance(declined, Declined)
    assert word in declined.why


def test_a_person_promotes_without_evidence_only_when_saying_so():
    """Too little evidence declines the promotion; who insists leaves that in the record."""
    few = ran([Result.VERIFIED] * 3)
    asked = {"rung": Rung.AUTO, "by": "ada", "reason": "I know it"}
    declined = by_person(WHO, Standing(Rung.APPROVE), few, Ladder(), NOW, **asked)
    assert isinstance(declined, Declined)
    move = by_person(WHO, Standing(Rung.APPROVE), few, Ladder(), NOW, **asked, unproven=True)
    assert not isinstance(move, Declined)
    assert "without enough evidence" in move.standing.reason


def test_a_person_forgives_what_a_promotion_was_made_in_spite_of():
    """Failures that were known when a person promoted do not demote again; the next one does."""
    results = [Result.NOT_FIXED, Result.NOT_FIXED]
    down = next_move(WHO, Standing(Rung.AUTO), ran(results), BY_ITSELF, NOW)
    assert down is not None
    up = by_person(
        WHO, down.standing, ran(results), BY_ITSELF, NOW, rung=Rung.AUTO, by="a", reason="fixed", unproven=True
    )
    assert not isinstance(up, Declined)
    assert next_move(WHO, up.standing, ran(results), BY_ITSELF, NOW) is None
    more = next_move(WHO, up.standing, ran([*results, Result.FAILED]), BY_ITSELF, NOW)
    assert more is not None
    assert more.standing.rung is Rung.APPROVE


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(list(Result)), st.booleans()), max_size=80))
def test_the_ladder_settles_and_never_lets_run_what_just_failed(steps):
    """Looking again without news moves nobody, and right after a failure is looked at nobody stands on auto."""
    ladder = Ladder(start=Rung.AUTO, thresholds=BY_ITSELF.thresholds, suggest_after=3)
    standing, seen = Standing(Rung.AUTO), []
    for number, (result, look) in enumerate(steps):
        seen.append(Ended(f"e{number}", NOW - timedelta(days=1) + timedelta(minutes=number), result))
        if not look:
            continue
        failed = any(
            one.result in AGAINST and (not standing.judged_until or one.at > standing.judged_until) for one in seen
        )
        before, moves = standing, 0
        while move := next_move(WHO, standing, seen, ladder, NOW):
            assert move.standing.revision == standing.revision + 1
            if moves == 0 and failed and before.rung is Rung.AUTO:
                assert not move.promotes
            standing, moves = move.standing, moves + 1
            assert moves <= len(Rung)


@pytest.mark.parametrize("wrong", [{"executions": 0, "lower_bound": 0.5}, {"executions": 1, "lower_bound": 0.0}])
def test_a_threshold_without_evidence_is_refused(wrong):
    """No setting makes a promotion possible that rests on nothing."""
    with pytest.raises(ValueError, match=r"evidence|above 0"):
        Threshold(**wrong)


def test_the_first_rung_is_that_of_the_first_glob_that_matches():
    """Runbooks named in the settings begin elsewhere; all others begin at the start."""
    ladder = Ladder(starts={"node-*": Rung.OBSERVE, "*-known": Rung.AUTO})
    assert [ladder.first(name) for name in ("node-drain", "well-known", "other")] == [
        Rung.OBSERVE,
        Rung.AUTO,
        Rung.APPROVE,
    ]
