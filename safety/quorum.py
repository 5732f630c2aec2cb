"""Who has to say yes to a question, and how. Rules of a runbook as values, and whether the people so far satisfy them.

Identities come in a later release: roles, groups and teams cannot be looked up yet. Until then each of them stands for
as many different named people as it asks for, whoever they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

USER = "user"


@dataclass(frozen=True, slots=True)
class Approver:
    """Who may say yes: a user by name, or so many of a role, group or team."""

    type: str
    value: str
    required: bool = False
    count: int = 1

    def __str__(self) -> str:
        many = f"{self.count} of " if self.count > 1 else ""
        return f"{many}{self.type} {self.value}{' (required)' if self.required else ''}"


@dataclass(frozen=True, slots=True)
class Choice:
    """An answer that can be chosen."""

    value: str
    label: str = ""
    needs_comment: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a runbook that applies to a question.

    Attributes:
        step: id of the step that it is about; empty for the whole plan.
        order: ``sequential`` or ``parallel``, for the record.
        approve: ways to say yes; empty for a plain yes.
        reject: reasons to say no, of which one has to be chosen; empty for any.
    """

    name: str
    step: str = ""
    approvers: tuple[Approver, ...] = ()
    order: str = "parallel"
    comment_required: bool = False
    approve: tuple[Choice, ...] = ()
    reject: tuple[Choice, ...] = ()


@dataclass(frozen=True, slots=True)
class Yes:
    """One person's yes."""

    by: str
    at: datetime
    comment: str = ""
    choice: str = ""


def person(identity: str) -> str:
    """An id as people are counted: nobody becomes two people by another spelling.

    Only for counting. Whether somebody is the user whom a rule names is asked letter by letter (``is_user``), so that
    nobody becomes somebody else by another spelling either.
    """
    return identity.strip().casefold()


def is_user(approver: Approver, identity: str) -> bool:
    """Whether an id is the very user whom a rule names."""
    return approver.type == USER and approver.value.strip() == identity.strip()


def missing(rule: Rule, identities: Iterable[str]) -> str:
    """Who still has to say yes for a rule, in words; empty when nobody has to.

    Every entry counts: a required user in person, of the other users one, and of each role, group or team as many
    people as it asks for, each counted once.

    Args:
        rule: of the runbook.
        identities: ids of those who said yes, as ``Actor.person`` has them.
    """
    said_by = tuple(identities)
    people = {person(each) for each in said_by}
    required = [each for each in rule.approvers if each.type == USER and each.required]
    optional = [each for each in rule.approvers if each.type == USER and not each.required]
    others = [each for each in rule.approvers if each.type != USER]
    lacking = [each.value for each in required if not any(is_user(each, one) for one in said_by)]
    left = people - {person(each.value) for each in required}
    said = sorted(left & {person(one) for one in said_by if any(is_user(each, one) for each in optional)})
    if optional and not said:
        lacking.append(" or ".join(each.value for each in optional))
    left -= set(said[:1])
    more = sum(each.count for each in others) - len(left)
    if more > 0:
        whom = ", ".join(map(str, others))
        lacking.append(f"{more} more {'person' if more == 1 else 'people'} ({whom})")
    if not rule.approvers and not people:
        lacking.append("anybody")
    return " and ".join(lacking)


def objection(rules: Sequence[Rule], *, says_yes: bool, comment: str, choice: str) -> str:
    """What speaks against an answer as it was given; empty for nothing."""
    offered = {one.value: one for rule in rules for one in (rule.approve if says_yes else rule.reject)}
    if choice and choice not in offered:
        known = ", ".join(offered) or "none"
        return f"there is no choice {choice!r}; the choices are: {known}"
    if not says_yes and offered and not choice:
        return f"say why with one of the choices: {', '.join(offered)}"
    needs = any(rule.comment_required for rule in rules) or (choice and offered[choice].needs_comment)
    if needs and not comment.strip():
        return "this answer needs a comment"
    return ""
