"""What a changed runbook means for production, in words, the riskiest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any

from runbooks.comparing_steps import step_changes
from runbooks.durations import format_duration
from runbooks.model import CooldownAfter, OnNotFixed, Parameter, Runbook
from runbooks.quantities import as_quantity


class Risk(IntEnum):
    """Whether the new version may do more than the old one. Sorts the riskiest first."""

    RISKIER = 0
    OTHER = 1
    SAFER = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. ``path`` is its place in the runbook, such as ``safety.cooldown``."""

    risk: Risk
    path: str
    text: str


def changes(old: Runbook, new: Runbook) -> tuple[Change, ...]:
    """Every difference that matters to production, the riskiest first, else in the order of the runbook."""
    found = [change for compare in _COMPARISONS for change in compare(old, new)]
    found += _rest(old, new, {change.path.partition(".")[0].partition("[")[0] for change in found})
    if found and old.version == new.version and old.id == new.id:
        found.append(Change(Risk.OTHER, "version", f"it is another runbook, but still says version {new.version}"))
    return tuple(sorted(dict.fromkeys(found), key=lambda change: change.risk))


def _identity(old: Runbook, new: Runbook) -> Iterator[Change]:
    if old.id != new.id:
        yield Change(Risk.OTHER, "id", f"is called {new.id} instead of {old.id}: its limits and history begin anew")
    if old.type is not new.type:
        yield Change(Risk.OTHER, "type", f"is a {new.type} runbook instead of {old.type}")


_STARTS = (
    ("root_cause_reason", "the cause"),
    ("alert", "the alert"),
)
_WHERE = (
    ("symptom_reason", "symptom"),
    ("affected_resource_kinds", "kind"),
    ("namespaces", "namespace"),
    ("severity", "severity"),
    ("cluster", "cluster"),
    ("tenant", "tenant"),
)


def _trigger(old: Runbook, new: Runbook) -> Iterator[Change]:
    for name, word in _STARTS:
        before, after = getattr(old.trigger, name), getattr(new.trigger, name)
        for pattern in _added(before, after):
            yield Change(Risk.RISKIER, f"trigger.{name}", f"now also answers {word} {pattern}")
        for pattern in _added(after, before):
            yield Change(Risk.SAFER, f"trigger.{name}", f"no longer answers {word} {pattern}")
    for name, word in _WHERE:
        yield from _narrowed(f"trigger.{name}", word, getattr(old.trigger, name), getattr(new.trigger, name))
    for pattern in _added(old.trigger.exclude_namespaces, new.trigger.exclude_namespaces):
        yield Change(Risk.SAFER, "trigger.exclude_namespaces", f"never acts in namespace {pattern} any more")
    for pattern in _added(new.trigger.exclude_namespaces, old.trigger.exclude_namespaces):
        yield Change(
            Risk.RISKIER, "trigger.exclude_namespaces", f"may now act in namespace {pattern}, which was left out"
        )
    yield from _labels(old, new)
    yield from _schedules(old, new)
    if old.trigger.when != new.trigger.when:
        yield Change(Risk.OTHER, "trigger.when", f"applies when {new.trigger.when} instead of {old.trigger.when}")
    if old.trigger.manual != new.trigger.manual:
        text = "people may ask for it by name" if new.trigger.manual else "people may no longer ask for it by name"
        yield Change(Risk.RISKIER if new.trigger.manual else Risk.SAFER, "trigger.manual", text)


def _narrowed(path: str, word: str, before: Sequence[str], after: Sequence[str]) -> Iterator[Change]:
    """A filter whose emptiness means any."""
    if before and not after:
        yield Change(Risk.RISKIER, path, f"may now act on any {word}, not only {', '.join(before)}")
    elif after and not before:
        yield Change(Risk.SAFER, path, f"acts on {word} {', '.join(after)} only, no longer on any")
    else:
        for pattern in _added(before, after):
            yield Change(Risk.RISKIER, path, f"may now act on {word} {pattern}")
        for pattern in _added(after, before):
            yield Change(Risk.SAFER, path, f"no longer acts on {word} {pattern}")


def _labels(old: Runbook, new: Runbook) -> Iterator[Change]:
    before, after = old.trigger.labels, new.trigger.labels
    for key in before.keys() | after.keys():
        if key not in after:
            yield Change(Risk.RISKIER, "trigger.labels", f"no longer needs the label {key}={before[key]}")
        elif key not in before:
            yield Change(Risk.SAFER, "trigger.labels", f"needs the label {key}={after[key]}")
        elif before[key] != after[key]:
            yield Change(Risk.OTHER, "trigger.labels", f"needs the label {key}={after[key]} instead of {before[key]}")


