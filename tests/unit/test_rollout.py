"""A new version proves itself: who takes which incident, when the trial is over, and what is told of it."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from fakes.versioned_rig import VersionedRig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from matcher.lots import EVERYTHING, Lot, draw
from matcher.trial import DEMOTED, PROMOTED, Counts, judge, wilson_lower
from runbooks.folder import RunbookFolder
from runbooks.rollout import Rollout
from services.pipeline.catalog import Catalog
from services.pipeline.sweep import sweep
from services.records import DecisionKind
from services.versions import RunbookRollback

BAD = [{"name": "raise", "action": "set", "params": {"name": "{{ target.name }}", "value": "1Mi"}}]
"""A step after which the workload is not well."""
HALF = {"canary": {"percent": 50}, "min_successes": 3}


@pytest.fixture
def rig(tmp_path):
    made = VersionedRig(tmp_path)
    made.write()
    return made


async def _proven(rig, process, count=3):
    """The version in the file is used and helps."""
    await rig.catalog.follow()
    for number in range(count):
        await rig.handle(process, f"before-{number}")
    return rig.catalog.find("raise-memory").sha


async def _incidents(rig, process, count, start=0):
    told = []
    for number in range(start, start + count):
        told.append(await rig.handle(process, f"app-{number}"))
        await rig.catalog.follow()
    return told


# The draw

_IDS = st.uuids().map(str)


@given(key=st.text(max_size=20), incident=_IDS, percent=st.floats(0.01, 99.99))
def test_every_incident_is_taken_by_exactly_one_of_two_versions(key, incident, percent):
    """Whatever the share: never none, never both, and the same each time it is asked."""
    new, before = Lot(key, 0.0, percent, why="trial"), Lot(key, percent, why="trial")
    taken = [not lot.why_not(incident) for lot in (new, before)]
    assert taken.count(True) == 1
    assert taken[0] == (draw(key, incident) < percent)
    assert [not lot.why_not(incident) for lot in (new, before)] == taken


@given(key=st.text(max_size=20), incident=_IDS, less=st.floats(0, 100), more=st.floats(0, 100))
def test_a_larger_share_keeps_the_incidents_of_a_smaller_one(key, incident, less, more):
    """Raising the percentage moves no incident back."""
    less, more = sorted((less, more))
    assert not (draw(key, incident) < less and draw(key, incident) >= more)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), percent=st.sampled_from([1, 10, 33, 50, 90]))
def test_the_share_is_what_was_asked_for(seed, percent):
    """Of many incidents the new version takes its share, within five standard deviations."""
    count = 4000
    taken = sum(draw("a", str(UUID(int=seed * 10_000 + number))) < percent for number in range(count))
    share = percent / 100
    assert abs(taken - count * share) <= 5 * (count * share * (1 - share)) ** 0.5


@given(incident=_IDS)
def test_without_a_lot_a_version_takes_everything(incident):
    """Nobody has said anything about it."""
    assert EVERYTHING.why_not(incident) == EVERYTHING.suggested(incident) == ""


# The verdict


@given(ended=st.integers(1, 500), data=st.data())
def test_wilsons_lower_end_is_below_the_rate_and_grows_with_evidence(ended, data):
    """The same rate counts for more when it was seen more often."""
    verified = data.draw(st.integers(0, ended))
    low = wilson_lower(verified, ended)
    assert 0.0 <= low <= verified / ended + 1e-12
    assert wilson_lower(verified * 10, ended * 10) >= low - 1e-12
    assert wilson_lower(0, 0) == 0.0


@pytest.mark.parametrize(
    ("new", "before", "verdict"),
    [
        (Counts(0, 0, 0), Counts(10, 10, 0), ""),
        (Counts(4, 4, 0), None, ""),
        (Counts(5, 5, 0), None, PROMOTED),
        (Counts(5, 5, 0), Counts(100, 100, 0), PROMOTED),
        (Counts(8, 5, 0), Counts(100, 98, 2), ""),  # three that nobody could tell: worse than before
        (Counts(8, 5, 0), Counts(10, 6, 4), PROMOTED),
        (Counts(1, 0, 1), None, DEMOTED),
        (Counts(50, 49, 1), Counts(10, 1, 9), DEMOTED),
    ],
)
def test_a_trial_is_judged_by_its_counts(new, before, verdict):
    """Enough successes at no worse a rate prove it; one failure too many ends it, however good it was before."""
    assert judge(Rollout(mode="suggest"), new, before)[0] == verdict


def test_a_rollout_says_one_way():
    """Both, or neither, is a mistake of the author."""
    both, half = {"canary": {}, "mode": "suggest"}, {"mode": "canary"}
    for wrong in ({}, both, half, {"canary": {"percent": 0}}, {"mode": "all"}):
        with pytest.raises(ValidationError):
            Rollout.model_validate(wrong)
    assert Rollout.model_validate({"canary": {}}).canary.percent == 10
    assert Rollout.model_validate({"canary": {}, "mode": "canary"}).mode == "canary"


# The pipeline


async def test_a_canary_takes_its_share_and_the_version_before_it_the_rest(rig):
    """Each decision says who took it, and why the other did not."""
    process = rig.process()
    old = await _proven(rig, process)
    new = rig.write(version="2.0", rollout={"canary": {"percent": 50}, "min_successes": 1000})
    await rig.catalog.follow()
    told = await _incidents(rig, process, 24)
    for decision in told:
        drawn = draw(f"raise-memory|{new}", decision.incident.id)
        assert decision.runbook.sha == (new if drawn < 50 else old)
        (lost,) = [one for one in decision.candidates if one.lost_because]
        assert "is on trial and takes 50 % of incidents" in lost.lost_because
        assert f"this incident drew {drawn:.1f}" in lost.lost_because
    assert {decision.runbook.sha for decision in told} == {old, new}
    assert rig.catalog.runbooks["raise-memory"].sha == old  # what others call is the proven one


async def test_a_canary_that_helps_is_promoted_by_itself(rig):
    """From then on it takes everything, in every process, also when the graph is read anew."""
    process = rig.process()
    await _proven(rig, process)
    new = rig.write(version="2.0", rollout=HALF)
    await rig.catalog.follow()
    await _incidents(rig, process, 16)
    assert rig.versions.standing["raise-memory", new][0] == PROMOTED
    assert {d.runbook.sha for d in await _incidents(rig, process, 8, 16)} == {new}
    other = rig.new_catalog()
    await other.follow()
    assert [one.sha for one in other._in_force.versions] == [new]


async def test_a_canary_that_fails_is_out_at_once_and_stays_out(rig):
    """One fix that did not work: the version before takes all, and the record says so."""
    process = rig.process()
    old = await _proven(rig, process)
    bad = rig.write(version="2.0", steps=BAD, rollout=HALF)
    await rig.catalog.follow()
    told = await _incidents(rig, process, 16)
    assert [decision.runbook.sha for decision in told].count(bad) == 1
    assert rig.versions.standing["raise-memory", bad] == (DEMOTED, "1 of 1 executions failed, 1 end the trial")
    last = told[-1]
    assert last.runbook.sha == old
    (lost,) = [one for one in last.candidates if one.sha == bad]
    assert "failed its trial: 1 of 1 executions failed" in lost.lost_because


async def test_after_a_failed_version_the_next_one_is_measured_against_the_last_good_one(rig):
    """A version that failed is nobody's fallback."""
    process = rig.process()
    old = await _proven(rig, process)
    rig.write(version="2.0", steps=BAD, rollout=HALF)
    await rig.catalog.follow()
    await _incidents(rig, process, 16)
    third = rig.write(version="3.0", rollout={"canary": {"percent": 50}, "min_successes": 1000})
    await rig.catalog.follow()
    assert {d.runbook.sha for d in await _incidents(rig, process, 16, 16)} == {old, third}


