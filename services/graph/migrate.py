"""Brings the schema of the database up to this release."""

from __future__ import annotations

from cypher.loader import Migration, migrations, query
from services.graph.connect import Graph
from services.graph.errors import SchemaTooNew


async def pending(graph: Graph) -> tuple[Migration, ...]:
    """Migrations that this database has not seen.

    Raises:
        SchemaTooNew: the database has seen one that this release does not know.
    """
    known = migrations()
    seen = {row["version"] for row in await graph.read("schema_versions")}
    newest = max(seen, default=0)
    if newest > len(known):
        raise SchemaTooNew(
            f"the database is at schema {newest}, this release knows {len(known)}: use the release that migrated it"
        )
    return tuple(step for step in known if step.version not in seen)


async def migrate(graph: Graph) -> tuple[Migration, ...]:
    """Apply what is pending, in order; gives what was applied.

    Two processes may do this at once: every statement is written to be repeated (``IF NOT EXISTS``, ``MERGE``), and
    the record of a migration is one node. A crash in between leaves a migration unrecorded; it is then applied again.

    Raises:
        SchemaTooNew, GraphUnavailable, GraphRejected.
    """
    await graph.schema(query("schema_prepare"))
    steps = await pending(graph)
    for step in steps:
        for statement in step.statements:
            await graph.schema(statement)
        await graph.write(("schema_record", {"version": step.version, "name": step.name}))
    return steps
