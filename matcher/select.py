"""Which runbook answers an incident: the most specific one that applies.

A runbook is a candidate when one of its ``root_cause_reason`` patterns meets the cause's reason. It applies when every
further part of its trigger holds as well. What is not known (no symptom reason, no kind) holds nowhere.

Of those that apply, the first difference in this list decides:

1. its ``min_confidence`` is reached
2. how the reason is met: by name, by glob, by another name of the same family (``matcher.reasons``)
3. the longer literal part of the glob
4. the symptom's reason is given
5. kinds are given
6. the namespace is given by name, by glob, not at all
7. more labels are given
8. severities are given
9. clusters are given
10. tenants are given
11. the higher ``min_confidence``
12. the higher semantic version
13. the id that comes first in the alphabet

When confidence is all that is missing, the best candidate is the match all the same: the gate then refuses with the
check ``confidence`` and its numbers, which says more than "no match".

The index is built once for a set of runbooks. A look-up touches only the runbooks that name the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from matcher.kinds import canonical_kind
from matcher.model import Candidate, Incident, Match, NoMatch
from matcher.patterns import GlobIndex, any_matches, is_glob, literal_length, matches
from matcher.reasons import canonical_reason, family, same_reason
from runbooks.model import LoadedRunbook, Trigger

_BY_NAME, _BY_GLOB, _BY_ALIAS = 2, 1, 0
_LABELS = (
    "confidence",
    "how the reason is met",
    "length of the glob",
    "symptom_reason",
    "affected_resource_kinds",
    "namespaces",
    "labels",
    "severity",
    "cluster",
    "tenant",
    "min_confidence",
    "version",
    "version",
    "version",
    "version",
)
_NUMBER = re.compile(r"\d+")
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class _Named:
    """A runbook whose trigger meets a reason, and how."""

    runbook: LoadedRunbook
    how: int
    literal: int


class RunbookIndex:
    """Runbooks by the reasons that they answer. Never changes; a new set of runbooks is a new index."""

    def __init__(self, runbooks: Iterable[LoadedRunbook]) -> None:
        self._by_name: dict[str, list[LoadedRunbook]] = {}
        self._by_glob: dict[str, list[LoadedRunbook]] = {}
        self._size = 0
        for loaded in runbooks:
            self._size += 1
            for pattern in dict.fromkeys(p.strip().lower() for p in loaded.runbook.trigger.root_cause_reason):
                table = self._by_glob if is_glob(pattern) else self._by_name
                table.setdefault(pattern, []).append(loaded)
        self._globs = GlobIndex(self._by_glob)
        self._remembered: dict[str, tuple[_Named, ...]] = {}

    def __len__(self) -> int:
        return self._size

    def naming(self, reason: str) -> tuple[LoadedRunbook, ...]:
        """The runbooks whose trigger meets the reason, whatever else they ask for."""
        return tuple(named.runbook for named in self._naming(reason))

    def select(self, incident: Incident) -> Match | NoMatch:
        """The runbook that answers the incident; every other candidate with the reason why it lost."""
        named = self._naming(incident.cause.reason)
        rejected: list[Candidate] = []
        applying: list[tuple[tuple[int, ...], _Named]] = []
        for candidate in named:
            why = _why_not(candidate.runbook.runbook.trigger, incident)
            score = _score(candidate, incident)
            if why:
                rejected.append(_candidate(candidate, score, why))
            else:
                applying.append((score, candidate))
        if not applying:
            return NoMatch(incident, tuple(rejected), _no_match(incident, len(rejected)))
        applying.sort(key=lambda pair: (tuple(-part for part in pair[0]), pair[1].runbook.runbook.id))
        (best, winner), *losers = applying
        lost = (_candidate(c, score, _why_lost(score, c, best, winner)) for score, c in losers)
        return Match(incident, winner.runbook, (_candidate(winner, best, ""), *lost, *rejected))

    def _naming(self, reason: str) -> tuple[_Named, ...]:
        key = reason.strip().lower()
        known = self._remembered.get(key)
        if known is None:
            known = tuple(self._look_up(key))
            if len(self._remembered) < _REMEMBERED:
                self._remembered[key] = known
        return known

    def _look_up(self, reason: str) -> Iterable[_Named]:
        found: dict[int, _Named] = {}

        def add(runbooks: Iterable[LoadedRunbook], how: int, literal: int) -> None:
            for runbook in runbooks:
                known = found.get(id(runbook))
                if known is None or (how, literal) > (known.how, known.literal):
                    found[id(runbook)] = _Named(runbook, how, literal)

        add(self._by_name.get(reason, ()), _BY_NAME, 0)
        for glob in self._globs.matching(reason):
            add(self._by_glob[glob], _BY_GLOB, literal_length(glob))
        for other in family(reason):
            add(self._by_name.get(other, ()), _BY_ALIAS, 0)
        head = canonical_reason(reason).lower()
        for glob in self._globs.matching(head):
            add(self._by_glob[glob], _BY_ALIAS, literal_length(glob))
        return found.values()


_Check = Callable[[Trigger, Incident], str]


def _symptom(trigger: Trigger, incident: Incident) -> str:
    reason = incident.signal.reason
    if not trigger.symptom_reason:
        return ""
    if not reason:
        return f"the symptom's reason is not known; it asks for {_list(trigger.symptom_reason)}"
    met = any(matches(p, reason) or same_reason(p, reason) for p in trigger.symptom_reason)
    return "" if met else f"symptom {reason} is not {_list(trigger.symptom_reason)}"


def _kind(trigger: Trigger, incident: Incident) -> str:
    kinds = trigger.affected_resource_kinds
    subject = incident.cause.subject if incident.cause.subject.name else incident.signal.subject
    kind = canonical_kind(subject.kind)
    met = not kinds or bool(kind and any(matches(canonical_kind(p), kind) for p in kinds))
    return "" if met else f"kind {kind or 'unknown'} is not {_list(kinds)}"


def _namespace(trigger: Trigger, incident: Incident) -> str:
    places = dict.fromkeys((incident.target.namespace, incident.cause.subject.namespace))
    for place in filter(None, places):
        if any_matches(trigger.exclude_namespaces, place):
            return f"namespace {place} is excluded by {_list(trigger.exclude_namespaces)}"
    place = incident.target.namespace
    if not trigger.namespaces or (place and any_matches(trigger.namespaces, place)):
        return ""
    return f"namespace {place or '(none)'} is not {_list(trigger.namespaces)}"


def _signal_labels(trigger: Trigger, incident: Incident) -> str:
    labels = incident.signal.labels
    for name, pattern in trigger.labels.items():
        if name not in labels:
            return f"the signal has no label {name}"
        if not matches(pattern, labels[name]):
            return f"label {name}={labels[name]} is not {pattern}"
    return ""


def _part(what: str, patterns: tuple[str, ...], value: str) -> str:
    met = not patterns or bool(value and any_matches(patterns, value))
    return "" if met else f"{what} {value or 'unknown'} is not {_list(patterns)}"


_CHECKS: tuple[_Check, ...] = (
    _symptom,
    _kind,
    _namespace,
    _signal_labels,
    lambda trigger, incident: _part("severity", trigger.severity, incident.signal.severity),
    lambda trigger, incident: _part("cluster", trigger.cluster, incident.cluster),
    lambda trigger, incident: _part("tenant", trigger.tenant, incident.tenant),
)


def _why_not(trigger: Trigger, incident: Incident) -> str:
    """The first part of the trigger that does not hold."""
    return next(filter(None, (check(trigger, incident) for check in _CHECKS)), "")


def _score(named: _Named, incident: Incident) -> tuple[int, ...]:
    trigger = named.runbook.runbook.trigger
    return (
        int(incident.cause.confidence >= trigger.min_confidence),
        named.how,
        named.literal,
        int(bool(trigger.symptom_reason)),
        int(bool(trigger.affected_resource_kinds)),
        _namespace_rank(trigger, incident.target.namespace),
        len(trigger.labels),
        int(bool(trigger.severity)),
        int(bool(trigger.cluster)),
        int(bool(trigger.tenant)),
        round(trigger.min_confidence * 1_000_000),
        *version_key(named.runbook.runbook.version),
    )


def _namespace_rank(trigger: Trigger, namespace: str) -> int:
    if not trigger.namespaces:
        return 0
    return 2 if namespace.lower() in (p.lower() for p in trigger.namespaces) else 1


def version_key(version: str) -> tuple[int, int, int, int]:
    """Order of semantic versions: major, minor, patch, and a release before its own pre-releases."""
    core, _, pre = version.strip().lower().removeprefix("v").partition("+")[0].partition("-")
    numbers = [int(found[0]) if (found := _NUMBER.match(part)) else 0 for part in core.split(".")[:3]]
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    return (major, minor, patch, 0 if pre else 1)


def _candidate(named: _Named, score: tuple[int, ...], why: str) -> Candidate:
    runbook = named.runbook.runbook
    return Candidate(runbook.id, runbook.version, named.runbook.sha, score, why)


def _why_lost(score: tuple[int, ...], loser: _Named, best: tuple[int, ...], winner: _Named) -> str:
    name = winner.runbook.runbook.id
    for what, mine, theirs in zip(_LABELS, score, best, strict=True):
        if mine == theirs:
            continue
        if what == "confidence":
            return f"confidence is below its min_confidence {loser.runbook.runbook.trigger.min_confidence}"
        return f"{name} ranks higher by {what} ({theirs} to {mine})"
    return f"{name} comes first in the alphabet"


def _no_match(incident: Incident, rejected: int) -> str:
    reason = incident.cause.reason
    if not rejected:
        return f"no runbook names the cause {reason}"
    return f"{rejected} runbook{'s name' if rejected > 1 else ' names'} the cause {reason}, none applies"


def _list(patterns: Iterable[str]) -> str:
    return " or ".join(patterns)
