"""Events for PagerDuty (Events API v2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from executor.errors import NotConfigured
from executor.people_ports import Page
from runbooks.findings import did_you_mean
from services.json_calls import Api, JsonCalls

_SUMMARY, _KEY = 1024, 255
_DETAILS = 100_000
"""Bytes; PagerDuty takes 512 KB for the whole event."""


class PagerDuty:
    """Implements ``executor.people_ports.Pager``.

    Args:
        calls: makes the calls.
        routing_keys: by the name of the service.
        base_url: of the API.
        source: what events without a source come from.
    """

    def __init__(
        self,
        calls: JsonCalls,
        routing_keys: Mapping[str, str],
        *,
        base_url: str = "https://events.pagerduty.com",
        source: str = "rootmend",
    ) -> None:
        self._calls = calls
        self._keys = routing_keys
        self._url = f"{base_url.rstrip('/')}/v2/enqueue"
        self._source = source

    async def send(self, page: Page) -> str:
        """Send an event, again while nobody knows whether it came: the dedup key makes it one event."""
        key = self._keys.get(page.service)
        if not key:
            hint = did_you_mean(page.service, self._keys) if self._keys else "none is set"
            raise NotConfigured(f"pagerduty.routing_keys has no {page.service!r}; {hint}")
        api = Api("PagerDuty", "pagerduty.routing_keys", {}, (key,))
        reply = await self._calls.call(api, "POST", self._url, event(page, key, self._source), repeatable=True)
        data = reply.data
        return str(data.get("dedup_key") or page.dedup_key) if isinstance(data, Mapping) else page.dedup_key


def event(page: Page, routing_key: str, source: str) -> dict[str, Any]:
    """The event as PagerDuty takes it; only a trigger has a payload."""
    head = {"routing_key": routing_key, "event_action": page.action, "dedup_key": page.dedup_key[:_KEY]}
    if page.action != "trigger":
        return head
    optional = {"component": page.component, "group": page.group, "class": page.kind}
    payload = {
        "summary": page.summary[:_SUMMARY],
        "source": page.source or source,
        "severity": page.severity,
        **{name: value for name, value in optional.items() if value},
        "custom_details": _bounded(page.details),
    }
    return {**head, "payload": payload, "client": "Rootmend"}


def _bounded(details: Mapping[str, Any]) -> Mapping[str, Any]:
    text = json.dumps(details, ensure_ascii=False, default=str)
    return json.loads(text) if len(text.encode()) <= _DETAILS else {"cut": text[: _DETAILS // 4]}