def _schedules(old: Runbook, new: Runbook) -> Iterator[Change]:
    before = {f"{one.cron} ({one.timezone})": one for one in old.trigger.schedule}
    after = {f"{one.cron} ({one.timezone})": one for one in new.trigger.schedule}
    for text in after.keys() - before.keys():
        yield Change(Risk.RISKIER, "trigger.schedule", f"runs by itself at {text}")
    for text in before.keys() - after.keys():
        yield Change(Risk.SAFER, "trigger.schedule", f"no longer runs by itself at {text}")
    for text in before.keys() & after.keys():
        if before[text] != after[text]:
            yield Change(Risk.OTHER, "trigger.schedule", f"runs at {text} with another target or other parameters")


@dataclass(frozen=True, slots=True)
class _Limit:
    """A number of which more, or less, is riskier; None means no limit."""

    path: str
    words: str
    more_is_riskier: bool


_LIMITS = (
    _Limit(
        "trigger.min_confidence", "acts on causes from a confidence of {new} instead of {old}", more_is_riskier=False
    ),
    _Limit("safety.max_executions_per_hour", "may run {new} times an hour instead of {old}", more_is_riskier=True),
    _Limit("safety.rates.per_minute", "may run {new} times a minute instead of {old}", more_is_riskier=True),
    _Limit("safety.rates.per_hour", "may run {new} times in any hour instead of {old}", more_is_riskier=True),
    _Limit("safety.rates.per_day", "may run {new} times a day instead of {old}", more_is_riskier=True),
    _Limit("safety.max_concurrent", "may run {new} times at once instead of {old}", more_is_riskier=True),
    _Limit("safety.blast_radius_limit", "may affect {new} resources instead of {old}", more_is_riskier=True),
    _Limit(
        "safety.blast_radius_percent", "may affect {new} % of the namespace instead of {old} %", more_is_riskier=True
    ),
    _Limit("safety.cooldown", "leaves the target alone for {new} afterwards instead of {old}", more_is_riskier=False),
    _Limit("safety.approval_timeout", "waits {new} for an answer instead of {old}", more_is_riskier=True),
    _Limit("verification.settle", "the target must stay healthy for {new} instead of {old}", more_is_riskier=False),
    _Limit("verification.observe", "is watched for {new} afterwards instead of {old}", more_is_riskier=False),
    _Limit("verification.timeout", "counts as not fixed after {new} instead of {old}", more_is_riskier=True),
    _Limit("timeout", "its steps may take {new} instead of {old}", more_is_riskier=True),
    _Limit("max_parallel", "runs {new} steps at once instead of {old}", more_is_riskier=True),
)


def _limits(old: Runbook, new: Runbook) -> Iterator[Change]:
    for limit in _LIMITS:
        before, after = _at(old, limit.path), _at(new, limit.path)
        if before == after:
            continue
        more = before is not None and (after is None or after > before)
        risk = Risk.RISKIER if more is limit.more_is_riskier else Risk.SAFER
        yield Change(risk, limit.path, limit.words.format(old=_said(before), new=_said(after)))


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _said(value: Any) -> str:
    if value is None:
        return "any number of"
    return format_duration(value) if isinstance(value, timedelta) else str(value)


def _safety(old: Runbook, new: Runbook) -> Iterator[Change]:
    before, after = old.safety.require_approval, new.safety.require_approval
    if before != after:
        if after is False:
            yield Change(Risk.RISKIER, "safety.require_approval", "no longer asks a human")
        elif after is True:
            yield Change(Risk.SAFER, "safety.require_approval", "always asks a human")
        else:
            risk = Risk.RISKIER if before is True else Risk.OTHER if isinstance(before, str) else Risk.SAFER
            yield Change(risk, "safety.require_approval", f"asks a human only when {after}")
    if old.safety.dry_run_first != new.safety.dry_run_first:
        dry = new.safety.dry_run_first
        text = "asks the API server about every write first" if dry else "no longer asks the API server first"
        yield Change(Risk.SAFER if dry else Risk.RISKIER, "safety.dry_run_first", text)
    if old.service_account != new.service_account:
        before, after = (one.service_account or "the account of the settings" for one in (old, new))
        yield Change(Risk.RISKIER, "service_account", f"acts as {after} instead of {before}")
    for pattern in _added(new.safety.protected_namespaces, old.safety.protected_namespaces):
        yield Change(Risk.RISKIER, "safety.protected_namespaces", f"namespace {pattern} is no longer protected")
    for pattern in _added(old.safety.protected_namespaces, new.safety.protected_namespaces):
        yield Change(Risk.SAFER, "safety.protected_namespaces", f"namespace {pattern} is protected")
    for name in ("protected_labels", "ask_again"):
        if getattr(old.safety, name) != getattr(new.safety, name):
            gone = not getattr(new.safety, name)
            text = f"{name.replace('_', ' ')}: {'no longer given' if gone else 'changed'}"
            yield Change(Risk.RISKIER if gone else Risk.OTHER, f"safety.{name}", text)


