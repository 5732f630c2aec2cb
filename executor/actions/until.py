"""Waiting until an expression over live things holds, or until a metric is as it should be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from executor.actions.base import TargetFacts, World
from executor.actions.masking import masked
from executor.actions.naming import WORKLOADS
from executor.actions.promql import named_query, value_now
from executor.actions.waiting import Look
from executor.errors import PlanError, StepFailed
from runbooks.findings import did_you_mean
from runbooks.names import uses
from runbooks.templates import TemplateError, evaluate

_KINDS: Mapping[str, str] = {
    "deployment": "Deployment",
    "statefulset": "StatefulSet",
    "daemonset": "DaemonSet",
    "node": "Node",
    "pod": "Pod",
}
NAMES = "workload, deployment, statefulset, daemonset, pod, node, metrics.NAME"
_QUERY_SECONDS = 10.0
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Subject:
    """A live object that an expression names."""

    kind: str
    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """An expression with everything that it needs, found at planning."""

    expression: str
    subjects: Mapping[str, Subject]
    queries: Mapping[str, str]

    def stored(self) -> dict[str, Any]:
        """As it is kept in the plan."""
        subjects = {key: [item.kind, item.name, item.namespace] for key, item in self.subjects.items()}
        return {"expression": self.expression, "subjects": subjects, "queries": dict(self.queries)}

    @classmethod
    def restored(cls, stored: Mapping[str, Any]) -> Question:
        """From the plan."""
        subjects = {key: Subject(*item) for key, item in stored["subjects"].items()}
        return cls(stored["expression"], subjects, stored["queries"])


def question(expression: str, namespace: str, facts: TargetFacts, world: World) -> Question:
    """What an expression asks about.

    Raises:
        PlanError: it is no expression, or uses a name that means nothing here.
        NotConfigured: it uses a metric that the settings do not know.
    """
    subjects: dict[str, Subject] = {}
    queries: dict[str, str] = {}
    for path in _paths(expression):
        root = path[0]
        if root == "metrics":
            if len(path) == 1:
                raise PlanError(f"{expression!r}: write metrics.NAME")
            queries[path[1]] = named_query(path[1], facts, world)
        else:
            subjects[root] = _subject(root, namespace, facts, expression)
    if not subjects and not queries:
        raise PlanError(f"the condition {expression!r} asks about nothing that changes; known: {NAMES}")
    return Question(expression, subjects, queries)


def _paths(expression: str) -> list[tuple[str, ...]]:
    try:
        return [use.path for use in uses("{{ " + expression + " }}") if not use.called]
    except TemplateError as error:
        raise PlanError(f"the condition {expression!r} cannot be read: {error}") from error


def _subject(root: str, namespace: str, facts: TargetFacts, expression: str) -> Subject:
    target = facts.target
    if root in ("workload", "target"):
        return Subject(target.kind, target.name, "" if target.kind == "Node" else namespace)
    if root not in _KINDS:
        advice = did_you_mean(root, (*_KINDS, "workload", "metrics")) or f"known: {NAMES}"
        raise PlanError(f"the condition {expression!r} uses {root}; {advice}; write other values as a template")
    kind = _KINDS[root]
    if kind == target.kind:
        return Subject(kind, target.name, "" if kind == "Node" else namespace)
    if kind == "Node" and facts.node:
        return Subject(kind, facts.node)
    if kind == "Pod" and facts.pod:
        return Subject(kind, facts.pod, namespace)
    instead = "; write workload" if target.kind in WORKLOADS else ""
    raise PlanError(f"the condition {expression!r} asks about a {kind}, and the incident is about {target}{instead}")


def looker(asked: Question, world: World) -> Callable[[], Awaitable[Look]]:
    """A look at whether the expression holds. What is not there yet, or not measured, does not hold."""

    async def look() -> Look:
        names: dict[str, Any] = {}
        for root, item in asked.subjects.items():
            found = await world.cluster.get(item.kind, item.name, item.namespace)
            if found is None:
                return Look(reached=False, detail=f"{item.kind}/{item.name} does not exist")
            names[root] = masked(found)
        try:
            values = {name: await value_now(query, world, _QUERY_SECONDS) for name, query in asked.queries.items()}
        except StepFailed as error:
            return Look(reached=False, detail=str(error))
        return _told(asked.expression, {**names, **({"metrics": values} if values else {})}, values)

    return look


def metric_looker(query: str, expect: str, world: World) -> Callable[[], Awaitable[Look]]:
    """A look at whether the value of a query is as expected."""

    async def look() -> Look:
        try:
            value = await value_now(query, world, _QUERY_SECONDS)
        except StepFailed as error:
            return Look(reached=False, detail=str(error))
        return _told(expect, {"value": value}, {"value": value})

    return look


def _told(expression: str, names: Mapping[str, Any], values: Mapping[str, float]) -> Look:
    seen = ", ".join(f"{name} = {value:g}" for name, value in values.items())
    try:
        held = evaluate(expression, names)
    except TemplateError as error:
        # A field that is left out while it is zero or not known yet.
        return Look(reached=False, detail=f"{error}"[:_SHOWN])
    if not isinstance(held, bool):
        raise PlanError(f"the condition {expression!r} gives {held!r}, which is neither true nor false")
    return Look(reached=held, detail=f"{expression} is {str(held).lower()}{f' ({seen})' if seen else ''}")
