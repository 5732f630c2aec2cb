"""One HTTP call of a step: its key, its tries, its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from executor.actions.base import World
from executor.actions.masking import Revealed, reveal
from executor.errors import PlanError, StepFailed, Temporary, Unavailable

T = TypeVar("T")

READING = ("GET", "HEAD")
MAX_BYTES = 4 * 1024 * 1024
"""The largest answer that a step may ask for."""
EARLY_SECONDS = 5.0
_QUOTED = 200
_SERVER_ERROR, _TOO_MANY = 500, 429
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_OK, _MULTIPLE = 200, 300
_DENIED = (401, 403)
_KEPT_HEADERS = ("content-type", "etag", "last-modified", "location", "retry-after")


@dataclass(frozen=True, slots=True)
class Call:
    """A call with its secrets still as references.

    Attributes:
        expected: statuses of success; None for 200 to 299.
        tries: how often; more than one only for what may be repeated.
        repeatable: whether it may be repeated; decides what an error says.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    expected: tuple[int, ...] | None = None
    timeout_seconds: float = 10.0
    tries: int = 1
    repeatable: bool = True
    max_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, without the secrets that were sent."""

    status: int
    headers: Mapping[str, str]
    text: str

    def data(self) -> Any:
        """JSON as data, anything else as text."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return self.text

    def json(self, where: str) -> Any:
        """The data.

        Raises:
            StepFailed: it is no JSON.
        """
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError) as error:
            raise StepFailed(f"{where} answered no JSON: {self.text[:_QUOTED]!r}") from error


def address(url: str, world: World) -> str:
    """The address as it will be called; a path is taken below the configured base.

    Raises:
        PlanError: it is no http or https address.
    """
    if url.startswith(("http://", "https://")):
        return url
    if url.startswith("/") and not url.startswith("//"):
        if world.http_base:
            return world.http_base.rstrip("/") + url
        raise PlanError(f"{url!r} is a path, and the setting http.base_url is empty")
    raise PlanError(f"{url!r} is no http or https address")


async def call(wanted: Call, key: str, world: World) -> Answer:
    """Call, again where that is allowed; secrets are put in here and taken out of what is given back.

    Args:
        wanted: what to call.
        key: the Idempotency-Key; empty for a read.
        world: its HTTP, secrets and clock.

    Raises:
        StepFailed: the answer is not what was expected, or none came.
    """
    revealed = await reveal({"url": wanted.url, "headers": wanted.headers, "body": wanted.body}, world.secrets)
    with revealed.hiding():
        status, headers, text = await _tried(wanted, revealed, key, world)
    if status in _DENIED and revealed.names:
        world.secrets.forget(revealed.names)  # it may have been rotated: the next try asks its provider
    kept = {name.lower(): revealed.hide(value) for name, value in headers.items() if name.lower() in _KEPT_HEADERS}
    answer = Answer(status, kept, revealed.hide(text))
    if not _expected(wanted, status):
        raise StepFailed(f"{wanted.method} {wanted.url} answered {status}: {answer.text[:_QUOTED]}")
    return answer


async def _tried(wanted: Call, revealed: Revealed, key: str, world: World) -> tuple[int, Mapping[str, str], str]:
    value = revealed.value
    body, kind = body_of(value["body"])
    headers = {**kind, **value["headers"], **({"Idempotency-Key": key} if key else {})}
    more = {"max_bytes": wanted.max_bytes} if wanted.max_bytes else {}
    for left in reversed(range(wanted.tries)):
        pause = _FIRST_PAUSE * 2 ** (wanted.tries - 1 - left)
        try:
            status, answered, text = await world.http.request(
                wanted.method, value["url"], headers=headers, body=body, timeout_seconds=wanted.timeout_seconds, **more
            )
        except Unavailable as error:
            if not left:
                doubt = "" if wanted.repeatable else "; whether it was carried out is unknown"
                raise StepFailed(f"{wanted.method} {wanted.url}: {error}{doubt}") from error
        else:
            busy = status >= _SERVER_ERROR or status == _TOO_MANY
            if not busy or _expected(wanted, status) or not left:
                return status, answered, text
            pause = _asked_pause(answered, pause)
        await world.clock.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _asked_pause(headers: Mapping[str, str], own: float) -> float:
    """What the other side asks for, as far as it is more than ours and bearable."""
    asked = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return min(max(own, float(asked)), _LONGEST_PAUSE) if asked.isdigit() else own


def body_of(body: Any) -> tuple[str, dict[str, str]]:
    """The body as it is sent, and the header that says what it is."""
    if body is None:
        return "", {}
    if not isinstance(body, str):
        return json.dumps(body, ensure_ascii=False), {"Content-Type": "application/json"}
    try:
        json.loads(body)
    except ValueError:
        return body, {"Content-Type": "text/plain; charset=utf-8"}
    return body, {"Content-Type": "application/json"}


def _expected(wanted: Call, status: int) -> bool:
    return _OK <= status < _MULTIPLE if wanted.expected is None else status in wanted.expected


def bearer(headers: Mapping[str, str], token: str | None) -> dict[str, str]:
    """The headers with a token, unless they have one of their own."""
    if not token or any(name.lower() == "authorization" for name in headers):
        return dict(headers)
    return {**headers, "Authorization": f"Bearer {token}"}


async def early(work: Awaitable[T]) -> T | None:
    """What a read gives while planning; None when it fails or takes too long.

    Then it is left for its turn, where the step's retries and ``on_failure`` apply. A step that cannot work at all
    (PlanError, NotConfigured, MissingSecret) fails the planning.
    """
    try:
        async with asyncio.timeout(EARLY_SECONDS):
            return await work
    except (TimeoutError, Temporary, StepFailed):
        return None
