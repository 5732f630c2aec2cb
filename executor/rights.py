"""What a runbook needs of the API server: of its text alone, and of a plan just before it may run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from executor.actions.base import Action, ActionTable, Params
from executor.actions.needs import OBJECT, TARGET, Right
from executor.actions.spelling import KIND_WORDS
from executor.context import facts_of
from executor.model import Change, ObjectRef, Plan, PlannedStep
from executor.reasons import leaves
from executor.rendering import writes
from matcher.kinds import canonical_kind
from runbooks.model import Runbook, Step

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
"""What owns the pods that incidents are about, where nobody says more."""

_OWNED = frozenset({"Pod", "ReplicaSet"})
"""Kinds whose owner is what a runbook acts on."""

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9.-]*")
_TEMPLATE = ("{{", "{%")
_TARGET_KIND = re.compile(r"\{\{\s*(target\.kind|incident\.resource\.controller_kind)\s*(\|\s*lower\s*)?\}\}")
_TARGET_NAMESPACE = re.compile(r"\{\{\s*(target\.namespace|incident\.resource\.namespace|namespace)\s*\}\}")
"""Templates that mean what is meant when they are left out."""


@dataclass(frozen=True, slots=True)
class Need:
    """One verb on one kind.

    Attributes:
        kind: as the API server or the author spells it.
        namespace: by name; empty for that of the incident.
        everywhere: in all namespaces.
    """

    verb: str
    kind: str
    subresource: str = ""
    namespace: str = ""
    everywhere: bool = False


@dataclass(slots=True)
class Needs:
    """What a runbook needs, and what its text cannot tell.

    Attributes:
        found: each once, in no order that means anything.
        doubts: for people: steps of which the text does not say what they touch.
    """

    found: set[Need] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)


def target_kinds(runbook: Runbook, named: Sequence[str] = ()) -> tuple[str, ...]:
    """The kinds that a runbook acts on: those that are named, else what its trigger says, else any workload."""
    said = [canonical_kind(kind) for kind in named or runbook.trigger.affected_resource_kinds]
    plain = [kind for kind in said if _WORD.fullmatch(kind)]
    owners = WORKLOADS if not plain or _OWNED.intersection(plain) else ()
    return tuple(dict.fromkeys([*(kind for kind in plain if kind not in _OWNED), *owners]))


def needs_of(
    runbook: Runbook,
    actions: ActionTable,
    params: Mapping[str, Any],
    kinds: Sequence[str],
    runbooks: Mapping[str, Runbook] | None = None,
) -> Needs:
    """What the steps of a runbook need: forward, and on the way back.

    Args:
        runbook: with the steps.
        actions: by name and alias.
        params: values of its parameters, as far as they are known; they take the place of ``{{ params.NAME }}``.
        kinds: of the target.
        runbooks: those that it can call, by id; one that is missing is a doubt.
    """
    gathering = _Gathering(actions, runbooks or {})
    gathering.walk(runbook, params, kinds, (runbook.id,))
    return gathering.needs


@dataclass(slots=True)
class _Gathering:
    """Goes through a runbook and those that it calls."""

    actions: ActionTable
    runbooks: Mapping[str, Runbook]
    needs: Needs = field(default_factory=Needs)

    def walk(self, runbook: Runbook, params: Mapping[str, Any], kinds: Sequence[str], chain: tuple[str, ...]) -> None:
        for step in _steps(runbook):
            where = f"{runbook.id}, step {step.name!r}"
            action, given = self.actions.get(step.action), _filled(step.params, params)
            if action is None:
                self.needs.doubts.append(f"{where}: there is no action {step.action!r}")
            elif action.name == "run_runbook":
                self._call(given, kinds, chain, where)
            else:
                _of_step(action, given, kinds, self.needs, where)

    def _call(self, given: Mapping[str, Any], kinds: Sequence[str], chain: tuple[str, ...], where: str) -> None:
        called = str(given.get("runbook") or "")
        inner = self.runbooks.get(called)
        if inner is None:
            self.needs.doubts.append(f"{where}: it calls {called}, which is not among the runbooks that were given")
        elif called not in chain:
            asked = given.get("target")
            kind = asked.get("kind") if isinstance(asked, Mapping) else None
            self.walk(inner, {}, [canonical_kind(str(kind))] if kind else kinds, (*chain, called))


def _steps(runbook: Runbook) -> Iterator[Step]:
    yield from runbook.steps
    yield from runbook.rollback.steps
    for listed in runbook.procedures.values():
        yield from listed


def _filled(value: Any, params: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(one, params) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(one, params) for one in value]
    if not isinstance(value, str):
        return value
    for name, known in params.items():
        value = str(known).join(re.split(r"\{\{\s*params\." + re.escape(name) + r"\s*\}\}", value))
    return value


def _of_step(action: Action[Any], params: Mapping[str, Any], kinds: Sequence[str], needs: Needs, where: str) -> None:
    if action.rights == ():
        return
    named, doubt = object_kinds(action, params, kinds)
    rights = action.rights_for(_known(action, params), named)
    if rights is None:
        needs.doubts.append(f"{where}: {action.name} does not declare its rights")
        return
    if doubt:
        needs.doubts.append(f"{where}: {doubt}")
    namespace = params.get("namespace") or ""
    if isinstance(namespace, str) and _TARGET_NAMESPACE.fullmatch(namespace.strip()):
        namespace = ""
    if not isinstance(namespace, str) or _has_template(namespace):
        needs.doubts.append(f"{where}: its namespace is known only when it runs")
        namespace = ""
    for right in rights:
        for kind in _kinds_of(right, named, kinds):
            needs.found |= {
                Need(verb, kind, right.subresource, "" if right.everywhere else namespace, right.everywhere)
                for verb in right.verbs
            }


def _kinds_of(right: Right, named: Sequence[str], kinds: Sequence[str]) -> Sequence[str]:
    if right.kind == OBJECT:
        return named
    return kinds if right.kind == TARGET else (right.kind,)


def object_kinds(action: Action[Any], params: Mapping[str, Any], kinds: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The kinds of the object that a step names, and why that is not sure.

    Args:
        action: of the step.
        params: as written, templates included.
        kinds: of the target, which is meant where the step names nothing.
    """
    if "manifest" in params:
        return _kinds_of_manifests(action, params)
    if text := params.get("condition") or params.get("until"):
        return _kinds_of_condition(str(text), kinds), ""
    word = next((kind for name, kind in KIND_WORDS.items() if params.get(name)), "")
    word = word or str(params.get("resource") or "").partition("/")[0].strip()
    if _TARGET_KIND.fullmatch(word):
        return tuple(kinds), ""
    if _has_template(word):
        return tuple(kinds), "the kind of its object is known only when it runs; that of the target is taken"
    if not word:
        return tuple(kinds), ""
    return (canonical_kind(word),), ""


