"""How many resources depend on what a plan touches, as KGroot's graph counts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any

from matcher.kinds import canonical_kind
from matcher.model import Subject
from services.graph.connect import Graph, Row
from services.graph.grouping import Grouped
from services.graph.identity import Named, merged, rids, subject_of
from services.graph.values import moment

WATCHED = frozenset({"Pod", "Service", "Deployment", "ReplicaSet", "DaemonSet", "Job", "CronJob", "Node"})
"""Kinds whose topology KGroot writes."""
CARRIERS = WATCHED | {"StatefulSet", "ReplicationController"}
"""Kinds that others depend on. Anything else (a ConfigMap, an autoscaler) counts as the one thing that it is."""
_COUNTED = frozenset({"Pod", "Service"})


class UnknownTarget(StrEnum):
    """What to do about an object that the graph does not know: it may be new, or the graph may be blind."""

    REFUSE = "refuse"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class BlastCount:
    """The graph's count. ``count`` is None when it cannot say; ``reason`` then tells why, for people.

    Attributes:
        age_seconds: since the graph was brought up to date about the least recent of the objects; None when it has no
            date for one of them.
    """

    count: int | None
    reason: str = ""
    age_seconds: float | None = None


class Neo4jBlastRadius:
    """Counts pods and services behind the touched objects; a ReplicaSet in between is no resource of its own.

    Args:
        default_tenant: nodes of KGroot without ``client_id`` are this tenant's.
        unknown_target: ``refuse`` gives no count; ``live`` counts the object as one and leaves the rest to the
            count of the live cluster.
        stale_after: a known object whose newest node was not updated for longer gives no count; None: no limit.
    """

    def __init__(
        self,
        graph: Graph,
        default_tenant: str,
        unknown_target: UnknownTarget = UnknownTarget.REFUSE,
        stale_after: timedelta | None = None,
    ) -> None:
        self._graph = graph
        self._default_tenant = default_tenant
        self._unknown_target = unknown_target
        self._stale_after = stale_after
        self._group: Grouped[Sequence[Row], list[Row]] = Grouped(self._ask, name="blast radius", at_once=2)

    async def count(self, touched: Sequence[Named | str], tenant: str, cluster: str = "") -> BlastCount:
        """Count what depends on these objects, each resource once.

        Args:
            touched: objects, or their texts as in ``Plan.touched`` (``Kind/namespace/name``, ``Kind/name``).
            tenant: whose nodes count.
            cluster: nodes of another cluster are left out; empty for any.

        Raises:
            GraphUnavailable, GraphRejected.
        """
        subjects = merged(_subject(one) for one in touched)
        if not subjects:
            return BlastCount(None, "nothing was named")
        asked = [subject for subject in subjects if subject.kind in CARRIERS]
        rows = await self._rows(asked, tenant, cluster)
        alone = [subject for subject in subjects if subject.kind not in CARRIERS]
        counted: list[Subject] = [*alone]
        for subject, row in zip(asked, rows, strict=True):
            if problem := self._problem(subject, row):
                return BlastCount(None, problem)
            counted += _affected(subject, row)
        ages = [_age(row) for row in rows if row["found"]]
        age = None if None in ages else max((age for age in ages if age is not None), default=0.0)
        unknown = [_text(subject) for subject, row in zip(asked, rows, strict=True) if not row["found"]]
        note = f"the graph does not know {', '.join(unknown)}: counted as one each" if unknown else ""
        return BlastCount(len(merged(counted)), note, age)

    async def edges(self, touched: Sequence[str], tenant: str, cluster: str = "") -> Sequence[tuple[str, str, str]]:
        """How the graph ties others to these objects: the object, the kind of edge, and what hangs on it.

        Raises:
            GraphUnavailable, GraphRejected.
        """
        rows = await self._graph.read(
            "blast_edges",
            touched=[{"n": number, "rids": list(rids(_subject(one)))} for number, one in enumerate(touched)],
            tenant=tenant,
            untagged=tenant == self._default_tenant,
            cluster=cluster,
        )
        found = [(touched[row["n"]], str(row["how"]), _text(subject_of(row))) for row in rows]
        return [edge for edge in dict.fromkeys(found) if edge[2]]

    async def _rows(self, asked: Sequence[Subject], tenant: str, cluster: str) -> list[Row]:
        if not asked:
            return []
        shared = {"tenant": tenant, "untagged": tenant == self._default_tenant, "cluster": cluster}
        return await self._group.ask([{"rids": list(rids(subject)), **shared} for subject in asked])

    async def _ask(self, questions: Sequence[Sequence[Row]]) -> list[list[Row]]:
        """The rows of each question, one for each resource in its order; one query."""
        flat = [one for question in questions for one in question]
        touched = [{"n": number, **one} for number, one in enumerate(flat)]
        rows = iter(sorted(await self._graph.read("blast_radius", touched=touched), key=lambda row: int(row["n"])))
        return [list(islice(rows, len(question))) for question in questions]

    def _problem(self, subject: Subject, row: Mapping[str, Any]) -> str:
        """Why the graph cannot say how much depends on a subject; empty when it can."""
        if not row["found"]:
            refused = self._unknown_target is UnknownTarget.REFUSE
            return f"the graph does not know {_text(subject)}" if refused else ""
        if self._stale_after is None:
            return ""
        newest = max((seen for node in row["found"] if (seen := moment(node["updated_at"]))), default=None)
        if newest is None or datetime.now(UTC) - newest > self._stale_after:
            return f"the graph was not updated about {_text(subject)} since {newest or 'ever'}"
        return ""


def _age(row: Mapping[str, Any]) -> float | None:
    """Seconds since the newest date of an object's own nodes, or, where it has none, of what depends on it.

    KGroot sends each object that it watches again every 30 seconds. Kinds that it does not watch are known through
    their pods.
    """
    for nodes in (row["found"], row["dependants"]):
        if newest := max((seen for node in nodes if (seen := moment(node["updated_at"]))), default=None):
            return max(0.0, (datetime.now(UTC) - newest).total_seconds())
    return None


def _affected(subject: Subject, row: Mapping[str, Any]) -> list[Subject]:
    """The pods and services behind a subject; itself when it is one of them, a node, or has no pods."""
    below = [found for node in row["dependants"] if (found := subject_of(node)).kind in _COUNTED]
    has_pods = any(found.kind == "Pod" for found in below)
    itself = [] if has_pods and subject.kind != "Node" else [subject]
    return [*itself, *below]


def _subject(one: Named | str) -> Subject:
    if isinstance(one, str):
        kind, *rest = one.split("/")
        return Subject(canonical_kind(kind), rest[-1] if rest else "", rest[0] if len(rest) > 1 else "")
    return Subject(canonical_kind(one.kind), one.name, one.namespace, one.uid)


def _text(subject: Subject) -> str:
    return "/".join(part for part in (subject.kind, subject.namespace, subject.name) if part)
