"""From what a runbook needs to the Roles and bindings that grant exactly this."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from executor.rights import Need
from services.rbac.builtin import resource_of

_API = "rbac.authorization.k8s.io"
_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")
_LONGEST = 63


@dataclass(frozen=True, slots=True)
class Rule:
    """Verbs on one resource.

    Attributes:
        resource: plural, with its subresource: ``pods/log``.
        namespace: empty for all of them, and for objects of the cluster.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom the rights are given.

    Attributes:
        namespace: of a service account; empty for a user.
    """

    name: str
    namespace: str = ""

    def body(self) -> dict[str, str]:
        """As in a binding."""
        if self.namespace:
            return {"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}
        return {"kind": "User", "apiGroup": _API, "name": self.name}


def rules_of(needs: Iterable[Need], namespaces: Sequence[str]) -> tuple[Rule, ...]:
    """The rules that grant some needs, in a fixed order.

    Args:
        needs: each one verb.
        namespaces: of the incidents that the runbook is for; none for all.

    Raises:
        Invalid: a kind is not known.
    """
    verbs: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for need in needs:
        resource = resource_of(need.kind)
        name = f"{resource.plural}/{need.subresource}" if need.subresource else resource.plural
        places: Sequence[str] = [need.namespace] if need.namespace else list(namespaces) or [""]
        if need.everywhere or not resource.namespaced:
            places = [""]
        for place in places:
            verbs[place, resource.group, name].add(need.verb)
    # What is granted everywhere need not be granted once more in one place.
    left = {key: found - verbs.get(("", *key[1:]), set()) if key[0] else found for key, found in verbs.items()}
    return tuple(
        Rule(group, name, tuple(sorted(found, key=_VERBS.index)), place)
        for (place, group, name), found in sorted(left.items())
        if found
    )


def documents(rules: Sequence[Rule], runbook_id: str, subject: Subject) -> list[dict[str, Any]]:
    """Roles with their bindings, as manifests: one pair for each namespace, and one for the cluster."""
    name = _name(runbook_id)
    places: dict[str, list[Rule]] = defaultdict(list)
    for rule in rules:
        places[rule.namespace].append(rule)
    found: list[dict[str, Any]] = []
    for place, own in sorted(places.items()):
        role, binding = ("Role", "RoleBinding") if place else ("ClusterRole", "ClusterRoleBinding")
        meta = {"name": name, **({"namespace": place} if place else {}), "labels": _labels(runbook_id)}
        reference = {"apiGroup": _API, "kind": role, "name": name}
        found += [
            {"apiVersion": f"{_API}/v1", "kind": role, "metadata": meta, "rules": [_body(rule) for rule in own]},
            {
                "apiVersion": f"{_API}/v1",
                "kind": binding,
                "metadata": meta,
                "roleRef": reference,
                "subjects": [subject.body()],
            },
        ]
    return found


def _body(rule: Rule) -> Mapping[str, list[str]]:
    return {"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)}


def _labels(runbook_id: str) -> dict[str, str]:
    return {"app.kubernetes.io/part-of": "rootmend", "rootmend.dev/runbook": runbook_id[:_LONGEST].rstrip("._-")}


def _name(runbook_id: str) -> str:
    """Names of Roles may hold nearly everything; those of bindings are kept as plain as other names."""
    return f"rootmend-{runbook_id.lower().replace('_', '-')}"
