"""How many working pods a change ends at the same time, and which disruption budgets guard them. Pure functions.

Pods that do not work are not disrupted by being replaced: that is what remediation is for, and why the API server can
let unhealthy pods be evicted whatever their budget says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from safety.surroundings import Budget, Write

Item = Mapping[str, Any]

ROLLING = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})
"""Kinds whose pods a budget guards."""


def lost(write: Write, item: Item) -> int:
    """Most working pods of a workload that a change ends at the same time.

    Args:
        write: the change.
        item: the live workload.
    """
    wanted, available = replicas_of(item), available_of(item)
    if write.verb == "delete":
        return available
    found = 0
    if write.replicas is not None:
        found = max(0, available - write.replicas)
    if write.rolls:
        found = max(found, min(available, wanted) - (wanted - _at_once(item, wanted)))
    return min(found, available)


def replicas_of(item: Item) -> int:
    """Pods that a workload wants."""
    status, spec = item.get("status") or {}, item.get("spec") or {}
    if item.get("kind") == "DaemonSet":
        return int(status.get("desiredNumberScheduled") or 0)
    return 1 if spec.get("replicas") is None else int(spec["replicas"])


def available_of(item: Item) -> int:
    """Pods of a workload that work."""
    status = item.get("status") or {}
    key = "numberAvailable" if item.get("kind") == "DaemonSet" else "availableReplicas"
    return int(status.get(key) or 0)


def _at_once(item: Item, wanted: int) -> int:
    """How many pods the rollout of a workload may take away before their successors are there."""
    spec = item.get("spec") or {}
    strategy = spec.get("strategy") if item.get("kind") == "Deployment" else spec.get("updateStrategy")
    strategy = strategy or {}
    kind = strategy.get("type") or "RollingUpdate"
    if kind == "Recreate":
        return wanted
    if kind == "OnDelete":
        return 0
    rolling = strategy.get("rollingUpdate") or {}
    if item.get("kind") != "Deployment":
        return max(1, _part(rolling.get("maxUnavailable", 1), wanted, up=True))
    away = _part(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    surge = _part(rolling.get("maxSurge", "25%"), wanted, up=True)
    # When both come to nothing the controller takes one away, or it could never begin.
    return away if away or surge else 1


def _part(value: Any, whole: int, *, up: bool) -> int:
    if isinstance(value, str) and value.endswith("%"):
        share = whole * float(value[:-1]) / 100
        return math.ceil(share) if up else math.floor(share)
    return int(value or 0)


def works(pod: Item) -> bool:
    """Whether a pod is ready and not on its way out."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    leaving = (pod.get("metadata") or {}).get("deletionTimestamp")
    return not leaving and any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def guards(budget: Item, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether a PodDisruptionBudget selects pods with these labels. An empty selector selects all of its namespace."""
    if (budget.get("metadata") or {}).get("namespace") != namespace:
        return False
    selector = (budget.get("spec") or {}).get("selector")
    return selector is not None and selects(selector, labels)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression(rule, labels) for rule in selector.get("matchExpressions") or ())


def _expression(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = rule.get("key", ""), rule.get("values") or ()
    return {
        "In": key in labels and labels[key] in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }.get(str(rule.get("operator")), False)


def budgets_for(
    budgets: Iterable[Item], pods: Sequence[tuple[str, Mapping[str, str], int]], evicted: Sequence[Item] = ()
) -> tuple[Budget, ...]:
    """The budgets that a plan needs, each with everything that the plan takes from it.

    Args:
        budgets: PodDisruptionBudgets of the namespaces.
        pods: namespace and labels of pods, with how many of them are ended at the same time.
        evicted: pods that are evicted. Evictions ask the budget themselves, one after the other, so that they need
            one disruption and never take more.
    """
    found = []
    for budget in budgets:
        needed = sum(count for namespace, labels, count in pods if guards(budget, namespace, labels))
        moved = any(works(pod) and guards(budget, _namespace(pod), _labels(pod)) for pod in evicted)
        if needed or moved:
            meta = budget.get("metadata") or {}
            found.append(Budget(f"{meta.get('namespace', '')}/{meta.get('name', '')}", allowed(budget), needed + moved))
    return tuple(found)


def allowed(budget: Item) -> int | None:
    """Disruptions that a budget allows now; None while its controller has not looked at its present form."""
    status, meta = budget.get("status") or {}, budget.get("metadata") or {}
    known = status.get("disruptionsAllowed")
    if known is None or status.get("observedGeneration", 0) < meta.get("generation", 0):
        return None
    return int(known)


def _namespace(item: Item) -> str:
    return str((item.get("metadata") or {}).get("namespace", ""))


def _labels(item: Item) -> Mapping[str, str]:
    return (item.get("metadata") or {}).get("labels") or {}
