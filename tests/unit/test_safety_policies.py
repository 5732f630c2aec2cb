"""Policies: the most specific decides each field, contradictions are found when loading, missing data is a no."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from safety.autonomy import Rung
from safety.globs import can_meet
from safety.model import Refusal
from safety.policies import (
    MECHANICS,
    Facts,
    Freeze,
    Policy,
    PolicySet,
    Scope,
    applies,
    clashes,
    limits_of_policies,
    looser,
    strictest,
)
from safety.policy import PolicySettings

FACTS = Facts("acme", "prod", "payments", "Deployment", "raise-memory", ("memory",), "CRITICAL", {"tier": "gold"})


def policy(name, *, gives=None, priority=0, freezes=(), **scope):
    """A policy; its scope by parts."""
    return Policy(name, Scope(**scope), gives or {}, tuple(freezes), priority, f"v-{name}", f"p.yaml:{len(name)}")


def resolved(*policies, facts=FACTS, settings=None):
    """What holds; must not be a refusal."""
    found = PolicySet(policies, settings).resolve(facts)
    assert not isinstance(found, Refusal), found
    return found


LADDER = (
    {},
    {"tenants": ("acme",)},
    {"clusters": ("prod",)},
    {"severities": ("critical",)},
    {"kinds": ("deployment",)},
    {"tags": ("memory",)},
    {"runbooks": ("raise-memory",)},
    {"namespaces": ("*",)},
    {"namespaces": ("pay*",)},
    {"namespaces": ("payments",)},
    {"labels": {"tier": "g*"}},
    {"labels": {"tier": "gold"}},
)


def test_each_rung_of_specificity_beats_those_below():
    """The order of the documentation decides, from labels down to tenants; names go before globs."""
    every = [policy(f"p{i}", gives={"limits.max_blast_radius": i}, **scope) for i, scope in enumerate(LADDER)]
    for count in range(1, len(every) + 1):
        found = resolved(*every[:count])
        assert found.limits.max_blast_radius == count - 1, LADDER[count - 1]
    assert [use.id for use in found.uses] == [one.id for one in reversed(every)]


def test_each_field_is_decided_by_itself():
    """A narrow policy that says nothing of a field leaves it to the wider one, and who lost is told with the reason."""
    wide = policy("wide", gives={"limits.min_confidence_floor": 0.9, "require_approval": True}, tenants=("acme",))
    narrow = policy("narrow", gives={"require_approval": False}, namespaces=("payments",))
    found = resolved(wide, narrow)
    assert found.limits.min_confidence_floor == 0.9
    assert found.require_approval == ""
    decided = {one.field: one for one in found.decided}
    assert decided["require_approval"].policy == "narrow"
    (lost,) = decided["require_approval"].lost
    assert (lost.policy, lost.why) == ("wide", "narrow says more about namespaces")
    assert found.uses[0].decided == ("require_approval",)


def test_what_no_policy_gives_stays_with_the_settings():
    """A policy elsewhere changes nothing here, and without policies the settings hold as they are."""
    settings = PolicySettings(max_blast_radius=7)
    elsewhere = policy("elsewhere", gives={"limits.max_blast_radius": 1}, namespaces=("shop",))
    assert resolved(elsewhere, settings=settings).limits == settings
    assert resolved(settings=settings).limits is settings


def test_labels_that_cannot_be_read_are_a_no():
    """Whether a policy applies depends on them: guessing would let a protected workload through."""
    gold = policy("gold", gives={"deny": "gold is touched by people"}, labels={"tier": "gold"})
    unread = replace(FACTS, labels=None)
    answer = PolicySet([gold]).resolve(unread)
    assert isinstance(answer, Refusal)
    assert (answer.check, answer.numbers["policy"]) == ("policy_labels", "gold")
    assert resolved(gold).deny == "gold is touched by people"
    assert resolved(gold, facts=replace(FACTS, labels={})).deny == ""


def test_labels_are_asked_for_only_where_a_policy_depends_on_them():
    """A policy about labels in another namespace makes nobody read labels here."""
    other = policy("other", gives={"deny": "no"}, labels={"tier": "gold"}, namespaces=("shop",))
    assert not PolicySet([other]).needs_labels(FACTS)
    assert resolved(other, facts=replace(FACTS, labels=None)).deny == ""
    assert PolicySet([other]).needs_labels(replace(FACTS, namespace="shop"))


def test_a_narrow_policy_lifts_what_a_wide_one_denies():
    """The most specific wins for a deny as for everything else."""
    wide = policy("wide", gives={"deny": "hands off"}, clusters=("prod",))
    lift = policy("lift", gives={"deny": ""}, namespaces=("payments",))
    assert resolved(wide, lift).deny == ""
    assert resolved(wide, lift, facts=replace(FACTS, namespace="shop")).deny == "hands off"


def test_freezes_add_up():
    """A team's own freeze does not end that of the company."""
    moment = datetime(2026, 12, 20, tzinfo=UTC)
    one = policy("one", freezes=[Freeze(moment, moment.replace(day=24), "stock-taking")], tenants=("acme",))
    two = policy("two", freezes=[Freeze(moment, moment.replace(day=22), "launch")], namespaces=("payments",))
    assert {name for name, _ in resolved(one, two).freezes} == {"one", "two"}


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ({"namespaces": ("pay*",)}, {"namespaces": ("*ents",)}, False),
        ({"namespaces": ("pay*",)}, {"namespaces": ("*nts",)}, True),
        ({"namespaces": ("payments",)}, {"namespaces": ("shop",)}, False),
        ({"namespaces": ("payments", "shop")}, {"namespaces": ("shop", "web")}, True),
        ({"tags": ("a",)}, {"tags": ("b",)}, True),
        ({"labels": {"tier": "gold"}}, {"labels": {"team": "blue"}}, True),
        ({"labels": {"tier": "gold"}}, {"labels": {"tier": "silver"}}, False),
        ({"runbooks": ("a",), "kinds": ("Node",)}, {"runbooks": ("a",), "kinds": ("Pod",)}, False),
        ({}, {}, True),
    ],
)
def test_a_tie_is_a_mistake_exactly_where_both_can_apply(one, other, meet):
    """Equally specific policies that give the same field clash when some question is in both scopes."""
    pair = [policy("a", gives={"autonomy": Rung.AUTO}, **one), policy("b", gives={"autonomy": Rung.SUGGEST}, **other)]
    if pair[0].rank != pair[1].rank:
        meet = False
    assert bool(list(clashes(pair))) is meet


