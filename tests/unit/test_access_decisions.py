"""Who may do what: denied unless an assignment says so, whatever the names look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.access import (
    ADMIN,
    Access,
    AccessError,
    Actor,
    ActorKind,
    Assignment,
    Denied,
    Grant,
    Limits,
    Role,
    Scope,
    Subject,
    SubjectKind,
    single_operator,
    system,
)
from safety.permissions import EVERY, MEANINGS, Permission, named, with_implied

VIEW, RUN, ANSWER = Permission.RUNBOOKS_READ, Permission.RUNBOOKS_EXECUTE, Permission.APPROVALS_RESPOND
ROLES = (
    Role("viewer", frozenset({VIEW})),
    Role("operator", frozenset({RUN}), ("viewer",)),
    Role("responder", frozenset({ANSWER}), ("operator",)),
)
ADA = Subject(SubjectKind.USER, "ada")
SRE = Subject(SubjectKind.GROUP, "sre")
BOT = Subject(SubjectKind.SERVICE_ACCOUNT, "system:serviceaccount:ci:bot")


def user(identity="ada", *groups, **more):
    """A proven user."""
    return Actor(ActorKind.USER, identity, groups=frozenset(groups), **more)


def access(*assignments, roles=ROLES):
    """Access with these assignments of (role, subject, limits)."""
    return Access(roles, [Assignment(role, (subject,), *limits) for role, subject, *limits in assignments])


def test_nobody_may_do_anything_without_an_assignment():
    """Deny by default, for every permission and every kind of actor."""
    empty = access()
    for kind in ActorKind:
        for permission in Permission:
            assert not empty.may(Actor(kind, "ada", groups=frozenset({"sre"})), permission)
            assert not empty.may_somewhere(Actor(kind, "ada"), permission)


def test_a_refusal_names_the_permission_the_place_and_the_roles_that_have_it():
    """Whoever is refused knows what to ask for."""
    known = access(("operator", ADA, Limits(namespaces=("shop",))))
    answer = known.may(user(), RUN, Scope("acme", "prod", "web", "restart"))
    assert isinstance(answer, Denied)
    assert answer.roles == ("operator", "responder")
    assert answer.reason == (
        "user:ada lacks the permission runbooks:execute for tenant acme, cluster prod, namespace web, runbook restart;"
        " it is given only for namespaces shop; roles that have it: operator, responder"
    )


def test_a_role_has_what_it_inherits_and_what_its_permissions_contain():
    """Down a chain of any length."""
    known = access(("responder", ADA))
    assert known.permissions_of(user()) == with_implied({VIEW, RUN, ANSWER})
    assert known.may(user(), VIEW).role == "responder"


@pytest.mark.parametrize(
    ("roles", "words"),
    [
        ((Role("a", inherits=("a",)),), "a -> a"),
        ((Role("a", inherits=("b",)), Role("b", inherits=("c",)), Role("c", inherits=("a",))), "a -> b -> c -> a"),
        ((Role("a", inherits=("b",)),), "inherits b, which is not there"),
        ((Role("a"), Role("a")), "twice"),
        ((Role("rootmend:admin"),), "belong to the product"),
    ],
)
def test_roles_that_cannot_be_resolved_are_refused(roles, words):
    """A circle, a gap, two of one name, a built-in name."""
    with pytest.raises(AccessError, match=words):
        Access(roles)


def test_an_assignment_of_a_role_that_is_not_there_is_refused():
    """It would silently give nothing."""
    with pytest.raises(AccessError, match="oprator"):
        access(("oprator", ADA))


@pytest.mark.parametrize(
    ("limits", "scope", "allowed"),
    [
        (Limits(), Scope(), True),
        (Limits(), Scope("acme", "prod", "shop", "restart"), True),
        (Limits(namespaces=("shop",)), Scope(namespace="shop"), True),
        (Limits(namespaces=("shop",)), Scope(namespace="shop-2"), False),
        (Limits(namespaces=("shop-*",)), Scope(namespace="shop-2"), True),
        (Limits(namespaces=("shop",)), Scope(namespace="SHOP"), False),
        (Limits(namespaces=("shop",)), Scope(), False),
        (Limits(tenants=("acme",)), Scope(cluster="acme"), False),
        (Limits(tenants=("acme",), clusters=("prod-?",)), Scope("acme", "prod-1"), True),
        (Limits(tenants=("acme",), clusters=("prod-?",)), Scope("acme"), False),
        (Limits(runbooks=("restart-*", "scale")), Scope(runbook="scale"), True),
        (Limits(runbooks=("restart-*",)), Scope(namespace="shop"), False),
    ],
)
def test_limits_cover_only_what_is_known_to_be_inside(limits, scope, allowed):
    """A part that is not known is covered only where there is no limit: missing data never permits."""
    assert bool(access(("operator", ADA, limits)).may(user(), RUN, scope)) is allowed


@pytest.mark.parametrize(
    ("subject", "actor", "allowed"),
    [
        (ADA, user("ada"), True),
        (ADA, user("Ada"), False),
        (ADA, user("ada "), False),
        (ADA, user("bob", name="ada"), False),
        (ADA, user("аda"), False),  # noqa: RUF001 - a Cyrillic letter
        (ADA, user("ada", claimed=True), False),
        (ADA, Actor(ActorKind.SERVICE_ACCOUNT, "ada"), False),
        (ADA, Actor(ActorKind.SYSTEM, "ada"), False),
        (ADA, Actor(ActorKind.TOKEN, "ada"), False),
        (ADA, Actor(ActorKind.TOKEN, "7f", owner="ada"), False),
        (ADA, Actor(ActorKind.SLACK, "ada"), False),
        (ADA, Actor(ActorKind.SLACK, "U1", "ada"), False),
        (ADA, Actor(ActorKind.SLACK, "U1", owner="ada"), True),
        (SRE, user("bob", "sre"), True),
        (SRE, user("sre"), False),
        (SRE, user("bob", "SRE"), False),
        (SRE, user("bob", "sre", claimed=True), False),
        (SRE, Actor(ActorKind.TOKEN, "7f", groups=frozenset({"sre"})), False),
        (BOT, Actor(ActorKind.SERVICE_ACCOUNT, "system:serviceaccount:ci:bot"), True),
        (BOT, user("system:serviceaccount:ci:bot"), False),
    ],
)
def test_only_the_very_subject_is_meant(subject, actor, allowed):
    """By id and kind, letter by letter: no privilege by a display name, another spelling or another kind."""
    assert bool(access(("viewer", subject)).may(actor, VIEW)) is allowed


def test_a_token_has_the_roles_that_it_was_given_and_no_others():
    """Neither its owner's nor those of a group."""
    known = access(("responder", ADA), ("responder", SRE))
    token = Actor(ActorKind.TOKEN, "7f", owner="ada", grants=(Grant("viewer", Limits(namespaces=("shop",))),))
    assert known.may(token, VIEW, Scope(namespace="shop"))
    assert not known.may(token, VIEW, Scope(namespace="web"))
    assert not known.may(token, RUN, Scope(namespace="shop"))
    assert not known.may(Actor(ActorKind.TOKEN, "7f", grants=(Grant("gone"),)), VIEW)


