"""How KGroot names a resource: one object can have several nodes, which are one to us."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from matcher.kinds import canonical_kind
from matcher.model import Subject


class Named(Protocol):
    """What identifies a Kubernetes object: ``Subject`` and ``ObjectRef`` both do."""

    @property
    def kind(self) -> str:
        """Its kind."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def namespace(self) -> str:
        """Its namespace, or empty."""
        ...

    @property
    def uid(self) -> str:
        """Its uid, or empty when unknown."""
        ...


def rids(subject: Named) -> tuple[str, ...]:
    """Every ``rid`` under which the graph may know an object, lower case.

    Events name it by uid, topology by namespace and name; objects without a namespace are written as ``node::name`` or
    ``node:name``.
    """
    kind = canonical_kind(subject.kind).lower()
    names = [f"{kind}:{subject.uid}"] if subject.uid else []
    if subject.name and subject.namespace:
        names.append(f"{kind}:{subject.namespace}:{subject.name}")
    elif subject.name:
        names += [f"{kind}::{subject.name}", f"{kind}:{subject.name}"]
    return tuple(dict.fromkeys(name.lower() for name in names if kind))


def subject_of(row: Mapping[str, Any]) -> Subject:
    """The subject that a Resource's properties (kind, ns, name, uid) describe; the rid fills what is missing."""
    parts = str(row.get("rid") or "").split(":")
    kind, namespace, name, uid = parts[0], "", "", ""
    match parts[1:]:
        case [only] if _has_no_namespace(kind):
            name = only
        case [only]:
            uid = only
        case [namespace, name]:
            pass
    known_name = str(row.get("name") or "") or name
    known_uid = str(row.get("uid") or "") or uid
    return Subject(
        kind=canonical_kind(str(row.get("kind") or kind)),
        name=known_name,
        namespace=str(row.get("ns") or "") or namespace,
        # `node:worker-1` is a name in the place of a uid, and KGroot stores it as one.
        uid="" if known_uid == known_name else known_uid,
    )


def _has_no_namespace(kind: str) -> bool:
    return canonical_kind(kind) in {"Node", "Namespace", "PersistentVolume"}


def merged(subjects: Iterable[Subject]) -> tuple[Subject, ...]:
    """Subjects that are one object become one, with everything that any of them knows; order of first sight."""
    found: list[Subject] = []
    for subject in subjects:
        place = next((n for n, other in enumerate(found) if same(subject, other)), None)
        if place is None:
            found.append(subject)
        else:
            found[place] = _together(found[place], subject)
    return tuple(found)


def same(one: Subject, other: Subject) -> bool:
    """Whether two subjects are one object, as far as both say."""
    if one.kind != other.kind:
        return False
    if one.uid and other.uid:
        return one.uid == other.uid
    return bool(one.name) and (one.namespace, one.name) == (other.namespace, other.name)


def _together(one: Subject, other: Subject) -> Subject:
    return Subject(
        kind=one.kind,
        name=one.name or other.name,
        namespace=one.namespace or other.namespace,
        uid=one.uid or other.uid,
    )


def best(subjects: Sequence[Subject]) -> Subject:
    """The one that says most: named before nameless, with uid before without. An empty one for none."""
    return max(
        merged(subjects),
        key=lambda s: (bool(s.name), bool(s.uid), bool(s.namespace)),
        default=Subject(kind="", name=""),
    )
