"""Who counts as what when they answer, put together from the settings."""

from __future__ import annotations

from safety.access import Access
from services.access.identities import Directory
from services.approvals.schedules import load_schedules
from services.approvals.voters import Voters, from_file
from services.graph.connect import Graph
from services.graph.workflows import Neo4jDelegations
from services.settings import Settings


def open_voters(settings: Settings, graph: Graph, access: Access) -> Voters:
    """Who counts as what when they answer.

    Raises:
        ConfigError: the file of on-call schedules cannot be used.
    """
    people = settings.access.people
    path = settings.approvals.on_call
    schedules = load_schedules(path, people)
    delegations = Neo4jDelegations(graph, settings.redis.prefix)
    return Voters(access, Directory(people), from_file(schedules) if path else None, delegations)
