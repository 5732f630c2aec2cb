"""Takes what Slack sends over HTTP: clicks on buttons, and dialogs (``slack.mode: http``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from services.access.denials import NOBODY, Denials, Try
from services.api.guard import Refused, bounded_body
from services.slack.clicks import Clicks, claimed
from services.slack.signed import NotFromSlack, Signatures
from services.slack.surface import NAME

log = structlog.get_logger(__name__)

PATH = "/slack/interactions"
_FORM = "application/x-www-form-urlencoded"
_MOST_BYTES = 512_000
"""A click brings the whole message along, which Slack keeps well below this."""


class Interactions:
    """The endpoint.

    Args:
        signatures: says which requests are Slack's.
        clicks: carries them out.
        denials: told of requests that are forged, late or taken before; None where nobody is.
    """

    def __init__(self, signatures: Signatures, clicks: Clicks, denials: Denials | None = None) -> None:
        self._signatures = signatures
        self._clicks = clicks
        self._denials = denials

    async def __call__(self, request: Request) -> Response:
        """200 when it is taken, within the 3 s that Slack waits; 400, 401, 408, 413, 415 or 503 when it is not."""
        try:
            _room(self._clicks)
            body = await bounded_body(request, _MOST_BYTES, _FORM)
            await self._check(body, request)
            reply = await self._clicks.take(_payload(body))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except NotFromSlack as error:
            log.warning("slack.refused", why=str(error))
            return JSONResponse({"error": str(error)}, status_code=401)
        except Refused as refused:
            log.warning("slack.refused", status=refused.status, why=refused.reason)
            return JSONResponse({"error": refused.reason}, status_code=refused.status, headers=refused.headers)
        return JSONResponse(dict(reply)) if reply else Response(status_code=200)

    async def _check(self, body: bytes, request: Request) -> None:
        try:
            await self._signatures.check(body, request.headers)
        except NotFromSlack as error:
            if self._denials is not None:
                await self._denials.tell(_forged(body, request, str(error)))
            raise


def _forged(body: bytes, request: Request, why: str) -> Try:
    """Who sent it, and what it claims; none of that was proven."""
    try:
        action, facts = claimed(_payload(body))
    except Refused:
        action, facts = "", {}
    address = request.client.host if request.client else ""
    return Try(f"{NAME} {action}".strip(), NOBODY, why, {"address": address, **facts})


def _room(clicks: Clicks) -> None:
    """Refuse early what could not be carried out."""
    if clicks.busy:
        raise Refused(503, "too much is under way")


def _payload(body: bytes) -> Mapping[str, Any]:
    try:
        values = parse_qs(body.decode(), strict_parsing=True, max_num_fields=10)
        payload: Any = orjson.loads(values["payload"][0])
    except (UnicodeDecodeError, ValueError, KeyError) as error:
        raise Refused(400, "not an interaction of Slack: the form field 'payload' must be JSON") from error
    if not isinstance(payload, Mapping):
        raise Refused(400, "not an interaction of Slack: 'payload' must be an object")
    return payload
