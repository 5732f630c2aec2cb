"""The limits of a question, and how long a target cools down."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta

import pytest
from fakes.gate_rigs import LIMITS, MemoryRig, approval, request
from hypothesis import given
from hypothesis import strategies as st

from safety import limits
from safety.axes import AXES, WINDOWS, Place, buckets_of, namespaces_of
from safety.limits import OUTCOMES, bounds, cooldown_after, cooldowns, remembered_seconds
from safety.model import ApprovalNeeded, BlastRadius, GateRecord, Permit, Refusal
from safety.policy import PolicySettings
from services.connections import policy_of
from services.settings import load_settings

DEFAULTS = PolicySettings()
some = st.none() | st.integers(1, 9)


def test_every_limit_of_the_table_is_a_setting_with_the_same_default(tmp_path):
    """What the settings say of an axis reaches the policy; nothing is limited that no setting names."""
    assert policy_of(load_settings(env={})) == DEFAULTS
    file = tmp_path / "rootmend.yaml"
    file.write_text("gate: {limits: {tenant: {per_day: 7, concurrent: 3}, cluster: {per_minute: null}}}", "utf-8")
    given_ = policy_of(load_settings(file, env={}))
    assert (given_.tenant_per_day, given_.tenant_concurrent, given_.cluster_per_minute) == (7, 3, None)
    names = {each.name for each in fields(PolicySettings)}
    for axis in AXES:
        if axis.rated:
            assert {f"{axis.name}_per_{window}" for window in WINDOWS} - names <= {"cluster_per_hour"}


@given(own=some, policy=some)
def test_of_runbook_and_policy_the_stricter_counts(own, policy):
    """Whichever of the two is lower is the limit; none is no limit."""
    asked = request(limits=replace(LIMITS, max_executions_per_day=own))
    (runbook, *_) = bounds(asked, replace(DEFAULTS, runbook_per_day=policy))
    found = {rate.check: rate.limit for rate in runbook.rates}.get("runbook_rate_day")
    assert found == min((limit for limit in (own, policy) if limit is not None), default=None)


@given(asked=st.lists(st.tuples(some, some, some, some, some, st.booleans()), min_size=2, max_size=9))
def test_what_is_remembered_of_limits_is_never_that_of_another_question(asked):
    """Limits are worked out once for each runbook and policy; whatever was asked before, the answer is the same."""
    questions = [
        (
            request(
                limits=replace(LIMITS, max_executions_per_minute=minute, max_concurrent=at_once, ask_again_after=again),
                approval=approval() if answered else None,
            ),
            replace(DEFAULTS, runbook_per_minute=other, tenant_concurrent=tenant, protected_namespaces=("a", "b")),
        )
        for minute, at_once, again, other, tenant, answered in asked
    ]
    remembered = [bounds(*question) for question in questions]
    for question, found in zip(questions, remembered, strict=True):
        limits._by_axis.cache_clear()
        assert bounds(*question) == found


def test_a_resolved_policy_replaces_the_limits_of_the_gate():
    """What was resolved for the question counts, not what the gate was started with."""
    asked = request(policy=replace(DEFAULTS, namespace_concurrent=3))
    (namespace,) = [one for one in bounds(asked, DEFAULTS) if one.bucket.axis.name == "namespace"]
    assert namespace.concurrent == 3


@pytest.mark.parametrize(
    ("cluster", "target", "written", "found"),
    [
        ("prod", "prod/shop/Deployment/cart", (), ("shop",)),
        ("prod", "prod/shop/Deployment/cart", ("pay", "", " Shop "), ("pay", "shop")),
        ("eu/prod", "eu/prod//Node/n1", ("",), ()),
        ("prod", "prod//Namespace/shop", ("",), ("shop",)),
    ],
)
def test_a_plan_counts_in_every_namespace_that_it_touches(cluster, target, written, found):
    """Those it writes to, the target's, and one that is the target itself; objects of the cluster have none."""
    assert namespaces_of(cluster, target, written) == found
    buckets = buckets_of(Place("acme", cluster, "oom", found), target)
    assert [one.names for one in buckets if one.axis.name == "namespace"] == [(cluster, each) for each in found]


def test_a_target_rests_longer_after_a_fix_that_did_not_help():
    """By default `not_fixed` has the longest cooldown, and nothing is shorter than the runbook's own."""
    found = cooldowns(LIMITS, DEFAULTS)
    assert max(found, key=lambda name: found[name]) == "not_fixed"
    assert min(found.values()) == LIMITS.cooldown_seconds