def test_nobody_gives_away_more_than_they_have():
    """Every permission of the role, within at least the same limits."""
    here = Limits(namespaces=("shop-*",))
    known = access(("operator", ADA, here))
    for limits, allowed in (
        (here, True),
        (Limits(namespaces=("shop-1",)), True),
        (Limits(namespaces=("shop-1",), runbooks=("x",)), True),
        (Limits(), False),
        (Limits(namespaces=("shop-1", "web")), False),
        (Limits(namespaces=("shop-*-*",)), False),
        (Limits(runbooks=("x",)), False),
    ):
        assert bool(known.may_grant(user(), Grant("operator", limits))) is allowed, limits
    assert not known.may_grant(user(), Grant("responder", here))
    assert not known.may_grant(user(), Grant(ADMIN, here))
    assert not known.may_grant(user(), Grant("no-such-role", here))


def test_one_human_is_one_person_on_every_surface():
    """So that nobody is counted twice, and a machine is nobody's person."""
    slack = Actor(ActorKind.SLACK, "U1", "Ada L.", owner="ada")
    token = Actor(ActorKind.TOKEN, "7f", "laptop", owner="ada")
    assert {user().person, slack.person, token.person} == {"ada"}
    assert all(one.human for one in (user(), slack, token))
    machine, stranger = Actor(ActorKind.TOKEN, "7f", "ada"), Actor(ActorKind.SLACK, "U2", "ada")
    assert (machine.person, stranger.person) == ("token:7f", "slack:U2")
    account = Actor(ActorKind.SERVICE_ACCOUNT, "system:serviceaccount:ci:ada", owner="ada")
    assert not any(one.human for one in (machine, stranger, account, system("sweeper")))


