"""Takes webhooks of Alertmanager and puts them on Kafka, byte for byte.

Alertmanager repeats what was not answered with success, so the answer is given only when Kafka has acknowledged the
message: an alert is either on the topic or still Alertmanager's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from services.api.guard import Guard, Refused, json_body
from services.kafka.errors import BusUnavailable, TooLarge
from services.kafka.model import Outbound, Publisher

log = structlog.get_logger(__name__)

PATH = "/api/v1/alertmanager"
ENTRY = f"POST {PATH}"


@dataclass(frozen=True, slots=True)
class Webhook:
    """What of a body is needed to put it on Kafka: the key that keeps a group's messages in order."""

    key: str
    alerts: int


def read_webhook(body: bytes) -> Webhook:
    """Check the shape of a webhook body, so that mistakes are told to their sender and not to the DLQ.

    Raises:
        Refused: with 400; the body is no webhook of Alertmanager.
    """
    try:
        data: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"not JSON: {error}") from error
    alerts = data.get("alerts") if isinstance(data, Mapping) else None
    if not isinstance(alerts, list) or not alerts:
        raise Refused(400, "not a webhook of Alertmanager: 'alerts' must be a list of at least one alert")
    for index, alert in enumerate(alerts):
        if not isinstance(alert, Mapping) or not isinstance(alert.get("labels"), Mapping):
            raise Refused(400, f"not a webhook of Alertmanager: alerts[{index}] has no labels")
        if alert.get("status") not in {"firing", "resolved"}:
            raise Refused(400, f"not a webhook of Alertmanager: alerts[{index}].status is neither firing nor resolved")
    group = data.get("groupKey")
    return Webhook(group if isinstance(group, str) and group else "alertmanager", len(alerts))


class Receiver:
    """The endpoint.

    Args:
        publisher: returns when Kafka has acknowledged.
        topic: where webhooks go.
        guard: knows who may send alerts.
        max_body_bytes: a larger body is refused.
        produce_timeout_seconds: longest wait for Kafka before the answer is 503.
    """

    def __init__(
        self,
        publisher: Publisher,
        topic: str,
        guard: Guard,
        *,
        max_body_bytes: int = 900_000,
        produce_timeout_seconds: float = 8.0,
    ) -> None:
        self._publisher = publisher
        self._topic = topic
        self._guard = guard
        self._limit = max_body_bytes
        self._timeout = produce_timeout_seconds

    async def __call__(self, request: Request) -> Response:
        """202 when Kafka has it; 401, 403, 408, 413, 415 or 400 when it is not taken; 503 when it cannot be now."""
        try:
            await self._guard.enter(request, ENTRY)
            body = await json_body(request, self._limit, ": lower max_alerts of the webhook")
            webhook = read_webhook(body)
            await self._put(webhook.key, body)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Refused as refused:
            log.warning("webhook.refused", status=refused.status, reason=refused.reason)
            return JSONResponse({"error": refused.reason}, status_code=refused.status, headers=refused.headers)
        log.debug("webhook.taken", alerts=webhook.alerts, bytes=len(body), topic=self._topic)
        return JSONResponse({"accepted": webhook.alerts}, status_code=202)

    async def _put(self, key: str, body: bytes) -> None:
        message = Outbound(self._topic, key, body, (("content-type", b"application/json"),))
        try:
            async with asyncio.timeout(self._timeout):
                await self._publisher.publish([message])
        except TooLarge as error:
            raise Refused(413, f"{len(body)} bytes are too many for Kafka: send fewer alerts at a time") from error
        except (BusUnavailable, TimeoutError) as error:
            raise Refused(503, "Kafka did not acknowledge: send it again") from error
