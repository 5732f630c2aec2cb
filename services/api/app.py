"""The HTTP application: health, metrics, and what is switched on of the receiver and the REST API."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.api import approvals, interactions
from services.api import receiver as alertmanager
from services.api.interactions import Interactions
from services.api.masking import MaskedAnswers
from services.api.receiver import Receiver
from services.api.runs import RunsApi, switched_off
from services.health import Health
from services.metrics import CONTENT_TYPE, Metrics


def create_app(
    health: Health,
    metrics: Metrics,
    receiver: Receiver | None = None,
    runs: RunsApi | None = None,
    slack: Interactions | None = None,
    *,
    more: Sequence[Route] = (),
) -> Starlette:
    """Build the application.

    Args:
        health: answers ``/healthz`` and ``/readyz``.
        metrics: the page at ``/metrics``.
        receiver: for Alertmanager; None when no token is set, then its path says so.
        runs: runbooks over REST; as the receiver.
        slack: clicks in Slack; None unless they come over HTTP, then its path says so.
        more: what else is switched on: approvals over REST, with ``runs``, and by signed link.
    """

    async def healthz(_: Request) -> Response:
        alive, detail = health.alive()
        return JSONResponse(detail, status_code=200 if alive else 503)

    async def readyz(_: Request) -> Response:
        readiness = await health.readiness()
        return JSONResponse(readiness.as_json(), status_code=200 if readiness.ready else 503)

    async def page(_: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    async def no_receiver(_: Request) -> Response:
        return JSONResponse({"error": "the receiver is off: set api.receiver_token"}, status_code=404)

    async def no_slack(_: Request) -> Response:
        return JSONResponse({"error": "Slack over HTTP is off: set slack.mode to http"}, status_code=404)

    return Starlette(
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Route("/metrics", page, methods=["GET"]),
            Route(alertmanager.PATH, receiver.__call__ if receiver else no_receiver, methods=["POST"]),
            Route(interactions.PATH, slack.__call__ if slack else no_slack, methods=["POST"]),
            *(runs.routes() if runs else switched_off(approvals.PATHS)),
            *more,
        ],
        middleware=[Middleware(MaskedAnswers)],
    )