def test_in_single_operator_mode_only_what_an_actor_brings_along_counts():
    """There is nobody else's assignment."""
    open_ = single_operator()
    assert not open_.configured
    assert not open_.may(user(), VIEW)
    assert open_.permissions_of(user(grants=(Grant(ADMIN),))) == EVERY


def test_every_permission_has_a_meaning_and_a_name_of_two_parts():
    """They are shown to people, and written by them."""
    assert set(MEANINGS) == EVERY
    assert all(len(each.value.split(":")) == 2 for each in Permission)
    assert named("policies:*") == {Permission.POLICIES_READ, Permission.POLICIES_MANAGE}
    assert named("policies") == frozenset()


names = st.sampled_from(["shop", "shop-1", "web", "*", "shop-*", "?eb"])
limits = st.builds(
    Limits,
    *(st.lists(names, max_size=2, unique=True).map(tuple) for _ in range(4)),
)
parts = st.one_of(st.none(), st.sampled_from(["shop", "shop-1", "web", "other"]))
scopes = st.builds(Scope, parts, parts, parts, parts)
assigned = st.lists(
    st.tuples(st.sampled_from(["viewer", "operator", "responder"]), st.sampled_from([ADA, SRE, BOT]), limits),
    max_size=4,
)
actors = st.sampled_from([user(), user("bob", "sre"), user("eve"), Actor(ActorKind.TOKEN, "7f", owner="ada")])


@given(assigned, actors, st.sampled_from(list(Permission)), scopes)
def test_what_is_allowed_somewhere_in_particular_is_allowed_at_the_door_and_by_an_assignment(
    given_, actor, what, scope
):
    """A yes has a role with the permission, an assignment that names the actor, and limits that cover the scope."""
    known = access(*given_)
    answer = known.may(actor, what, scope)
    if answer:
        assert known.may_somewhere(actor, what)
        assert what in known.roles[answer.role]
        assert any(
            role == answer.role and subject.is_met_by(actor) and within.covers(scope)
            for role, subject, within in given_
        )
    else:
        assert not any(
            what in known.roles[role] and subject.is_met_by(actor) and within.covers(scope)
            for role, subject, within in given_
        )


@given(assigned, assigned, actors, scopes)
def test_another_assignment_never_takes_anything_away(some, more, actor, scope):
    """Assignments only add: their order and number do not matter."""
    assert access(*some).permissions_of(actor, scope) <= access(*more, *some).permissions_of(actor, scope)


@given(limits, limits, scopes)
def test_limits_inside_others_cover_nothing_beyond_them(ours, theirs, scope):
    """What a token is limited to is never more than its maker has."""
    if ours.inside(theirs) and ours.covers(scope):
        assert theirs.covers(scope)
