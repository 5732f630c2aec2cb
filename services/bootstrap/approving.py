"""Approvals beside Slack, put together: over REST, by signed link, and what people are told in between."""

from __future__ import annotations

from starlette.routing import Route

from services.api.approvals import ApprovalsApi
from services.api.links import LinkPages
from services.bootstrap.noticing import link_keys
from services.bootstrap.parts import Parts
from services.bootstrap.pipeline import make_guard
from services.bootstrap.slack import make_answering
from services.graph.workflows import Neo4jUsedLinks
from services.logs import masker


def approval_routes(parts: Parts) -> list[Route]:
    """Approvals over HTTP, as far as anybody could prove who they are."""
    settings, answering, routes = parts.settings, make_answering(parts), []
    if settings.api.token is not None or parts.door.access.configured:
        api = ApprovalsApi(
            approvals=parts.approvals,
            executions=parts.executions,
            answering=answering,
            guard=make_guard(parts),
            max_body_bytes=settings.api.max_body_bytes,
        )
        routes += api.routes()
    if settings.approvals.links.base_url:
        pages = LinkPages(
            keys=link_keys(settings.approvals.links),
            used=Neo4jUsedLinks(parts.graph),
            approvals=parts.approvals,
            ledger=parts.ledger,
            answering=answering,
            directory=parts.directory,
            clock=parts.clock,
            redact=masker.text,
        )
        routes += pages.routes()
    return routes
