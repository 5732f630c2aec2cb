"""What surrounds the objects that a plan touches, as values: vetoes, owners, disruption budgets, freezes.

The reading is done elsewhere. A part that is None could not be read, and that is a no (invariant 6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DISABLED = "rootmend.dev/disabled"
"""A label or annotation that keeps automation away: ``true``, or the reason."""

_OFF = frozenset({"", "false", "no", "off", "0"})


@dataclass(frozen=True, slots=True)
class Write:
    """One change that a plan makes of an object of the cluster, as far as the gate cares.

    Attributes:
        resource: as in ``Plan.touched``: ``Kind/namespace/name`` or ``Kind/name``.
        verb: what is done, as in ``Change.verb``; ``unknown`` when it is known only in its turn.
        rolls: the pods of the workload are replaced by its rollout.
        replicas: how many are wanted afterwards; None when that does not change.
        declared: it alters what a manifest says, so that whoever keeps the manifest puts it back.
        only_replicas: nothing but the number of replicas changes.
        patch: the change as text, for a pull request.
    """

    resource: str
    verb: str
    rolls: bool = False
    replicas: int | None = None
    declared: bool = True
    only_replicas: bool = False
    patch: str = ""

    @property
    def disrupts(self) -> bool:
        """Whether it can end pods that work."""
        return self.rolls or self.replicas is not None or self.verb in ("delete", "evict")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a plan does to the cluster, as the gate looks at it.

    Attributes:
        target: what the plan is for; it may be what protects the rest.
        resources: everything that the plan touches.
        namespaces: where it writes; an empty name for objects of the cluster.
    """

    target: str
    resources: tuple[str, ...]
    namespaces: tuple[str, ...]
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class Disabled:
    """An object whose owner keeps automation away.

    Attributes:
        resource: the object that carries the mark.
        reason: the mark's value, unless it only says yes.
    """

    resource: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Managed:
    """A change of an object that is kept from somewhere else.

    Attributes:
        tool: ``Argo CD``, ``Flux`` or ``Helm``.
        owner: its application, kustomization or release.
        reverted: the tool puts the change back by itself; otherwise it does with the next release.
        patch: the change as text, for a pull request.
    """

    resource: str
    tool: str
    owner: str
    reverted: bool
    patch: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """A disruption budget that the plan needs.

    Attributes:
        name: ``namespace/name``.
        allowed: disruptions that it allows now; None when its controller has not said so for its present form.
        disruptions: pods that work and that the plan ends at the same time.
    """

    name: str
    allowed: int | None
    disruptions: int


@dataclass(frozen=True, slots=True)
class Frozen:
    """A freeze that is in force.

    Attributes:
        until: when it ends, RFC 3339; empty when nobody can say.
        source: ``settings``, or the calendar it is from.
        unreadable: why its calendar cannot be read; then nobody knows whether there is a freeze.
    """

    name: str
    until: str = ""
    reason: str = ""
    source: str = "settings"
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Around:
    """What surrounds a plan. None: it could not be read.

    Attributes:
        workload_percent: largest share, in percent, of the pods of one workload that are down at the same time.
        unwell: why the target did not look well; empty when it did, or when nobody can say.
        problems: what kept a part from being read, by its name.
    """

    disabled: tuple[Disabled, ...] | None = None
    managed: tuple[Managed, ...] | None = None
    budgets: tuple[Budget, ...] | None = None
    frozen: tuple[Frozen, ...] | None = None
    workload_percent: float | None = None
    unwell: str = ""
    problems: Mapping[str, str] | None = None

    def why(self, part: str) -> str:
        """What kept a part from being read; empty when nobody said."""
        return (self.problems or {}).get(part, "")


UNREAD = Around()
"""Nothing was read yet."""

CLEAR = Around(disabled=(), managed=(), budgets=(), frozen=(), workload_percent=0.0)
"""Everything was read, and nothing stands in the way."""


def veto(resource: str, metadata: Mapping[str, object]) -> Disabled | None:
    """What an object's label or annotation says about automation.

    Args:
        resource: its name, for people.
        metadata: the live object's.
    """
    for part in ("annotations", "labels"):
        found = metadata.get(part)
        value = str(found.get(DISABLED, "")).strip() if isinstance(found, Mapping) else ""
        if value.lower() not in _OFF:
            return Disabled(resource, "" if value.lower() in ("true", "yes", "on", "1") else value)
    return None
