"""Policies: which limits hold for which question. The most specific policy that gives a field decides it.

Pure: policies and the facts of a question in, the limits out, with who decided each and what lost. Files are read in
``services.policies``. How specific a policy is does not depend on the question, so that two policies that could
contradict each other are found when they are loaded, not at three in the morning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cached_property, reduce
from itertools import combinations
from typing import Any

from matcher.patterns import is_glob, literal_length, matches
from runbooks.conditions import ChangeWindow
from safety.autonomy import Rung, lower_of
from safety.globs import can_meet
from safety.model import Refusal
from safety.policy import PolicySettings

LABELS_UNREADABLE = "policy_labels"
"""The check that says no when a policy asks for labels that nobody could read."""

MECHANICS = frozenset(
    {"provisional_ttl_seconds", "permit_ttl_seconds", "lock_lease_seconds", "rate_window_seconds", "storm_breaker"}
)
"""How the gate itself works: the same for everybody, so no policy changes it."""

_STARTS = {"min_": "more", "max_": "less", "protected_": "all", "cooldown_": "more", "least_": "more"}
_ENDS = dict.fromkeys(("_per_minute", "_per_hour", "_per_day", "_concurrent", "_blast_in_flight", "_after"), "less")
_NAMED = {"blast_percent_from": "less", "ask_again_seconds": "more", "gitops": "word"}
_WORDS = ("refuse", "suggest", "allow")
"""Of ``gitops``, the strictest first."""

LIMIT = "limits."
"""Begins the names of the fields that are limits of ``PolicySettings``."""

_MOST_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Scope:
    """What a policy is about. A part that is left out holds for everything; of several patterns one has to match.

    Attributes:
        labels: of the target, by name; values are globs. All of them have to match.
        runbooks: ids.
        tags: of the runbook.
    """

    tenants: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    runbooks: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a question.

    Attributes:
        namespace: of the target; empty for objects of the cluster.
        labels: of the target; None when they were not, or could not be, read.
    """

    tenant: str
    cluster: str
    namespace: str
    kind: str
    runbook: str
    tags: tuple[str, ...] = ()
    severity: str = ""
    labels: Mapping[str, str] | None = None


