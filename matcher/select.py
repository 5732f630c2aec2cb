"""Which runbook answers an incident: the most specific one that applies.

A runbook is a candidate when one of its ``root_cause_reason`` patterns meets the cause's reason, or when the alert
itself is named by its ``alert`` patterns or by a mapping (``matcher.alerts``). It applies when every further part of
its trigger holds as well. What is not known (no symptom reason, no kind) holds nowhere. A cause that is nothing but the
alert itself counts only for those that name the alert.

Of those that apply, the first difference in this list decides:

1. its ``min_confidence`` is reached
2. how the reason is met: by name, by glob, by another name of the same family (``matcher.reasons``), by the alert alone
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
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType

from matcher.alerts import AlertIndex, ByAlert
from matcher.diagnose import ALERT
from matcher.facts import incident_facts, target_facts
from matcher.kinds import RUNBOOK, canonical_kind
from matcher.lots import EVERYTHING, Lot, Lots
from matcher.model import Candidate, Cause, Incident, Match, NoMatch, Run, Signal, Target
from matcher.named import select_named
from matcher.patterns import GlobIndex, any_matches, is_glob, literal_length, matches
from matcher.reasons import canonical_reason, family, same_reason
from runbooks.mappings import NO_MAPPINGS, Mappings
from runbooks.model import LoadedRunbook, Trigger
from runbooks.templates import TemplateError, evaluate

_BY_NAME, _BY_GLOB, _BY_ALIAS, _BY_ALERT = 2, 1, 0, -1
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
_NO_LOTS: Lots = MappingProxyType({})
_REMEMBERED = 4096


class Own(Enum):
    """Whether an alert is its own cause."""

    NO = "no"
    SUGGESTED = "suggested"
    """Only when nothing else is found: a human is asked then, and there is time to look."""
    YES = "yes"


@dataclass(frozen=True, slots=True)
class _Named:
    """A runbook whose trigger meets a reason or an alert, and how."""

    runbook: LoadedRunbook
    how: int
    literal: int
    by_alert: bool = False


class RunbookIndex:
    """Runbooks by the reasons and alerts that they answer. Never changes; a new set of runbooks is a new index.

    Args:
        runbooks: those in force; of one id there may be several versions.
        mappings: of alerts to runbooks.
        lots: which incidents a version takes, where it does not take all.
    """

    def __init__(
        self, runbooks: Iterable[LoadedRunbook], mappings: Mappings = NO_MAPPINGS, lots: Lots = _NO_LOTS
    ) -> None:
        runbooks = tuple(runbooks)
        self._lots = lots
        self._alerts = AlertIndex(runbooks, mappings)
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
        self._by_id: dict[str, list[LoadedRunbook]] = {}
        for loaded in runbooks:
            self._by_id.setdefault(loaded.runbook.id, []).append(loaded)

    def __len__(self) -> int:
        return self._size

    def naming(self, reason: str) -> tuple[LoadedRunbook, ...]:
        """The runbooks whose trigger meets the reason, whatever else they ask for."""
        return tuple(named.runbook for named in self._naming(reason))

    def select(self, incident: Incident) -> Match | NoMatch:
        """The runbook that answers the incident; every other candidate with the reason why it lost."""
        if (run := incident.signal.run) is not None:
            return self._asked_for(incident, run)
        named = self._candidates(incident)
        rejected: list[Candidate] = []
        applying: list[tuple[tuple[int, ...], _Named]] = []
        for candidate in named:
            why = self._why_not(candidate, incident)
            score = _score(candidate, incident)
            if why:
                rejected.append(_candidate(candidate, score, why))
            else:
                applying.append((score, candidate))
        if not applying:
            related = self._alerts.related(incident.signal)
            hint = f"; related: {', '.join(related)}" if related else ""
            return NoMatch(incident, tuple(rejected), _no_match(incident, len(rejected)) + hint)
        applying.sort(key=lambda pair: (tuple(-part for part in pair[0]), pair[1].runbook.runbook.id))
        (best, winner), *losers = applying
        lost = (_candidate(c, score, _why_lost(score, c, best, winner)) for score, c in losers)
        return self.match(incident, winner.runbook, (_candidate(winner, best, ""), *lost, *rejected))

    def match(self, incident: Incident, loaded: LoadedRunbook, candidates: tuple[Candidate, ...]) -> Match:
        """The incident with this runbook, on the terms that hold for its alert now."""
        trial = self._lot(loaded).suggested(incident.id)
        if (run := incident.signal.run) is not None:
            return Match(incident, loaded, candidates, run.parameters, trial)
        terms = self._alerts.terms(incident.signal, loaded, by_alert=False)
        suggested = "; ".join(filter(None, (terms.suggested, trial)))
        channel = self._alerts.mappings.defaults.notify_channel if suggested else ""
        return Match(incident, loaded, candidates, terms.parameters, suggested, channel)

    def _lot(self, loaded: LoadedRunbook) -> Lot:
        return self._lots.get((loaded.runbook.id, loaded.sha), EVERYTHING)

    def _asked_for(self, incident: Incident, run: Run) -> Match | NoMatch:
        """The runbook that a request names, in the version that takes the request."""
        mine: dict[str, LoadedRunbook] = {}
        others: list[Candidate] = []
        for name, versions in self._by_id.items():
            for loaded in versions:
                why = self._lot(loaded).why_not(incident.id)
                if not why:
                    mine[name] = loaded
                elif name == run.runbook:
                    others.append(Candidate(name, loaded.runbook.version, loaded.sha, (), why))
        found = select_named(incident, run, mine, lambda loaded: _why_not_asked(loaded, incident))
        found = replace(found, candidates=(*found.candidates, *others))
        return self.match(incident, found.runbook, found.candidates) if isinstance(found, Match) else found

    def own(self, signal: Signal) -> Own:
        """Whether the alert is its own cause: a runbook that it names may apply, as far as can be told by now."""
        found = Own.NO
        for named in self._alerts.naming(signal):
            terms = self._alerts.terms(signal, named.runbook, by_alert=True)
            if terms.why_not or _why_not(named.runbook.runbook.trigger, _provisional(signal)):
                continue
            if self._lot(named.runbook).never:
                continue
            if not terms.suggested:
                return Own.YES
            found = Own.SUGGESTED
        return found

    def _candidates(self, incident: Incident) -> tuple[_Named, ...]:
        by_alert = [
            _Named(named.runbook, *_how(named, incident), by_alert=True)
            for named in self._alerts.naming(incident.signal)
        ]
        if not by_alert:
            return self._naming(incident.cause.reason)
        known = {id(named.runbook) for named in by_alert}
        by_cause = self._naming(incident.cause.reason)
        if incident.cause.writer == ALERT:
            return (*by_alert, *(named for named in by_cause if id(named.runbook) not in known))
        met = {id(named.runbook) for named in by_cause}
        return (*by_cause, *(named for named in by_alert if id(named.runbook) not in met))

    def _why_not(self, named: _Named, incident: Incident) -> str:
        """Why the candidate does not apply."""
        if not_drawn := self._lot(named.runbook).why_not(incident.id):
            return not_drawn
        if named.by_alert:
            terms = self._alerts.terms(incident.signal, named.runbook, by_alert=True)
            if terms.why_not:
                return terms.why_not
        elif incident.cause.writer == ALERT:
            return "the alert is its own cause only for runbooks that name it"
        trigger = named.runbook.runbook.trigger
        return _why_not(trigger, incident) or _when(trigger, incident)

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


def _why_not_asked(loaded: LoadedRunbook, incident: Incident) -> str:
    """Why a runbook that is asked for by name does not apply: what it says of alerts has nothing to hold for."""
    trigger = loaded.runbook.trigger
    if trigger.affected_resource_kinds and incident.target.kind == RUNBOOK:
        return f"it needs a target of kind {_list(trigger.affected_resource_kinds)}"
    checks = (_kind, _namespace, _cluster, _tenant)
    return next(filter(None, (check(trigger, incident) for check in checks)), "") or _when(trigger, incident)


def _how(named: ByAlert, incident: Incident) -> tuple[int, int]:
    """How a runbook is met that the alert names: as its reason would be, when the alert is the cause."""
    if incident.cause.writer != ALERT:
        return _BY_ALERT, named.literal or 0
    return (_BY_NAME, 0) if named.literal is None else (_BY_GLOB, named.literal)


def _provisional(signal: Signal) -> Incident:
    """An incident as it would be if the alert were its own cause and its subject the target."""
    subject = signal.subject
    cause = Cause(signal.event_id, signal.reason, subject, 0.0, ALERT, 0.0)
    target = Target(signal.cluster, subject.kind, subject.name, subject.namespace, subject.uid)
    return Incident("", "", signal.tenant, signal.cluster, signal, cause, target, signal.seen_at, signal.seen_at)


def _when(trigger: Trigger, incident: Incident) -> str:
    """Why the expression of the trigger does not hold; what cannot be read does not."""
    if isinstance(trigger.when, bool):
        return "" if trigger.when else "its trigger says when: false"
    try:
        value = evaluate(trigger.when, {"incident": incident_facts(incident), "target": target_facts(incident)})
    except TemplateError as error:
        return f"when cannot be read: {error}"
    return "" if value is True else f"when is {value!r:.40}: {trigger.when:.120}"


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


def _cluster(trigger: Trigger, incident: Incident) -> str:
    return _part("cluster", trigger.cluster, incident.cluster)


def _tenant(trigger: Trigger, incident: Incident) -> str:
    return _part("tenant", trigger.tenant, incident.tenant)


_CHECKS: tuple[_Check, ...] = (
    _symptom,
    _kind,
    _namespace,
    _signal_labels,
    lambda trigger, incident: _part("severity", trigger.severity, incident.signal.severity),
    _cluster,
    _tenant,
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
