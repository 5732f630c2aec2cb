"""Who has to say yes: the rules of a runbook as a table, and as properties."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.quorum import ANYBODY, Approver, Choice, Rule, Yes, missing, objection

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def lacking(rule, people):
    """Who is missing after the yes of people whose roles nobody knows."""
    return missing(rule, [Yes(who, NOW, hats=(ANYBODY,)) for who in people], NOW)


ADA, BOB = Approver("user", "ada"), Approver("user", "bob")
ROLE, TEAM = Approver("role", "on-call", required=True), Approver("team", "platform", count=2)


@pytest.mark.parametrize(
    ("approvers", "people", "words"),
    [
        ((), [], "anybody"),
        ((), ["ada"], ""),
        ((ADA, BOB), ["carl"], "ada or bob"),
        ((ADA, BOB), ["bob"], ""),
        ((ADA, BOB), ["Bob"], "ada or bob"),
        ((Approver("user", "ada", required=True),), ["ADA"], "ada"),
        ((ROLE, ROLE), ["eve", "Eve "], "1 more person (role on-call (required), role on-call (required))"),
        ((Approver("user", "ada", required=True), BOB), ["bob"], "ada"),
        ((Approver("user", "ada", required=True), BOB), ["ada"], "bob"),
        ((Approver("user", "ada", required=True), BOB), ["ada", "bob"], ""),
        ((ROLE,), [], "1 more person (role on-call (required))"),
        ((ROLE, TEAM), ["a", "b"], "1 more person (role on-call (required), 2 of team platform)"),
        ((ROLE, TEAM), ["a", "b", "c"], ""),
        ((ADA, ROLE), ["ada"], "1 more person (role on-call (required))"),
        ((ADA, ROLE), ["ada", "x"], ""),
        ((ADA, ROLE), ["x", "y"], "ada"),
    ],
)
def test_who_is_missing(approvers, people, words):
    """One row, one rule: users in person, the others as so many different people."""
    assert lacking(Rule("r", approvers=approvers), people) == words


people = st.lists(st.sampled_from(["ada", "bob", "carl", "dora", "eve"]), unique=True)
approvers = st.lists(
    st.one_of(
        st.builds(Approver, st.just("user"), st.sampled_from(["ada", "bob"]), st.booleans()),
        st.builds(Approver, st.just("team"), st.just("t"), st.booleans(), st.integers(1, 3)),
    ),
    max_size=4,
).map(tuple)


@given(approvers, people)
def test_fewer_people_than_a_rule_asks_for_never_satisfy_it(asked, said):
    """Whoever they are: each entry needs somebody of its own."""
    rule = Rule("r", approvers=asked)
    required = {each.value for each in asked if each.type == "user" and each.required}
    optional = any(each.type == "user" and not each.required for each in asked)
    least = len(required) + sum(each.count for each in asked if each.type != "user")
    least += optional and not {each.value for each in asked if each.type == "user" and not each.required} & required
    if len(said) < max(least, 1):
        assert lacking(rule, said)


@given(approvers, people, people)
def test_another_yes_never_makes_a_rule_less_satisfied(asked, said, more):
    """People can only add to what is there."""
    rule = Rule("r", approvers=asked)
    if not lacking(rule, said):
        assert not lacking(rule, [*said, *more])


@pytest.mark.parametrize(
    ("says_yes", "comment", "choice", "words"),
    [
        (True, "", "", ""),
        (True, "", "fast", "this answer needs a comment"),
        (True, "why", "fast", ""),
        (True, "why", "slow", "the choices are: fast"),
        (False, "why", "", "say why with one of the choices: later"),
        (False, "why", "later", ""),
    ],
)
def test_what_speaks_against_an_answer(says_yes, comment, choice, words):
    """A choice that exists, a reason for a no where reasons are given, a comment where one is asked for."""
    rule = Rule("r", approve=(Choice("fast", needs_comment=True),), reject=(Choice("later"),))
    said = objection([rule], says_yes=says_yes, comment=comment, choice=choice)
    assert (words in said) if words else said == ""
