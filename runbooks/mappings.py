"""Which alert starts which runbook with which parameters: files that operators keep beside their alert rules.

A mapping names an alert and a runbook. ``autoTrigger: true`` lets the runbook run by itself, behind the same gate as
everything else; without it a human is asked. Conditions look at the alert: its labels first, then its annotations,
``value`` also in a rule's annotation. What an alert does not say holds nowhere.
"""

from __future__ import annotations

import operator as op
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import AliasChoices, Field

from runbooks.words import Model, Patterns

_EQUALITY: Mapping[str, bool] = {"=": True, "==": True, "!": False, "!=": False}
_ORDER: Mapping[str, Callable[[float, float], bool]] = {">": op.gt, ">=": op.ge, "<": op.lt, "<=": op.le}
REFERENCE = re.compile(
    r"\{\{-?\s*(?:\$(?P<group>labels|annotations)\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<value>\$value))\s*-?\}\}"
)
COMPARED = re.compile(r"^\s*(?P<operator>>=|<=|==|!=|[<>!=])\s*(?P<value>.*?)\s*$")


class Mapped(Model):
    """One alert with its runbook."""

    alert: Patterns = Field(min_length=1, description="Names of alerts, globs allowed")
    runbook: str = Field(min_length=1, description="Id of the runbook")
    auto_trigger: bool | None = Field(
        None,
        validation_alias=AliasChoices("autoTrigger", "auto_trigger"),
        description="It runs by itself; false: a human is asked; left out, what the defaults say, else false",
    )
    conditions: tuple[Mapping[str, Any], ...] = Field(
        (), description='Field of the alert and what it must be: "web", "!web", "> 50", a glob, or a list of them'
    )
    parameters: Mapping[str, Any] = Field(
        {}, description="By parameter: a value, or {{ $labels.NAME }}, {{ $annotations.NAME }}, {{ $value }}"
    )


class Defaults(Model):
    """What holds for alerts that no mapping names. What is left out changes nothing."""

    auto_trigger: bool | None = Field(
        None,
        validation_alias=AliasChoices("autoTrigger", "auto_trigger"),
        description="false: a runbook that answers such an alert asks a human, whatever else it says",
    )
    notify_channel: str = Field(
        "",
        validation_alias=AliasChoices("notifyChannel", "notify_channel"),
        description="Slack channel that hears of what is only suggested",
    )
    suggest_runbook: bool = Field(
        False,
        validation_alias=AliasChoices("suggestRunbook", "suggest_runbook"),
        description="The decision about an alert without a runbook names related ones",
    )


class MappingsFile(Model):
    """A file of mappings."""

    mappings: tuple[Mapped, ...] = Field((), description="In order: of several that apply the first counts")
    defaults: Defaults = Field(Defaults(), description="For alerts that no mapping names")


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """What mappings know of an alert."""

    name: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """A fact by its name; None when the alert does not say it."""
        if name in self.labels:
            return self.labels[name]
        if name in self.annotations:
            return self.annotations[name]
        return self.namespace or None if name == "namespace" else None


@dataclass(frozen=True, slots=True)
class Entry:
    """A mapping in force.

    Attributes:
        auto: whether the runbook may run by itself.
        where: file and line, for people.
    """

    mapped: Mapped
    auto: bool
    where: str

    def why_not(self, alert: AlertFacts) -> str:
        """The first condition that does not hold; empty when all do."""
        for condition in self.mapped.conditions:
            for name, test in condition.items():
                given = alert.get(name)
                if given is None:
                    return f"the alert does not say its {name} ({self.where})"
                if not holds(test, given):
                    return f"{name} is {given}, and not {_shown(test)} ({self.where})"
        return ""

    def parameters(self, alert: AlertFacts) -> dict[str, Any]:
        """The parameters that it gives. What the alert does not say is left out: the runbook's default counts."""
        given = {name: _filled(value, alert) for name, value in self.mapped.parameters.items()}
        return {name: value for name, value in given.items() if value is not None}


def holds(test: Any, given: str) -> bool:
    """Whether a fact of the alert is as a condition wants it.

    Args:
        test: ``"web"``, ``"!web"``, ``"> 50"``, a glob, a number, or a list of which one must hold.
        given: the fact.
    """
    if isinstance(test, list | tuple):
        return any(holds(one, given) for one in test)
    if not isinstance(test, str):
        return _same(str(test).lower() if isinstance(test, bool) else str(test), given)
    found = COMPARED.match(test)
    if found is None:
        return _same(test.strip(), given)
    operator, wanted = found["operator"], found["value"]
    if operator in _EQUALITY:
        return _same(wanted, given) is _EQUALITY[operator]
    left, right = number_of(given), number_of(wanted)
    # What is no number cannot be compared.
    return left is not None and right is not None and _ORDER[operator](left, right)


def _same(wanted: str, given: str) -> bool:
    numbers = number_of(wanted), number_of(given)
    if None not in numbers:
        return numbers[0] == numbers[1]
    wild = {"*": ".*", "?": "."}
    pattern = "".join(wild.get(part, re.escape(part)) for part in re.split(r"([*?])", wanted))
    return re.fullmatch(pattern, given, re.IGNORECASE | re.DOTALL) is not None


def number_of(text: str) -> float | None:
    """The finite number that a text stands for, a percent sign left out; None when it stands for none."""
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError:
        return None
    return number if abs(number) != float("inf") and number == number else None  # noqa: PLR0124 - NaN is not itself


def _shown(test: Any) -> str:
    return " or ".join(map(str, test)) if isinstance(test, list | tuple) else str(test)


def _filled(value: Any, alert: AlertFacts) -> Any:
    """A value with the alert's facts put in; None when one is missing."""
    if isinstance(value, Mapping):
        return {key: _filled(item, alert) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, alert) for item in value]
    if not isinstance(value, str):
        return value
    parts = [(_fact(match, alert), match.span()) for match in REFERENCE.finditer(value)]
    if any(fact is None for fact, _ in parts):
        return None
    return REFERENCE.sub(lambda match: _fact(match, alert) or "", value)


def _fact(match: re.Match[str], alert: AlertFacts) -> str | None:
    if match["value"]:
        return alert.annotations.get("value", alert.labels.get("value"))
    facts = alert.labels if match["group"] == "labels" else alert.annotations
    return facts.get(match["name"])


@dataclass(frozen=True, slots=True)
class Mappings:
    """All mappings in force; it never changes.

    Attributes:
        unusable: a file could not be read: what it would have said is not known, so alerts that no mapping names
            start nothing by themselves.
    """

    entries: tuple[Entry, ...] = ()
    defaults: Defaults = field(default_factory=Defaults)
    unusable: bool = False

    def of(self, alert: str, runbook_id: str | None = None) -> tuple[Entry, ...]:
        """The mappings of an alert, and of one runbook where that is given, in order."""
        return tuple(
            entry
            for entry in self.entries
            if (runbook_id is None or entry.mapped.runbook == runbook_id)
            and any(_same(pattern, alert) for pattern in entry.mapped.alert)
        )

    @property
    def suggests_unmapped(self) -> bool:
        """Whether alerts that no mapping names start nothing by themselves."""
        return self.unusable or self.defaults.auto_trigger is False


NO_MAPPINGS = Mappings()
