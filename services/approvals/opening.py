"""Who counts as what when they answer, put together from the settings."""

from __future__ import annotations

from executor.ports import Clock, Http
from safety.access import Access
from services.access.identities import Directory
from services.approvals.schedules import load_schedules
from services.approvals.voters import Voters, from_file, together
from services.graph.connect import Graph
from services.graph.workflows import Neo4jDelegations
from services.json_calls import JsonCalls
from services.logs import masker
from services.pagerduty import OnCallNow
from services.settings import Settings


def open_voters(settings: Settings, graph: Graph, access: Access, http: Http, clock: Clock) -> Voters:
    """Who counts as what when they answer.

    Args:
        settings: checked already.
        graph: where delegations are.
        access: roles and assignments.
        http: outgoing HTTP, for schedules in PagerDuty.
        clock: for how long these are remembered.

    Raises:
        ConfigError: the file of on-call schedules cannot be used.
    """
    people = settings.access.people
    path = settings.approvals.on_call
    directory, duty = Directory(people), settings.pagerduty
    sources = [from_file(load_schedules(path, people))] if path else []
    if duty.schedules:
        token = duty.api_token.get_secret_value()
        masker.register(token)

        def person_of(address: str) -> str:
            found = directory.mail(address)
            return found.id if found else ""

        calls = JsonCalls(http, clock, tries=2, longest_pause=2.0, timeout_seconds=5.0)
        found = OnCallNow(calls, token, duty.schedules, person_of, clock, base_url=duty.api_url)
        sources.append(found.look)
    delegations = Neo4jDelegations(graph, settings.redis.prefix)
    return Voters(access, directory, together(*sources) if sources else None, delegations)
