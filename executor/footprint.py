"""What a plan does to the objects of the cluster, in the words of the gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from executor.actions.diff import MISSING, FieldChange, Item, Path
from executor.context import facts_of
from executor.model import Change, Plan, PlannedStep
from executor.reasons import hidden, leaves
from executor.rendering import writes
from safety.surroundings import Footprint, Write

_NEVER_DECLARED = frozenset({"restart", "evict", "cordon", "uncordon", "create"})
"""What no manifest says: a restart marks the pod template with the time, and tools leave that alone."""

_RUNTIME = frozenset({"Pod", "Job", "Node"})
"""Kinds that are made by others, or by the machine, and not kept in Git as they are."""

_REPLICAS: Path = ("spec", "replicas")
_TEMPLATE: Path = ("spec", "template")
_META = ("labels", "annotations")
_LOOKED_INTO = 2


def footprint_of(plan: Plan, touched: Sequence[str] = ()) -> Footprint:
    """What the gate looks around.

    Args:
        plan: the plan.
        touched: what stands for the objects of a plan that changes none.
    """
    context = plan.context.get("target") or {}
    target = "/".join(filter(None, (context.get("kind", ""), context.get("namespace", ""), context.get("name", ""))))
    resources = tuple(plan.touched or touched or (target,))
    return Footprint(target, resources, tuple(plan.namespaces), tuple(_writes(plan, target)))


def _writes(plan: Plan, target: str) -> Iterator[Write]:
    """Each change that goes forward, or that the runbook's own rollback makes; an automatic inverse puts back."""
    forward = [*plan.steps, *(step for listed in plan.procedures.values() for step in listed), *plan.rollback]
    for step in leaves(forward):
        if not writes(step):
            continue
        if hidden(step):
            yield _unknown(step, plan, target)
        yield from (_write(change, step) for change in step.changes if change.ref is not None)


def _unknown(step: PlannedStep, plan: Plan, target: str) -> Write:
    """A change that is known only in its turn counts as the worst that it may be: it replaces the target's pods."""
    scope = plan.scopes.get(step.scope)
    resource = str(facts_of(scope).target) if scope else target
    return Write(resource, "unknown", rolls=True, patch=f"# {step.name}: known only when its turn comes\n")


def _write(change: Change, step: PlannedStep) -> Write:
    fields = [FieldChange.from_json(field) for field in (change.before or {}).get("fields") or ()]
    paths = [field.path for field in fields]
    kind = change.ref.kind if change.ref else ""
    replicas = next((field.after for field in fields if field.path == _REPLICAS), None)
    return Write(
        resource=str(change.ref),
        verb=change.verb,
        rolls=change.verb == "restart" or any(path[:_LOOKED_INTO] == _TEMPLATE for path in paths),
        replicas=replicas if isinstance(replicas, int) else None,
        declared=change.verb not in _NEVER_DECLARED and kind not in _RUNTIME and not _only_adds_marks(fields),
        only_replicas=bool(paths) and all(path == _REPLICAS for path in paths),
        patch=_patch(change, fields, step),
    )


def _only_adds_marks(fields: Sequence[FieldChange]) -> bool:
    """Whether it only adds labels or annotations that were not there: a manifest without them does not mind."""
    return bool(fields) and all(
        field.path[0] == "metadata" and field.path[1] in _META and _adds(field) for field in fields
    )


def _adds(field: FieldChange) -> bool:
    return field.before is MISSING and len(field.path) > _LOOKED_INTO


def _patch(change: Change, fields: Sequence[FieldChange], step: PlannedStep) -> str:
    """The change as a part of the object's manifest."""
    ref = change.ref
    if ref is None or not fields:
        return f"# {step.name}: {change.verb} {ref}: {change.summary}\n"
    meta = {"name": ref.name, **({"namespace": ref.namespace} if ref.namespace else {})}
    body: dict[str, Any] = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": meta}
    for field in fields:
        _put(body, field.path, None if field.after is MISSING else field.after)
    told: str = yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
    return told


def _put(body: dict[str, Any], path: Path, value: Any) -> None:
    """Put a value at a path; elements of lists are named by their key, as in a strategic merge patch."""
    here: Any = body
    for part, following in zip(path, (*path[1:], None), strict=True):
        last = following is None
        if isinstance(part, Item):
            here = _element(here, part, value if last else None)
        elif last:
            here[part] = value
        else:
            here = here.setdefault(part, [] if isinstance(following, Item) else {})


def _element(listed: list[Any], part: Item, value: Any) -> dict[str, Any]:
    found = next((one for one in listed if one.get(part.key) == part.value), None)
    if found is None:
        found = {part.key: part.value}
        listed.append(found)
    if isinstance(value, Mapping):
        found.update(value)
    return found