def _cooldowns(old: Runbook, new: Runbook) -> Iterator[Change]:
    for name in CooldownAfter.model_fields:
        given = [getattr(one.safety.cooldown_after, name) for one in (old, new)]
        was, now = (one.safety.cooldown if own is None else own for own, one in zip(given, (old, new), strict=True))
        if given[0] != given[1]:
            risk = Risk.RISKIER if now < was else Risk.SAFER if now > was else Risk.OTHER
            text = f"leaves the target alone for {_said(now)} instead of {_said(was)} after an end as {name}"
            yield Change(risk, f"safety.cooldown_after.{name}", text)


def _verification(old: Runbook, new: Runbook) -> Iterator[Change]:
    for name, words in (
        ("on_not_fixed", "a fix that did not help"),
        ("on_inconclusive", "a fix that nobody can prove"),
    ):
        before, after = getattr(old.verification, name), getattr(new.verification, name)
        if before is not after:
            kept = after is OnNotFixed.KEEP
            text = f"{words} is {'kept' if kept else 'taken back'}"
            yield Change(Risk.RISKIER if kept else Risk.SAFER, f"verification.{name}", text)


def _checks(old: Runbook, new: Runbook) -> Iterator[Change]:
    """What must hold: without it the runbook may do more."""
    for path, words in (
        ("preconditions", "precondition"),
        ("verification.success_criteria", "success criterion"),
        ("assumptions", "assumption"),
    ):
        before = {one.name: one for one in _at(old, path)}
        after = {one.name: one for one in _at(new, path)}
        for name in [name for name in before if name not in after]:
            yield Change(Risk.RISKIER, path, f"{words} {name!r} is gone")
        for name in [name for name in after if name not in before]:
            yield Change(Risk.SAFER, path, f"{words} {name!r} must hold")
        for name in [name for name in before if name in after and before[name] != after[name]]:
            yield Change(Risk.OTHER, path, f"{words} {name!r} is another one")
    for trigger in _added(old.rollback.triggers, new.rollback.triggers):
        yield Change(Risk.SAFER, "rollback.triggers", f"is taken back when {_shown(trigger)}")
    for trigger in _added(new.rollback.triggers, old.rollback.triggers):
        yield Change(Risk.RISKIER, "rollback.triggers", f"is no longer taken back when {_shown(trigger)}")


def _shown(model: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in model.model_dump(mode="json", exclude_none=True).items())


def _parameters(old: Runbook, new: Runbook) -> Iterator[Change]:
    before = {one.name: one for one in old.parameters}
    after = {one.name: one for one in new.parameters}
    for name in [name for name in before if name not in after]:
        yield Change(Risk.OTHER, "parameters", f"parameter {name} is gone")
    for name in [name for name in after if name not in before]:
        yield Change(Risk.OTHER, "parameters", f"parameter {name} is new")
    for name in [name for name in before if name in after and before[name] != after[name]]:
        yield from _parameter(before[name], after[name])


def _parameter(old: Parameter, new: Parameter) -> Iterator[Change]:
    path = f"parameters.{old.name}"
    if old.default != new.default:
        risk = Risk.RISKIER if _grew(old.default, new.default) else Risk.OTHER
        yield Change(risk, path, f"{old.name} is {new.default} instead of {old.default} when nobody sets it")
    if old.model_copy(update={"default": None}) != new.model_copy(update={"default": None}):
        yield Change(Risk.OTHER, path, f"parameter {old.name} is declared otherwise")


def _grew(old: Any, new: Any) -> bool:
    try:
        return bool(as_quantity(new) > as_quantity(old))
    except (ValueError, TypeError):
        return False


def _steps(old: Runbook, new: Runbook) -> Iterator[Change]:
    named = (
        ("steps", old.steps, new.steps),
        ("rollback.steps", old.rollback.steps, new.rollback.steps),
        *(
            (f"procedures.{name}", old.procedures.get(name, ()), new.procedures.get(name, ()))
            for name in sorted(old.procedures.keys() | new.procedures.keys())
        ),
    )
    for path, before, after in named:
        for risky, place, text in step_changes(before, after):
            risk = Risk.OTHER if risky is None else Risk.RISKIER if risky else Risk.SAFER
            yield Change(risk, f"{path}{place}", text)


def _rest(old: Runbook, new: Runbook, told: set[str]) -> Iterator[Change]:
    """Parts whose difference has no words of its own, so that none goes unsaid."""
    silent = {"id", "version", "name", "description", "author", "updated", "tags", *told}
    for name in type(old).model_fields:
        if name not in silent and getattr(old, name) != getattr(new, name):
            yield Change(Risk.OTHER, name, f"{name} changed")


def _added(before: Sequence[Any], after: Sequence[Any]) -> list[Any]:
    return [one for one in after if one not in before]


_COMPARISONS: tuple[Callable[[Runbook, Runbook], Iterator[Change]], ...] = (
    _identity,
    _trigger,
    _limits,
    _safety,
    _cooldowns,
    _parameters,
    _checks,
    _steps,
    _verification,
)

AsData = Mapping[str, str]


def as_data(change: Change) -> AsData:
    """For programs."""
    return {"risk": change.risk.name.lower(), "path": change.path, "text": change.text}
