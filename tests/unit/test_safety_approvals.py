"""Approvals: one question about one plan, answered once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.approvals import (
    TRANSITIONS,
    Approval,
    ApprovalError,
    ApprovalProblem,
    ApprovalStatus,
    Verb,
    answer,
    approval_id,
    ask,
    granted,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=31)


def question(**changes) -> Approval:
    return ask("e1", "i1", "hash-1", ["careful"], now=NOW, timeout=timedelta(minutes=30), **changes)


def given_answer(approval, verb, *, by="ada", reason="because", now=NOW, plan_hash="hash-1"):
    return answer(approval, verb, by=by, reason=reason, now=now, plan_hash=plan_hash)


def test_a_question_is_its_own_record():
    """The same execution, plan and attempt is the same question; another plan or attempt is another one."""
    assert question().id == question().id == approval_id("e1", "hash-1")
    ids = {question().id, question(attempt=2).id, approval_id("e1", "hash-2"), approval_id("e2", "hash-1")}
    assert len(ids) == 4


def test_a_yes_is_kept_with_name_and_time():
    """An approved question says who, why and when, and is what the gate takes."""
    approved = given_answer(question(), Verb.APPROVE)
    assert (approved.status, approved.answered_by, approved.answer_reason) == ("approved", "ada", "because")
    assert approved.answered_at == NOW
    assert granted(approved).plan_hash == "hash-1"
    assert granted(question()) is None


@pytest.mark.parametrize(("status", "verb"), list(product(ApprovalStatus, Verb)))
def test_only_the_tables_transitions_happen(status, verb):
    """Every pair of status and verb either moves as the table says or changes nothing."""
    stands = Approval("a1", "e1", "i1", "hash-1", NOW, NOW + timedelta(minutes=30), (), status)
    moved = given_answer(stands, verb, now=LATER if verb is Verb.EXPIRE else NOW)
    if (status, verb) in TRANSITIONS:
        assert moved.status == TRANSITIONS[status, verb]
    else:
        assert isinstance(moved, ApprovalError)
        assert (moved.problem, moved.status) == (ApprovalProblem.NOT_POSSIBLE, status)


@pytest.mark.parametrize(
    ("verb", "changes", "problem"),
    [
        (Verb.DENY, {"reason": "  "}, ApprovalProblem.NO_REASON),
        (Verb.APPROVE, {"by": ""}, ApprovalProblem.NO_NAME),
        (Verb.APPROVE, {"now": NOW + timedelta(minutes=30)}, ApprovalProblem.EXPIRED),
        (Verb.DENY, {"now": LATER}, ApprovalProblem.EXPIRED),
        (Verb.EXPIRE, {"now": NOW + timedelta(minutes=29)}, ApprovalProblem.NOT_EXPIRED),
        (Verb.APPROVE, {"plan_hash": "hash-2"}, ApprovalProblem.PLAN_CHANGED),
        (Verb.DENY, {"plan_hash": ""}, ApprovalProblem.PLAN_CHANGED),
    ],
)
def test_an_answer_that_does_not_count_says_why(verb, changes, problem):
    """No name, no reason for a no, too late, too early, or to another plan."""
    refused = given_answer(question(), verb, **changes)
    assert isinstance(refused, ApprovalError)
    assert refused.problem == problem


def test_an_approval_needs_no_reason():
    """Yes is enough; only a no has to be explained."""
    assert given_answer(question(), Verb.APPROVE, reason="").status == "approved"


@given(st.lists(st.tuples(st.sampled_from(Verb), st.sampled_from([NOW, LATER])), max_size=8))
def test_invariant_1_a_question_is_answered_once(answers):
    """In any order of answers at most one of yes, no and expiry counts, and an ended question stays ended."""
    approval, counted = question(), []
    for verb, now in answers:
        moved = given_answer(approval, verb, now=now)
        if isinstance(moved, Approval):
            counted.append(verb)
            approval = moved
    assert len([verb for verb in counted if verb is not Verb.OVERTAKE]) <= 1
    assert counted.count(Verb.OVERTAKE) <= 1
