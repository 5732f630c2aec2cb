"""Who has to say yes to a question, and how. Rules of a runbook as values, and whether the people so far satisfy them.

A person counts by hats: the users, roles, groups and teams that somebody is, as they were when the yes was given. Where
nobody keeps such a list (single-operator mode), a yes has the hat ``ANYBODY``: each role, group or team then stands for
as many different named people as it asks for, whoever they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

USER = "user"
ANYBODY = "*"
"""The hat of somebody whose roles and groups nobody knows; it fits every role, group and team, and no user."""
SEQUENTIAL = "sequential"


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
class Escalation:
    """Whom else to ask when nobody answers: ``seconds`` after the question, users, groups, roles or teams by name."""

    seconds: float
    notify: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Channel:
    """Where a rule wants to be asked: ``type`` is slack, teams, pagerduty, email or webhook."""

    type: str
    channel: str = ""
    severity: str = ""
    template: str = ""


@dataclass(frozen=True, slots=True)
class Bypass:
    """An emergency way around a question that the runbook names."""

    name: str
    roles: tuple[str, ...] = ()
    level: str = "critical"

    def __str__(self) -> str:
        return f"{self.name} (for {', '.join(self.roles)})" if self.roles else self.name


@dataclass(frozen=True, slots=True)
class StandIn:
    """Somebody who has handed their answers over, with the hats that come with it."""

    person: str
    hats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Voter:
    """Who answers: their own hats, and those of the people whom they stand in for."""

    hats: tuple[str, ...] = ()
    stands_for: tuple[StandIn, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a runbook that applies to a question.

    Attributes:
        step: id of the step that it is about; empty for the whole plan.
        order: ``sequential``: each entry of the approvers after the one before it; ``parallel``: all at once.
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
    escalation: tuple[Escalation, ...] = ()
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True, slots=True)
class Yes:
    """One person's yes.

    Attributes:
        hats: that counted, those of ``stands_for`` included.
        stands_for: people who had handed their answer over to this one.
    """

    by: str
    at: datetime
    comment: str = ""
    choice: str = ""
    hats: tuple[str, ...] = ()
    stands_for: tuple[str, ...] = ()


def person(identity: str) -> str:
    """An id as people are counted: nobody becomes two people by another spelling.

    Only for counting. Whether somebody is the user whom a rule names is asked letter by letter, so that nobody becomes
    somebody else by another spelling either.
    """
    return identity.strip().casefold()


def counts(approver: Approver, rule: Rule, yes: Yes, asked_at: datetime) -> bool:
    """Whether a yes can be that of an entry.

    Whom a rule escalates to counts from the moment of that step for every entry but a required user.
    """
    if approver.type == USER:
        if any(_is(approver.value, one) for one in (yes.by, *yes.stands_for)):
            return True
        return not approver.required and _escalated(rule, yes, asked_at)
    if ANYBODY in yes.hats or f"{approver.type}:{approver.value.strip()}" in yes.hats:
        return True
    return _escalated(rule, yes, asked_at)


def _is(name: str, identity: str) -> bool:
    return name.strip() == identity.strip()


def _escalated(rule: Rule, yes: Yes, asked_at: datetime) -> bool:
    names = {yes.by.strip(), *(hat.partition(":")[2] for hat in yes.hats)} - {""}
    return any(names & set(one.notify) for one in due_escalations(rule, asked_at, yes.at))


def due_escalations(rule: Rule, asked_at: datetime, now: datetime) -> tuple[Escalation, ...]:
    """The steps of a rule whose time has come."""
    return tuple(one for one in rule.escalation if now >= asked_at + timedelta(seconds=one.seconds))


@dataclass(frozen=True, slots=True)
class _Place:
    """One yes that a rule asks for; any of the entries will do."""

    entries: tuple[Approver, ...]


def _places(rule: Rule) -> Iterator[_Place]:
    """Every required user in person, of the other users one, and of all others as many as they ask for.

    In a sequence each entry has a place of its own.
    """
    optional = tuple(each for each in rule.approvers if each.type == USER and not each.required)
    seen: set[str] = set()
    for each in rule.approvers:
        if each.type != USER:
            yield from (_Place((each,)) for _ in range(each.count))
            continue
        alone = each.required or rule.order == SEQUENTIAL
        place = _Place((each,) if alone else optional)
        key = each.value.strip() if alone else ANYBODY
        if key not in seen:  # one person cannot say yes twice
            seen.add(key)
            yield place


def _free(rule: Rule, yeses: Iterable[Yes], asked_at: datetime) -> list[_Place]:
    """Places that nobody fills yet; each person fills one, and as many are filled as possible."""
    people: dict[str, Yes] = {}
    for yes in yeses:
        people.setdefault(person(yes.by), yes)
    places = list(_places(rule))
    if rule.order == SEQUENTIAL:
        return _after(rule, places, tuple(people.values()), asked_at)
    filled: dict[str, int] = {}

    def fill(number: int, seen: set[str]) -> bool:
        for who, yes in people.items():
            if who in seen or not any(counts(each, rule, yes, asked_at) for each in places[number].entries):
                continue
            seen.add(who)
            if who not in filled or fill(filled[who], seen):
                filled[who] = number
                return True
        return False

    return [place for number, place in enumerate(places) if not fill(number, set())]


def _after(rule: Rule, places: list[_Place], yeses: Sequence[Yes], asked_at: datetime) -> list[_Place]:
    """What is left of a sequence; a yes out of turn fills nothing."""
    left = list(places)
    for yes in yeses:
        if left and any(counts(each, rule, yes, asked_at) for each in left[0].entries):
            left.pop(0)
    return left


def missing(rule: Rule, yeses: Iterable[Yes], asked_at: datetime) -> str:
    """Who still has to say yes for a rule, in words; empty when nobody has to.

    Args:
        rule: of the runbook.
        yeses: so far, with the hats of each.
        asked_at: when the question was asked, for escalation.
    """
    said = tuple(yeses)
    if not rule.approvers:
        return "" if said else "anybody"
    free = _free(rule, said, asked_at)
    lacking = [" or ".join(each.value for each in place.entries) for place in free if place.entries[0].type == USER]
    others = [place.entries[0] for place in free if place.entries[0].type != USER]
    if others:
        known = any(ANYBODY not in yes.hats for yes in said)
        named = dict.fromkeys(others) if known else [each for each in rule.approvers if each.type != USER]
        many = f"{len(others)} more {'person' if len(others) == 1 else 'people'}"
        lacking.append(f"{many} ({', '.join(map(str, named))})")
    if rule.order == SEQUENTIAL and len(free) > 1:
        lacking.append(f"{free[0].entries[0]} first")
    return " and ".join(lacking)


def wanted(rule: Rule, yeses: Iterable[Yes], asked_at: datetime) -> tuple[Approver, ...]:
    """Whose turn it is: of a sequence the next entry, else every entry that lacks somebody."""
    free = _free(rule, yeses, asked_at)
    turn = free[:1] if rule.order == SEQUENTIAL else free
    return tuple(dict.fromkeys(each for place in turn for each in place.entries))


def helps(rules: Sequence[Rule], yeses: Sequence[Yes], more: Yes, asked_at: datetime) -> bool:
    """Whether another yes brings any of the rules further; where there are none, the first one does."""
    if not rules:
        return True
    return any(
        len(_free(rule, [*yeses, more], asked_at)) < len(_free(rule, yeses, asked_at))
        or (not rule.approvers and not yeses)
        for rule in rules
    )


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
