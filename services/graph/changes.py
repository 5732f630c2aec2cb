"""Which files are in force, in the graph: one node for each kind of them and installation."""

from __future__ import annotations

from collections.abc import Sequence

from safety.trail import SYSTEM, Entry
from services.audit.trail import Neo4jTrail, Teller
from services.changes.telling import FilesInForce, Known
from services.graph.connect import Graph, Row

_BETWEEN = " "


class Neo4jChanges:
    """Implements ``services.changes.telling.ChangeStore``.

    Args:
        scope: the installation, as its keys in Redis begin. Several may share a graph.
    """

    def __init__(self, graph: Graph, scope: str) -> None:
        self._graph = graph
        self._trail = Neo4jTrail(graph)
        self._scope = scope

    async def known(self, name: str, digest: str) -> Known:
        """See the port; one query."""
        rows = await self._graph.read("files_known", key=self._key(name), digest=digest)
        if not rows:
            return Known()
        pairs = [line.partition(_BETWEEN) for line in rows[0]["files"]]
        return Known(rows[0]["digest"], {file: sha for sha, _, file in pairs})

    async def note(self, files: FilesInForce, seen: str, told: Sequence[Entry]) -> bool:
        """See the port; note and entries are one transaction."""
        lines = [f"{sha}{_BETWEEN}{name}" for name, sha in sorted(files.hashes.items())]
        parameters = {"key": self._key(files.name), "seen": seen, "digest": files.digest, "files": lines}

        def tell(teller: Teller, results: list[list[Row]]) -> None:
            if results[0]:
                teller.tell(SYSTEM, *told)

        (rows,) = await self._trail.telling(("files_note", parameters), tell=tell)
        return bool(rows)

    def _key(self, name: str) -> str:
        return f"{self._scope}{name}"
