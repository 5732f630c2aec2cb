"""Which runbooks an alert names by itself, and on what terms: ``trigger.alert`` and the operator's mappings.

An alert that is named is its own cause for the runbooks that name it, so nobody waits for root cause analysis. A
mapping of an alert to a runbook has the last word about that pair: when its conditions do not hold, the runbook does
not apply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rapidfuzz import fuzz, process

from matcher.facts import alert_facts
from matcher.model import Signal
from matcher.patterns import GlobIndex, is_glob, literal_length
from runbooks.mappings import NO_MAPPINGS, AlertFacts, Mappings, number_of
from runbooks.model import LoadedRunbook

_RELATED = 60
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MOST = 3
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms an alert starts a runbook.

    Attributes:
        why_not: it does not; empty when it does.
        parameters: that the mapping took from the alert.
        suggested: why a human has to say yes; empty when nobody has to.
    """

    why_not: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    suggested: str = ""


_PLAIN = Terms()


@dataclass(frozen=True, slots=True)
class ByAlert:
    """A runbook that an alert names; ``literal`` is the fixed part of the glob, None for a name."""

    runbook: LoadedRunbook
    literal: int | None = None


class AlertIndex:
    """Runbooks by the alerts that name them. Never changes.

    Args:
        runbooks: those in force.
        mappings: those in force.
    """

    def __init__(self, runbooks: Iterable[LoadedRunbook], mappings: Mappings = NO_MAPPINGS) -> None:
        self.mappings = mappings
        self._runbooks: dict[str, list[LoadedRunbook]] = {}
        self._by_name: dict[str, list[LoadedRunbook]] = {}
        self._by_glob: dict[str, list[LoadedRunbook]] = {}
        for loaded in runbooks:
            self._runbooks.setdefault(loaded.runbook.id, []).append(loaded)
            for pattern in dict.fromkeys(each.strip().lower() for each in loaded.runbook.trigger.alert):
                table = self._by_glob if is_glob(pattern) else self._by_name
                table.setdefault(pattern, []).append(loaded)
        self._globs = GlobIndex(self._by_glob)
        self._remembered: dict[str, tuple[ByAlert, ...]] = {}

    def naming(self, signal: Signal) -> tuple[ByAlert, ...]:
        """The runbooks that the alert names, by their triggers or by a mapping."""
        name = alert_facts(signal).name
        known = self._remembered.get(name)
        if known is None:
            known = self._look_up(name)
            if len(self._remembered) < _REMEMBERED:
                self._remembered[name] = known
        return known

    def _look_up(self, name: str) -> tuple[ByAlert, ...]:
        found: dict[tuple[str, str], ByAlert] = {}  # of one runbook there may be several versions

        def add(loaded: LoadedRunbook, literal: int | None = None) -> None:
            found.setdefault((loaded.runbook.id, loaded.sha), ByAlert(loaded, literal))

        for loaded in self._by_name.get(name.strip().lower(), ()):
            add(loaded)
        for entry in self.mappings.of(name):
            for mapped in self._runbooks.get(entry.mapped.runbook, ()):
                add(mapped)
        for glob in self._globs.matching(name.strip()):
            for loaded in self._by_glob[glob]:
                add(loaded, literal_length(glob))
        return tuple(found.values())

    def terms(self, signal: Signal, loaded: LoadedRunbook, *, by_alert: bool) -> Terms:
        """On what terms the runbook answers the alert.

        Args:
            signal: the alert.
            loaded: the runbook.
            by_alert: the alert itself names it; else its cause does, and conditions of a mapping do not stop it.
        """
        if not self.mappings.entries and not self.mappings.suggests_unmapped:
            return _PLAIN
        facts = alert_facts(signal)
        entries = self.mappings.of(facts.name, loaded.runbook.id)
        reasons = [entry.why_not(facts) for entry in entries]
        for entry, why_not in zip(entries, reasons, strict=True):
            if not why_not:
                suggested = "" if entry.auto else f"suggested only: {entry.where} does not let it start by itself"
                return Terms("", _fitted(entry.parameters(facts), loaded), suggested)
        if entries and by_alert:
            return Terms(why_not=reasons[0])
        return Terms(suggested=self._unmapped(signal, facts))

    def _unmapped(self, signal: Signal, facts: AlertFacts) -> str:
        """Why an alert that no mapping names starts nothing by itself."""
        if "alertname" not in signal.labels or not self.mappings.suggests_unmapped or self.mappings.of(facts.name):
            return ""
        if self.mappings.unusable:
            return "suggested only: a file of mappings cannot be read"
        return f"suggested only: no mapping names the alert {facts.name}, and the defaults ask a human"

    def related(self, signal: Signal) -> tuple[str, ...]:
        """Runbooks with a similar name, where the operator wants to see such; nearest first."""
        if not self.mappings.defaults.suggest_runbook or not signal.labels.get("alertname"):
            return ()
        named = {_words(name): name for name in self._runbooks}
        alert, scorer = _words(alert_facts(signal).name), fuzz.token_set_ratio
        found = process.extract(alert, list(named), scorer=scorer, score_cutoff=_RELATED, limit=_MOST)
        return tuple(named[words] for words, _, _ in found)


def _words(name: str) -> str:
    """``PodCPUThrottling`` and ``cpu-throttling`` in words."""
    return " ".join(_WORD.findall(name)).lower()


def _fitted(parameters: Mapping[str, Any], loaded: LoadedRunbook) -> dict[str, Any]:
    """Values of alerts are texts: a measured 93.5 is 94 for a parameter that is a whole number."""
    whole = {parameter.name for parameter in loaded.runbook.parameters if parameter.type == "integer"}
    fitted = dict(parameters)
    for name in whole & fitted.keys():
        number = number_of(fitted[name]) if isinstance(fitted[name], str) else None
        if number is not None:
            fitted[name] = round(number)
    return fitted
