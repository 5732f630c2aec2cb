"""PagerDuty: events (Events API v2), and who is on call (REST API v2)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import structlog

from executor.errors import NotConfigured, RemediationError
from executor.people_ports import Page
from executor.ports import Clock
from runbooks.findings import did_you_mean
from services.json_calls import Api, JsonCalls

log = structlog.get_logger(__name__)

_FRESH_SECONDS = 60.0
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


class OnCallNow:
    """Who is on call, by the schedules of the settings. A change there counts within a minute.

    Args:
        calls: makes the calls.
        token: REST API key.
        schedules: PagerDuty's id by the name that rules use.
        person_of: the id of who has a mail address; empty for strangers.
        base_url: of the REST API.
    """

    def __init__(
        self,
        calls: JsonCalls,
        token: str,
        schedules: Mapping[str, str],
        person_of: Callable[[str], str],
        clock: Clock,
        *,
        base_url: str = "https://api.pagerduty.com",
    ) -> None:
        headers = {"Authorization": f"Token token={token}", "Accept": "application/vnd.pagerduty+json;version=2"}
        self._api = Api("PagerDuty", "pagerduty.api_token", headers, (token,))
        self._calls = calls
        self._schedules = schedules
        self._person_of = person_of
        self._clock = clock
        self._url = f"{base_url.rstrip('/')}/oncalls"
        self._known: dict[str, tuple[str, ...]] = {}
        self._until = float("-inf")

    async def look(self, at: datetime) -> dict[str, tuple[str, ...]]:
        """Ids by schedule. While PagerDuty does not answer nobody is on call by it: nobody counts unseen."""
        if self._clock.monotonic() < self._until:
            return self._known
        try:
            self._known = {name: await self._people(number) for name, number in self._schedules.items()}
        except RemediationError as error:
            log.warning("oncall.unknown", error=str(error))
            return {}
        self._until = self._clock.monotonic() + _FRESH_SECONDS
        return self._known

    async def _people(self, schedule: str) -> tuple[str, ...]:
        query = urlencode([("schedule_ids[]", schedule), ("include[]", "users"), ("limit", "100")])
        reply = await self._calls.call(self._api, "GET", f"{self._url}?{query}", repeatable=True)
        found = reply.data.get("oncalls") if isinstance(reply.data, Mapping) else None
        users = [each.get("user") for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
        mails = [str(user.get("email") or "") for user in users if isinstance(user, Mapping)]
        return tuple(dict.fromkeys(filter(None, map(self._person_of, filter(None, mails)))))


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
