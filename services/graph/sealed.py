"""Wrapping what the graph keeps encrypted with the active key, after a rotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.graph.connect import Graph
from services.sealing import KeyRing, SealError

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What came of a rotation.

    Attributes:
        changed: nodes that the active key opens now.
        problems: what could not be opened, and why; it stays as it is.
    """

    changed: int
    problems: tuple[str, ...]


async def rewrap(graph: Graph, ring: KeyRing) -> Rewrapped:
    """Wrap everything with the active key; may be repeated at any time, also while the pipeline runs.

    Args:
        graph: with the envelopes.
        ring: with the old keys, too.

    Raises:
        GraphUnavailable: the graph does not answer; what was done stays done.
    """
    changed, after = 0, ""
    problems: list[str] = []
    while rows := await graph.read("sealed_page", active=ring.active, after=after, limit=_PAGE):
        after = rows[-1]["id"]
        ready = []
        for row in rows:
            try:
                ready.append(_again(row, ring))
            except SealError as error:
                problems.append(str(error))
        (done,) = await graph.write(("sealed_rewrap", {"rows": ready, "active": ring.active}))
        changed += len(done)
    return Rewrapped(changed, tuple(problems))


def _again(row: Mapping[str, Any], ring: KeyRing) -> dict[str, Any]:
    def wrapped(name: str) -> str | None:
        return None if row[name] is None else ring.rewrap(row[name], f"{name} of {row['id']}")

    return {
        "id": row["id"],
        "plan": wrapped("plan"),
        "before": wrapped("before"),
        "old_plan": row["plan"],
        "old_before": row["before"],
    }