def test_a_priority_ends_a_tie():
    """Of two equally specific policies the one with the larger priority decides, and that is told."""
    one = policy("one", gives={"deny": "a"}, tags=("memory",), priority=1)
    two = policy("two", gives={"deny": "b"}, tags=("memory",))
    assert not list(clashes([one, two]))
    (decided,) = resolved(two, one).decided
    assert (decided.value, decided.lost[0].why) == ("a", "one has the larger priority")


NAMES = st.sampled_from(("a", "b", "ab", "a*", "*b", "?", "*", "a?", "ba"))
SCOPES = st.builds(
    Scope,
    tenants=st.lists(NAMES, max_size=2).map(tuple),
    namespaces=st.lists(NAMES, max_size=2).map(tuple),
    runbooks=st.lists(NAMES, max_size=2).map(tuple),
    labels=st.dictionaries(st.sampled_from("xy"), NAMES, max_size=2),
)
TEXTS = st.sampled_from(("a", "b", "ab", "ba", "aab"))


@given(
    st.lists(st.tuples(SCOPES, st.integers(0, 2), st.integers(0, 9)), max_size=6),
    st.tuples(TEXTS, TEXTS, TEXTS),
    st.dictionaries(st.sampled_from("xy"), TEXTS, max_size=2),
    st.randoms(),
)
def test_without_clashes_the_order_of_the_files_means_nothing(many, place, labels, random):
    """Whatever order policies are loaded in, each question has one answer; else the set is refused when loaded."""
    policies = [
        Policy(f"p{i}", scope, {"limits.max_blast_radius": value}, (), priority, "v")
        for i, (scope, priority, value) in enumerate(many)
    ]
    assume(not list(clashes(policies)))
    tenant, namespace, runbook = place
    facts = Facts(tenant, "c", namespace, "Deployment", runbook, (), "", labels)
    there = [one for one in policies if applies(one.scope, facts)]
    assert len({one.rank for one in there}) == len(there), "two of one rank meet, and nobody said so"
    shuffled = list(policies)
    random.shuffle(shuffled)
    assert resolved(*policies, facts=facts) == resolved(*shuffled, facts=facts)


@given(st.text("ab*?", max_size=6), st.text("ab*?", max_size=6), st.text("ab", max_size=5))
def test_two_globs_that_match_one_text_can_meet(one, other, text):
    """No tie goes unnoticed because of globs."""
    if fnmatchcase(text, one) and fnmatchcase(text, other):
        assert can_meet(one, other)
    if not set("*?") & set(one):
        assert can_meet(one, other) == fnmatchcase(one, other)


def test_where_several_namespaces_are_written_to_the_strictest_counts():
    """A plan that reaches into a protected place is held to the rules of that place too."""
    loose = resolved(policy("l", gives={"limits.max_blast_radius": 9, "autonomy": Rung.AUTO}))
    strict = resolved(
        policy(
            "s",
            gives={"limits.max_blast_radius": 2, "autonomy": Rung.APPROVE, "deny": "no", "required_signature": True},
        )
    )
    for pair in ([loose, strict], [strict, loose]):
        both = strictest(pair)
        assert (both.limits.max_blast_radius, both.autonomy, both.deny) == (2, Rung.APPROVE, "no")
        assert both.required_signature
        assert {use.id for use in both.uses} == {"l", "s"}


def test_every_limit_says_which_way_is_stricter():
    """A new limit of the gate has to say whether policies may give it; else loosening it could not be noticed."""
    undecided = {one.name for one in fields(PolicySettings)} - set(limits_of_policies()) - MECHANICS
    assert not undecided, f"say in safety.policies._way which way {sorted(undecided)} are stricter, or add to MECHANICS"


@pytest.mark.parametrize(
    ("name", "value", "than", "is_looser"),
    [
        ("max_blast_radius", 51, 50, True),
        ("max_blast_radius", 50, 50, False),
        ("min_confidence_floor", 0.4, 0.5, True),
        ("min_confidence_floor", 0.6, 0.5, False),
        ("protected_namespaces", ("a",), ("a", "b"), True),
        ("protected_namespaces", ("a", "b", "c"), ("a", "b"), False),
        ("max_blast_radius", None, 50, True),
        ("max_blast_radius", 50, None, False),
        ("cluster_per_day", 601, 600, True),
        ("cooldown_not_fixed_seconds", 60, 3600, True),
        ("least_cooldown_seconds", 60, 0, False),
        ("gitops", "allow", "refuse", True),
        ("gitops", "refuse", "suggest", False),
    ],
)
def test_loosening_is_noticed_in_every_direction(name, value, than, is_looser):
    """A larger maximum, a smaller minimum, a shorter list and no limit at all are looser."""
    assert looser(name, value, than) is is_looser
