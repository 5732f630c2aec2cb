"""Where an execution acts, and the scopes that are compared with it: what a pause covers, what a storm stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote, unquote


@dataclass(frozen=True, slots=True)
class Where:
    """Where an execution acts.

    Attributes:
        namespaces: every namespace that it writes to, or that its target is in or is.
        target_key: the target with its cluster in front, ``prod/shop/Deployment/cart``.
        reason: of the root cause; empty where it is not known.
    """

    tenant: str
    cluster: str
    runbook: str
    target_key: str
    namespaces: tuple[str, ...] = ()
    reason: str = ""

    @property
    def target(self) -> str:
        """The target without its cluster: ``shop/Deployment/cart``."""
        return self.target_key.removeprefix(f"{self.cluster}/")


@dataclass(frozen=True, slots=True)
class PauseScope:
    """What a pause covers: whatever matches every part that is given. Without any part it covers everything.

    Attributes:
        target: namespace, kind and name with slashes between, ``shop/Deployment/cart``; no namespace for objects of
            the cluster, ``/Node/worker-1``.
    """

    tenant: str = ""
    cluster: str = ""
    namespace: str = ""
    runbook: str = ""
    target: str = ""

    @property
    def parts(self) -> Mapping[str, str]:
        """The parts that are given, by name."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name))}

    @property
    def key(self) -> str:
        """One text for one scope: ``cluster=prod,namespace=shop``; empty for everything."""
        return ",".join(f"{name}={quote(value, safe='/.-_@:')}" for name, value in self.parts.items())

    @classmethod
    def of(cls, key: str) -> PauseScope:
        """The scope of a key.

        Raises:
            ValueError: a part that does not exist.
        """
        pairs = [part.partition("=") for part in key.split(",") if part]
        known = {each.name for each in fields(cls)}
        if wrong := [name for name, _, _ in pairs if name not in known]:
            raise ValueError(f"a pause knows no {wrong[0]}; it knows {', '.join(sorted(known))}")
        return cls(**{name: unquote(value) for name, _, value in pairs})

    def covers(self, where: Where) -> bool:
        """Whether an execution there is paused."""
        own = {"tenant": where.tenant, "cluster": where.cluster, "runbook": where.runbook, "target": where.target}
        return all(
            value in where.namespaces if name == "namespace" else own[name] == value
            for name, value in self.parts.items()
        )

    def __str__(self) -> str:
        return " of ".join(f"{name} {value}" for name, value in reversed(list(self.parts.items()))) or "automation"


EVERYTHING = PauseScope()
"""The global brake."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that somebody ordered.

    Attributes:
        at: when; None where it was not kept.
        until: it ends by itself then; None for not before somebody lifts it.
    """

    by: str
    reason: str
    scope: PauseScope = EVERYTHING
    at: datetime | None = None
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it is still in force."""
        return self.until is None or now < self.until

    def __str__(self) -> str:
        what = "paused" if self.scope == EVERYTHING else f"{self.scope} is paused"
        ends = f" (until {self.until:%Y-%m-%d %H:%M:%S} UTC)" if self.until else ""
        return f"{what} by {self.by}: {self.reason}{ends}"


class Axis(StrEnum):
    """What a storm is counted, and stopped, by."""

    REASON = "reason"
    RUNBOOK = "runbook"
    NAMESPACE = "namespace"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, order=True)
class StormScope:
    """What a storm stops.

    Attributes:
        name: ``prod`` for a cluster, ``prod/shop`` for a namespace of it, ``prod/OOMKilled`` for a reason there; a
            runbook is stopped in every cluster of its tenant.
    """

    tenant: str
    axis: Axis
    name: str

    @property
    def key(self) -> str:
        """Axis and name: ``namespace:prod/shop``."""
        return f"{self.axis}:{self.name}"

    @classmethod
    def of(cls, tenant: str, key: str) -> StormScope:
        """The scope of a key.

        Raises:
            ValueError: it does not begin with an axis.
        """
        axis, colon, name = key.partition(":")
        if not colon or axis not in [str(each) for each in Axis] or not name:
            raise ValueError(f"{key!r} is no scope: one begins with {', '.join(f'{each}:' for each in Axis)}")
        return cls(tenant, Axis(axis), name)

    def __str__(self) -> str:
        cluster, slash, name = self.name.rpartition("/")
        if slash and self.axis in (Axis.REASON, Axis.NAMESPACE):
            return f"{self.axis} {name} in cluster {cluster}"
        return f"{self.axis} {self.name}"


def storm_scopes(where: Where) -> tuple[StormScope, ...]:
    """Every scope that an execution there is in."""
    found = [(Axis.CLUSTER, where.cluster)]
    found += [(Axis.NAMESPACE, f"{where.cluster}/{namespace}") for namespace in sorted(where.namespaces)]
    found += [(Axis.RUNBOOK, where.runbook)] if where.runbook else []
    found += [(Axis.REASON, f"{where.cluster}/{where.reason}")] if where.reason else []
    return tuple(StormScope(where.tenant, axis, name) for axis, name in found)
