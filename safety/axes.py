"""What executions are counted by: one table of axes, and the buckets of one execution on them.

A bucket is one value of an axis, such as the namespace ``shop``. Every bucket belongs to a tenant: none uses up what
another one may do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0

LONGEST_MEMORY_SECONDS = 30 * 24 * 3600
"""For so long the store knows what ran for which target."""

WINDOWS: Mapping[str, float] = {"minute": MINUTE, "hour": HOUR, "day": DAY}
"""The windows of the rates, in seconds."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One row of the table.

    Attributes:
        name: as in the names of checks and settings.
        words: follows "executions" in a refusal.
        memory_seconds: an execution is remembered for so long after it was permitted.
        live: what runs at the same time, and its blast radius, is kept as well. Of a target there is never more than
            one: its lock.
        rated: it has rates. Without them it only serves the question for a human.
    """

    name: str
    words: str
    memory_seconds: float = DAY
    live: bool = True
    rated: bool = True


AXES = (
    Axis("runbook", "of the runbook"),
    Axis("namespace", "in namespace {namespace}"),
    Axis("cluster", "in the cluster"),
    Axis("tenant", "of the tenant"),
    Axis("target", "for the target", LONGEST_MEMORY_SECONDS, live=False),
    Axis("repeat", "of the runbook for the target", LONGEST_MEMORY_SECONDS, live=False, rated=False),
)
"""In the order in which limits are compared. Those that are live stand first, as the scripts expect."""


def rate_check(axis: str, window: str) -> str:
    """The name of the check that refuses too many executions in a window."""
    return f"{axis}_rate" if window == "hour" else f"{axis}_rate_{window}"


def concurrent_check(axis: str) -> str:
    """The name of the check that refuses too many executions at the same time."""
    return "concurrent" if axis == "runbook" else f"{axis}_concurrent"


BLAST_IN_FLIGHT = "blast_in_flight"

RATE_CHECKS = tuple(rate_check(axis.name, window) for axis in AXES if axis.rated for window in WINDOWS)
CONCURRENT_CHECKS = tuple(concurrent_check(axis.name) for axis in AXES if axis.live)
LIMIT_CHECKS = frozenset({*RATE_CHECKS, *CONCURRENT_CHECKS, BLAST_IN_FLIGHT})
"""Checks that compare a count in the store; their no passes with time."""


def namespaces_of(cluster: str, target_key: str, written: Iterable[str]) -> tuple[str, ...]:
    """Every namespace that is written to, or that the target is in or is, in order.

    Args:
        cluster: of the target.
        target_key: ``cluster/namespace/kind/name``; a cluster's name may hold slashes.
        written: namespaces that the plan writes to; empty text for objects of the cluster.
    """
    return _namespaces(cluster, target_key, tuple(written))


@lru_cache(maxsize=1024)
def _namespaces(cluster: str, target_key: str, written: tuple[str, ...]) -> tuple[str, ...]:
    """Remembered, because several checks ask the same of each question."""
    namespace, _, rest = target_key.removeprefix(f"{cluster}/").partition("/")
    kind, _, name = rest.partition("/")
    found = {*written, namespace, name if kind == "Namespace" else ""}
    return tuple(sorted({each.strip().lower() for each in found} - {""}))


@dataclass(frozen=True, slots=True)
class Place:
    """Where an execution is counted, beside its target.

    Attributes:
        namespaces: from ``namespaces_of``.
    """

    tenant: str
    cluster: str
    runbook: str
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bucket:
    """One value of an axis.

    Attributes:
        names: what tells it from the others of its axis and tenant.
    """

    axis: Axis
    names: tuple[str, ...]

    @property
    def facts(self) -> tuple[str, ...]:
        """Name and value of what a refusal adds to its numbers: only where an execution has several buckets."""
        return ("namespace", self.names[1]) if self.axis.name == "namespace" else ()


def buckets_of(place: Place, target_key: str) -> tuple[Bucket, ...]:
    """The buckets of an execution, in the order of ``AXES``."""
    names: Mapping[str, list[tuple[str, ...]]] = {
        "runbook": [(place.runbook,)],
        "namespace": [(place.cluster, namespace) for namespace in place.namespaces],
        "cluster": [(place.cluster,)],
        "tenant": [()],
        "target": [(target_key,)],
        "repeat": [(place.runbook, target_key)],
    }
    return tuple(Bucket(axis, name) for axis in AXES for name in names[axis.name])