def _kinds_of_manifests(action: Action[Any], params: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    known = _validated(action, params)
    given = getattr(known, "manifest", None)
    listed = given if isinstance(given, list) else [given] if isinstance(given, Mapping) else []
    found = tuple(dict.fromkeys(_grouped(one) for one in listed))
    return (found, "") if found else ((), "the kinds of its manifest are known only when it runs")


def _grouped(manifest: Mapping[str, Any]) -> str:
    """The kind, with its group where that is not one of the built-in kinds."""
    kind, (group, slash, _) = str(manifest["kind"]), str(manifest["apiVersion"]).partition("/")
    return f"{kind}.{group}" if slash and "." in group and not group.endswith(".k8s.io") else kind


def _kinds_of_condition(text: str, kinds: Sequence[str]) -> tuple[str, ...]:
    words = {canonical_kind(word.partition(".")[0]) for word in _WORD.findall(text)}
    named = [kind for kind in (*KIND_WORDS.values(),) if kind in words]
    # A pod that is gone is followed to its owner.
    return tuple(dict.fromkeys([*named, *kinds]))


def _known(action: Action[Any], params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters in their own names, where they can be read already."""
    checked = _validated(action, params)
    return params if checked is None else checked.model_dump(exclude_none=True)


def _validated(action: Action[Any], params: Mapping[str, Any]) -> Params | None:
    try:
        model: Params = action.params_model.model_validate(params)
    except (ValidationError, ValueError):
        return None
    return model


def _has_template(text: str) -> bool:
    return any(mark in text for mark in _TEMPLATE)


@dataclass(frozen=True, slots=True)
class Asked:
    """A right that a plan needs for one object."""

    verb: str
    ref: ObjectRef
    subresource: str = ""


def writes_of(plan: Plan, actions: ActionTable) -> tuple[Asked, ...]:
    """The rights for every write of a plan and for taking it back, each once.

    A write that is known only in its turn is asked about as far as its step names a kind.
    """
    forward = [*plan.steps, *plan.rollback, *(step for listed in plan.procedures.values() for step in listed)]
    found = (one for step in leaves(forward) if writes(step) for one in _of_planned(step, plan, actions))
    return tuple(dict.fromkeys(found))


def _of_planned(step: PlannedStep, plan: Plan, actions: ActionTable) -> Iterable[Asked]:
    action = actions.get(step.action)
    if action is None or not action.rights:
        return
    for change in step.changes:
        if change.ref is not None:
            yield from _of_change(action, step, change, change.ref)
    if step.changes:
        return
    target = facts_of(plan.scopes.get(step.scope) or plan.context).target
    kinds, doubt = object_kinds(action, step.params, (target.kind,))
    for kind in () if doubt else kinds:
        ref = target if kind == target.kind else ObjectRef(kind=kind, name="", namespace=target.namespace)
        yield from _of_change(action, step, None, ref)


def _of_change(action: Action[Any], step: PlannedStep, change: Change | None, ref: ObjectRef) -> Iterable[Asked]:
    for right in action.rights_for(step.params, (ref.kind,)) or ():
        if right.change and (change is None or right.change != change.verb):
            continue
        if right.kind in (OBJECT, ref.kind):
            yield from (Asked(verb, ref, right.subresource) for verb in right.writes)