async def test_a_version_that_only_suggests_asks_until_it_is_proven(rig):
    """A human says yes each time; after enough proofs nobody has to."""
    process = rig.process()
    await _proven(rig, process)
    new = rig.write(version="2.0", rollout={"mode": "suggest", "min_successes": 1})
    await rig.catalog.follow()
    told = await rig.handle(process, "one")
    assert (told.kind, told.runbook.sha) == (DecisionKind.APPROVAL, new)
    assert "suggested only: version 2.0" in told.message
    assert rig.effects().count("set one=512Mi") == 0


async def test_a_first_version_takes_all_as_a_canary_and_asks_when_it_only_suggests(tmp_path):
    """There is nothing to compare a first version with; one that says suggest has to prove itself all the same."""
    rig = VersionedRig(tmp_path)
    sha = rig.write(rollout=HALF)
    rig.write("other", trigger={"root_cause_reason": "Else"}, rollout={"mode": "suggest"})
    process = rig.process()
    await rig.catalog.follow()
    assert {d.kind for d in await _incidents(rig, process, 6)} == {DecisionKind.PERMIT}
    assert rig.versions.standing["raise-memory", sha] == (PROMOTED, "the first version that is known")
    assert rig.catalog.runbooks["other"].runbook.safety.require_approval is True