_PARTS = ("namespaces", "runbooks", "tags", "kinds", "severities", "clusters", "tenants")
"""Parts of a scope, the most telling first, behind the labels."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which nothing is changed: from ``start`` on, before ``end``."""

    start: datetime
    end: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy.

    Attributes:
        gives: its fields by name: limits as ``limits.max_blast_radius``, and ``require_approval`` (bool), ``deny`` (a
            reason; empty text lifts a wider one), ``autonomy`` (a ceiling), ``windows``, ``required_signature`` (bool).
        freezes: they add to those of every other policy that applies.
        priority: between policies that are equally specific the larger wins.
        version: hash of its content, hex.
        place: file and line, for people.
    """

    id: str
    scope: Scope
    gives: Mapping[str, Any] = field(default_factory=dict)
    freezes: tuple[Freeze, ...] = ()
    priority: int = 0
    version: str = ""
    place: str = ""

    @property
    def rank(self) -> tuple[Any, ...]:
        """How specific it is; the larger wins. The same for every question."""
        exact = sum(not is_glob(value) for value in self.scope.labels.values())
        parts = (_closeness(getattr(self.scope, part)) for part in _PARTS)
        return ((len(self.scope.labels), exact), *parts, self.priority)


def _closeness(patterns: Sequence[str]) -> tuple[int, int]:
    """Nothing is below globs, globs (by their fixed characters) are below names; of several the least counts."""
    if not patterns:
        return (0, 0)
    return min((1, literal_length(pattern)) if is_glob(pattern) else (2, 0) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Lost:
    """A value that did not count, and why."""

    policy: str
    value: Any
    why: str


@dataclass(frozen=True, slots=True)
class Decided:
    """How a field came to its value.

    Attributes:
        policy: whose value it is; empty for that of the settings.
    """

    field: str
    value: Any
    policy: str = ""
    version: str = ""
    place: str = ""
    lost: tuple[Lost, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyUse:
    """A policy that applied to a question, as it is recorded: which version, and which fields it decided."""

    id: str
    version: str
    decided: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """What holds for a question.

    Attributes:
        limits: of the gate.
        require_approval: id of the policy that asks for a human's yes; empty for none.
        deny: why nothing may be done; empty when it may.
        autonomy: no runbook may do more by itself; None for no ceiling.
        windows: times in which changes may be made; empty for always.
        required_signature: only a signed runbook may run.
        uses: every policy that applied, the most specific first.
        decided: how each field that some policy gives came to its value.
    """

    limits: PolicySettings
    require_approval: str = ""
    deny: str = ""
    autonomy: Rung | None = None
    windows: tuple[tuple[ChangeWindow, ...], ...] = ()
    freezes: tuple[tuple[str, Freeze], ...] = ()
    required_signature: bool = False
    uses: tuple[PolicyUse, ...] = ()
    decided: tuple[Decided, ...] = ()


def limits_of_policies() -> tuple[str, ...]:
    """Fields of ``PolicySettings`` that policies can give, by name."""
    return tuple(one.name for one in fields(PolicySettings) if _way(one.name))


def _way(name: str) -> str:
    """The strict end of a limit: ``more``, ``less``, ``all`` of a list, a ``word``; empty when no policy gives it."""
    if name in MECHANICS:
        return ""
    found = [_NAMED[name]] if name in _NAMED else []
    found += [way for start, way in _STARTS.items() if name.startswith(start)]
    found += [way for end, way in _ENDS.items() if name.endswith(end)]
    return found[0] if found else ""


def looser(name: str, value: Any, than: Any) -> bool:
    """Whether a limit lets more through than another value of it. None is no limit."""
    way = _way(name)
    if way == "all":
        return not set(value) >= set(than)
    if way == "word":
        return _WORDS.index(value) > _WORDS.index(than)
    if value is None or than is None:
        return value is None and than is not None
    return bool(value < than if way == "more" else value > than)


def _stricter(name: str, one: Any, other: Any) -> Any:
    if _way(name) == "all":
        return tuple(dict.fromkeys((*one, *other)))
    return other if looser(name, one, other) else one


def strictest(many: Sequence[Resolved]) -> Resolved:
    """What holds where several places are written to: the strictest of each field.

    Raises:
        ValueError: there are none.
    """
    if not many:
        raise ValueError("nothing to choose from")
    return reduce(_both, many)


def _both(one: Resolved, other: Resolved) -> Resolved:
    pairs = {n: _stricter(n, getattr(one.limits, n), getattr(other.limits, n)) for n in limits_of_policies()}
    ceilings = [rung for rung in (one.autonomy, other.autonomy) if rung]
    known = {use.id for use in one.uses}
    return Resolved(
        limits=replace(one.limits, **pairs),
        require_approval=one.require_approval or other.require_approval,
        deny=one.deny or other.deny,
        autonomy=lower_of(*ceilings) if ceilings else None,
        windows=tuple(dict.fromkeys((*one.windows, *other.windows))),
        freezes=tuple(dict.fromkeys((*one.freezes, *other.freezes))),
        required_signature=one.required_signature or other.required_signature,
        uses=(*one.uses, *(use for use in other.uses if use.id not in known)),
        decided=tuple(dict.fromkeys((*one.decided, *other.decided))),
    )


class PolicySet:
    """The policies in force; it never changes.

    Args:
        policies: checked already, see ``clashes``.
        settings: the gate's own limits, which hold where no policy says otherwise.
    """

    def __init__(self, policies: Iterable[Policy] = (), settings: PolicySettings | None = None) -> None:
        self._settings = settings or PolicySettings()
        self._policies = tuple(sorted(policies, key=lambda one: (one.rank, one.id), reverse=True))
        self._known: dict[tuple[Any, ...], Resolved] = {}

    @property
    def policies(self) -> tuple[Policy, ...]:
        """The most specific first."""
        return self._policies

    @cached_property
    def _asks_for_labels(self) -> tuple[Policy, ...]:
        return tuple(policy for policy in self._policies if policy.scope.labels)

    def needs_labels(self, facts: Facts) -> bool:
        """Whether some policy applies or not by the labels of the target alone."""
        return any(_applies_but_for_labels(policy.scope, facts) for policy in self._asks_for_labels)

    def resolve(self, facts: Facts) -> Resolved | Refusal:
        """What holds for a question; a refusal when a policy asks for labels that are not known."""
        if not self._policies:
            return Resolved(self._settings)
        labelled = self.needs_labels(facts)
        if labelled and facts.labels is None:
            waiting = next(p for p in self._asks_for_labels if _applies_but_for_labels(p.scope, facts))
            about = f"policy {waiting.id} depends on the labels of the target, which could not be read"
            return Refusal(LABELS_UNREADABLE, about, {"missing": "labels", "policy": waiting.id})
        labels = tuple(sorted((facts.labels or {}).items())) if labelled else ()
        key = (*(getattr(facts, one.name) for one in fields(Facts) if one.name != "labels"), labels)
        if (found := self._known.get(key)) is None:
            found = self._resolved(facts)
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = found
        return found

    def _resolved(self, facts: Facts) -> Resolved:
        applying = [policy for policy in self._policies if applies(policy.scope, facts)]
        decided = tuple(self._decided(name, applying) for name in dict.fromkeys(n for p in applying for n in p.gives))
        value = {one.field: one.value for one in decided}
        by = {one.field: one.policy for one in decided}
        given = {name.removeprefix(LIMIT): each for name, each in value.items() if name.startswith(LIMIT)}
        windows = value.get("windows") or ()
        return Resolved(
            limits=replace(self._settings, **given) if given else self._settings,
            require_approval=by["require_approval"] if value.get("require_approval") else "",
            deny=value.get("deny") or "",
            autonomy=value.get("autonomy"),
            windows=(tuple(windows),) if windows else (),
            freezes=tuple((policy.id, freeze) for policy in applying for freeze in policy.freezes),
            required_signature=bool(value.get("required_signature")),
            uses=tuple(
                PolicyUse(p.id, p.version, tuple(one.field for one in decided if one.policy == p.id)) for p in applying
            ),
            decided=decided,
        )

    def _decided(self, name: str, applying: Sequence[Policy]) -> Decided:
        winner, *others = [policy for policy in applying if name in policy.gives]
        lost = [Lost(one.id, one.gives[name], _why(winner, one)) for one in others]
        if name.startswith(LIMIT):
            own = getattr(self._settings, name.removeprefix(LIMIT))
            lost.append(Lost("", own, "policies go before the settings"))
        return Decided(name, winner.gives[name], winner.id, winner.version, winner.place, tuple(lost))


def _why(winner: Policy, other: Policy) -> str:
    """By which part one policy is more specific than another."""
    names = ("labels", *_PARTS, "priority")
    part = next(name for name, one, two in zip(names, winner.rank, other.rank, strict=True) if one != two)
    return f"{winner.id} has the larger priority" if part == "priority" else f"{winner.id} says more about {part}"


def applies(scope: Scope, facts: Facts) -> bool:
    """Whether a policy is about a question; labels that are not known match nothing."""
    labels = facts.labels or {}
    return _applies_but_for_labels(scope, facts) and all(
        name in labels and matches(pattern, labels[name]) for name, pattern in scope.labels.items()
    )


def _applies_but_for_labels(scope: Scope, facts: Facts) -> bool:
    pairs = (
        (scope.namespaces, (facts.namespace,)),
        (scope.runbooks, (facts.runbook,)),
        (scope.tags, facts.tags),
        (scope.kinds, (facts.kind,)),
        (scope.severities, (facts.severity,)),
        (scope.clusters, (facts.cluster,)),
        (scope.tenants, (facts.tenant,)),
    )
    return all(not patterns or any(matches(p, text) for p in patterns for text in texts) for patterns, texts in pairs)


@dataclass(frozen=True, slots=True)
class Clash:
    """Two policies that could both decide a field, neither of which is more specific."""

    one: Policy
    other: Policy
    fields: tuple[str, ...]


def clashes(policies: Sequence[Policy]) -> Iterator[Clash]:
    """Pairs of policies that are equally specific, can apply to one question, and give the same field."""
    by_rank: dict[tuple[Any, ...], list[Policy]] = {}
    for policy in policies:
        by_rank.setdefault(policy.rank, []).append(policy)
    for same in by_rank.values():
        for one, other in combinations(same, 2):
            shared = tuple(sorted(one.gives.keys() & other.gives.keys()))
            if shared and _can_meet(one.scope, other.scope):
                yield Clash(one, other, shared)


def _can_meet(one: Scope, other: Scope) -> bool:
    """Whether some question is in both scopes. A runbook can carry any two tags, and an object any two labels."""
    for part in _PARTS:
        left, right = getattr(one, part), getattr(other, part)
        if part != "tags" and left and right and not any(can_meet(a, b) for a in left for b in right):
            return False
    shared = one.labels.keys() & other.labels.keys()
    return all(can_meet(one.labels[name], other.labels[name]) for name in shared)