@pytest.mark.parametrize(
    ("outcome", "verdict", "seconds"),
    [
        ("success", "verified", 600),
        ("failure", "", 900),
        ("partial", "", 900),
        ("rollback", "", 1000),
        ("rollback", "not_fixed", 3600),
        ("success", "inconclusive", 1800),
        ("aborted", "", 600),
    ],
)
def test_the_longest_cooldown_that_an_end_calls_for_counts(outcome, verdict, seconds):
    """A fix that was taken back because it did not help is both; an end before the first change is none of them."""
    found = cooldowns(replace(LIMITS, cooldown_after={"rollback": 1000}), DEFAULTS)
    assert cooldown_after(found, outcome, verdict, LIMITS.cooldown_seconds) == seconds


def test_an_execution_from_before_has_its_usual_cooldown():
    """What was permitted by an earlier release ends as it was promised then."""
    assert cooldown_after({}, "rollback", "not_fixed", 42) == 42


@given(
    own=st.dictionaries(st.sampled_from(OUTCOMES), st.floats(0, 1e6)),
    least=st.floats(0, 1e6),
    usual=st.floats(0, 1e6),
)
def test_a_runbook_sets_its_own_cooldowns_above_the_least(own, least, usual):
    """What a runbook says of an outcome counts, longer or shorter, but never below what the operator wants at least."""
    limits = replace(LIMITS, cooldown_after=own, cooldown_seconds=usual)
    found = cooldowns(limits, replace(DEFAULTS, least_cooldown_seconds=least))
    assert all(found[name] >= least for name in OUTCOMES)
    assert all(found[name] == max(least, value) for name, value in own.items())


def test_an_execution_is_remembered_as_long_as_anybody_asks():
    """The longer of the runbook's and the policy's time decides what an emptied store learns again."""
    long = replace(LIMITS, ask_again_after=1, ask_again_seconds=2 * 86_400)
    assert remembered_seconds(long, DEFAULTS) == 2 * 86_400
    assert remembered_seconds(LIMITS, DEFAULTS) == 86_400
    assert remembered_seconds(LIMITS, replace(DEFAULTS, ask_again_after=None)) == 0


async def test_the_nth_execution_for_a_target_asks_a_human_whichever_runbooks():
    """Five runbooks in a day, and the sixth asks; a human's yes lets it run; another target is not asked for."""
    rig = MemoryRig(replace(DEFAULTS, least_cooldown_seconds=0))
    for number in range(5):
        await rig.gate.ask([each := request(f"e{number}", runbook_id=f"r{number}")])
        await rig.gate.confirm([(each.execution_id, each.target_key)])
        await rig.gate.release(each.execution_id, each.target_key, 0)
        await rig.advance(600)
    sixth = request("e5", runbook_id="r5")
    before = await rig.dump()
    (answer,) = await rig.gate.ask([sixth])
    assert answer == ApprovalNeeded(("runbooks ran for this target 5 times in the last 1d already",))
    assert await rig.dump() == before
    (other, yes) = await rig.gate.ask(
        [request("e6", "prod/shop/Deployment/other"), replace(sixth, approval=approval())]
    )
    assert isinstance(other, Permit)
    assert isinstance(yes, Permit)


@pytest.mark.parametrize(("recorded", "check"), [(3, None), (98, "blast_in_flight"), (None, None)])
async def test_what_is_in_flight_is_known_again_after_the_store_was_emptied(recorded, check):
    """The recorded blast radius counts; where nobody recorded it, as much as any execution may affect."""
    rig = MemoryRig()
    rig.gate.empty()
    now = rig.clock.now()
    record = GateRecord(
        "e1", "acme", "prod", "r1", "prod/shop/Deployment/cart", "hash", 1, now, now + timedelta(seconds=120),
        holds_target=True, blast=recorded,
    )  # fmt: skip
    await rig.gate.restore([record])
    (answer,) = await rig.gate.ask([request("e2", "prod/shop/Deployment/other")])
    assert (answer.check if isinstance(answer, Refusal) else None) == check
    wide = replace(LIMITS, blast_radius=100)
    asked = request(
        "e3", "prod/shop/Deployment/third", limits=wide, blast=BlastRadius(49, 49, ("x",), graph_age_seconds=1)
    )
    (answer,) = await rig.gate.ask([replace(asked, policy=replace(DEFAULTS, max_blast_percent_cluster=None))])
    full = recorded is None or check is not None
    assert (answer.check if isinstance(answer, Refusal) else None) == ("blast_in_flight" if full else None)