async def test_without_a_proven_version_the_rest_is_only_suggested(tmp_path):
    """The first version failed as far as anybody knows: nothing of it takes over from the canary's other half."""
    rig = VersionedRig(tmp_path)
    rig.write(steps=BAD, rollout={"mode": "suggest"})
    process = rig.process()
    await rig.catalog.follow()
    await rig.handle(process, "first")
    new = rig.write(version="2.0", rollout={"canary": {"percent": 50}, "min_successes": 1000})
    await rig.catalog.follow()
    kinds = {}
    for decision in await _incidents(rig, process, 16):
        assert decision.runbook.sha == new
        kinds.setdefault(draw(f"raise-memory|{new}", decision.incident.id) < 50, set()).add(decision.kind)
    assert kinds == {True: {DecisionKind.PERMIT}, False: {DecisionKind.APPROVAL}}


async def test_a_rollback_by_a_person_goes_before_any_trial(rig):
    """The version in force is the one that was named, for every incident."""
    process = rig.process()
    old = await _proven(rig, process)
    new = rig.write(version="2.0", rollout=HALF)
    await rig.versions.roll_back(RunbookRollback("r", "raise-memory", new, old, "ada", "no"))
    await rig.catalog.follow()
    assert {d.runbook.sha for d in await _incidents(rig, process, 10)} == {old}


async def test_a_trial_that_the_graph_has_not_told_of_is_only_suggested(rig):
    """The file changed while the graph is away: nobody knows how the version stands, so a human is asked."""
    process = rig.process()
    await _proven(rig, process)
    rig.versions.away = True
    rig.write(version="2.0", rollout=HALF)
    await sweep([("versions", rig.catalog.follow)])
    assert {(await rig.handle(process, f"x{n}")).kind for n in range(4)} == {DecisionKind.APPROVAL}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(well=st.lists(st.booleans(), min_size=1, max_size=8), percent=st.sampled_from([20, 50, 80]))
async def test_in_whatever_order_things_go_well_or_badly_the_trial_ends_as_its_rules_say(
    well, percent, tmp_path_factory
):
    """After each incident: every version that ran was in its lot, and nothing runs of a version that failed."""
    rig = VersionedRig(tmp_path_factory.mktemp("rollout"))
    rig.write()
    process = rig.process()
    old = await _proven(rig, process, 1)
    new = rig.write(version="2.0", rollout={"canary": {"percent": percent}, "min_successes": 2})
    await rig.catalog.follow()
    verified = failed = 0
    for number, good in enumerate(well):
        rig.good = "512Mi" if good else "another"
        over = PROMOTED if verified >= 2 else DEMOTED if failed else ""
        decision = await rig.handle(process, f"app-{number}")
        mine = draw(f"raise-memory|{new}", decision.incident.id) < percent
        expected = {PROMOTED: new, DEMOTED: old}.get(over, new if mine else old)
        assert decision.runbook.sha == expected
        if expected == new and not over:
            verified, failed = verified + good, failed + (not good)
        await rig.catalog.follow()
    standing = rig.versions.standing.get(("raise-memory", new), ("",))[0]
    assert standing == (DEMOTED if failed else PROMOTED if verified >= 2 else "")


class Recorded(Catalog):
    """A catalog that remembers every state that was ever in force."""

    def _build(self):
        super()._build()
        self.__dict__.setdefault("states", []).append(self._in_force)


async def test_a_changed_file_is_put_in_force_with_what_the_graph_says_of_it(rig):
    """No incident falls between the new file and the question how it stands."""
    await _proven(rig, rig.process())
    catalog = Recorded(RunbookFolder([rig.folder]), rig.hooks, None, rig.versions)
    catalog.load()
    await catalog.follow()
    watching = asyncio.create_task(catalog.watch())
    try:
        await asyncio.sleep(0.1)
        new = rig.write(version="2.0", rollout=HALF)
        async with asyncio.timeout(20):
            while ("raise-memory", new) not in catalog._in_force.lots:  # noqa: ASYNC110 - the watcher tells nobody
                await asyncio.sleep(0.02)
    finally:
        watching.cancel()
    lots = [state.lots["raise-memory", new] for state in catalog.states if ("raise-memory", new) in state.lots]
    assert {lot.end for lot in lots} == {50.0}
