"""Calls of other people's APIs: tried again where that is safe, at the pace that the other side asks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from executor.errors import Invalid, NotConfigured, NotDone, Unavailable
from executor.ports import Clock, Http
from services.masking import masker

_FIRST_PAUSE = 0.5
_QUOTED = 300
_MASK = "***"
_TURNED_AWAY = frozenset({429, 503})
"""The other side did not even begin."""
_CREDENTIALS = frozenset({401, 403})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_EXACT = frozenset({"routing_key"})
"""PagerDuty takes its credential in the body."""
_OK, _CLIENT_ERROR, _SERVER_ERROR = 200, 400, 500


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def data(self) -> Any:
        """Its JSON; None when it has none."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class Api:
    """One API.

    Attributes:
        name: for people.
        setting: the group of the settings, for advice.
        headers: of each call; may hold credentials.
        secrets: taken out of what the other side says.
        status_of: the true status, where a service answers 200 to everything.
    """

    name: str
    setting: str
    headers: Mapping[str, str]
    secrets: tuple[str, ...] = ()
    status_of: Callable[[int, str], int] = lambda status, _: status


class JsonCalls:
    """Calls APIs that speak JSON.

    Args:
        http: outgoing HTTP.
        clock: for pauses.
        tries: of one call.
        longest_pause: seconds; who asks for more is not waited for.
        timeout_seconds: for one try.
    """

    def __init__(
        self, http: Http, clock: Clock, *, tries: int = 4, longest_pause: float = 10.0, timeout_seconds: float = 10.0
    ) -> None:
        self._http = http
        self._clock = clock
        self._tries = tries
        self._longest = longest_pause
        self._timeout = timeout_seconds

    async def call(self, api: Api, method: str, url: str, body: Any = None, *, repeatable: bool = False) -> Reply:
        """Call, and again where that is safe: after a refusal to begin always, else only what may be repeated.

        Args:
            api: whose it is.
            method: HTTP method.
            url: absolute.
            body: sent as JSON; None for none.
            repeatable: a second call would change nothing.

        Raises:
            NotConfigured: the credentials are not accepted.
            NotDone: it certainly did not happen, and patience ran out.
            Invalid: refused.
            Unavailable: nobody knows whether it happened.
        """
        for attempt in range(self._tries):
            reply, problem = await self._once(api, method, url, body)
            if reply is not None and _final(status := api.status_of(reply.status, reply.text)):
                return _checked(api, status, reply)
            done_for_sure_not = _not_begun(api, reply, problem)
            if not done_for_sure_not and not repeatable:
                raise Unavailable(f"{_told(api, reply, problem)}; whether it was carried out is unknown") from problem
            pause = self._pause(reply, attempt)
            if attempt + 1 == self._tries or pause > self._longest:
                error = NotDone if done_for_sure_not else Unavailable
                raise error(f"{_told(api, reply, problem)}, {attempt + 1} tries") from problem
            await self._clock.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _once(self, api: Api, method: str, url: str, body: Any) -> tuple[Reply | None, Unavailable | None]:
        content = "" if body is None else json.dumps(masker.data(body, _EXACT), ensure_ascii=False)
        headers = {"Accept": "application/json", **({"Content-Type": "application/json"} if content else {})}
        try:
            status, answered, text = await self._http.request(
                method, url, headers={**headers, **api.headers}, body=content, timeout_seconds=self._timeout
            )
        except Unavailable as error:
            return None, error
        return Reply(status, _hidden(api, text), {k.lower(): v for k, v in answered.items()}), None

    def _pause(self, reply: Reply | None, attempt: int) -> float:
        own: float = min(_FIRST_PAUSE * 2**attempt, self._longest)
        asked = retry_after(reply.headers.get("retry-after", ""), self._clock.now()) if reply else None
        return own if asked is None else max(own, asked)


def retry_after(value: str, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, as a number or as a date; None when it says nothing."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment: datetime = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment - now).total_seconds()) if moment.tzinfo else None


def _final(status: int) -> bool:
    return status < _SERVER_ERROR and status not in _TURNED_AWAY


def _not_begun(api: Api, reply: Reply | None, problem: Unavailable | None) -> bool:
    if reply is None:
        return problem is not None and isinstance(problem.__cause__, _NEVER_SENT)
    return api.status_of(reply.status, reply.text) in _TURNED_AWAY


def _checked(api: Api, status: int, reply: Reply) -> Reply:
    if status in _CREDENTIALS:
        raise NotConfigured(f"{_told(api, reply, None)}; check {api.setting}")
    if status >= _CLIENT_ERROR or status < _OK:
        raise Invalid(_told(api, reply, None))
    return reply


def _told(api: Api, reply: Reply | None, problem: Unavailable | None) -> str:
    if reply is None:
        return f"{api.name}: {_hidden(api, str(problem))}"
    said = " ".join(reply.text.split())[:_QUOTED]
    return f"{api.name} answered {api.status_of(reply.status, reply.text)}" + (f": {said}" if said else "")


def _hidden(api: Api, text: str) -> str:
    for secret in filter(None, api.secrets):
        text = text.replace(secret, _MASK)
    return text
