"""Call other systems."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from executor.actions.base import Action, Found, Params, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.manifests import Seconds
from executor.actions.masking import Revealed, reveal
from executor.errors import PlanError, StepFailed, Unavailable
from executor.model import Access, Change, PlannedStep

READING = ("GET", "HEAD")
_SHOWN = 2000
_QUOTED = 200
_SERVER_ERROR = 500
_FIRST_PAUSE = 0.5
_OK, _MULTIPLE = 200, 300


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple) or value is None else [value]


class WebhookParams(Params):
    """Parameters of ``webhook``."""

    url: str = Field(description="http or https; may hold secrets as templates")
    method: Annotated[
        Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        BeforeValidator(lambda value: str(value).upper()),
    ] = Field("POST", description="GET and HEAD change nothing, all others cannot be undone")
    body: Any = Field(None, description="Text as it is, data as JSON")
    headers: dict[str, str] = Field({}, description="Beside Idempotency-Key, which each call carries")
    expected_status: Annotated[list[int] | None, BeforeValidator(_as_list)] = Field(
        None, description="Statuses that mean success; left out, 200 to 299"
    )
    timeout: Seconds = Field(10.0, description="For one try")
    retries: int = Field(2, ge=0, le=10, description="Further tries, of calls that may be repeated only")
    idempotent: bool = Field(False, description="The other side honours Idempotency-Key, or repeating does no harm")


class Webhook(Action[WebhookParams]):
    """Call a URL. After a crash in the middle of it nobody knows what happened, unless the call may be repeated."""

    name = "webhook"
    access = Access.WRITE
    idempotent = False
    params_model = WebhookParams
    example = """\
action: webhook
params:
  url: https://cloud.example.com/replace-node
  method: POST
  headers: {Authorization: "Bearer {{ secrets.cloud_token }}"}
  body: {node: "{{ incident.resource.name }}"}
"""

    async def plan(self, params: WebhookParams, facts: TargetFacts, world: World) -> Planned:
        """Say what will be called."""
        if not params.url.startswith(("http://", "https://")):
            raise PlanError(f"{params.url!r} is no http or https address")
        reads = params.method in READING
        change = Change(
            verb="http",
            summary=f"{params.method} {params.url}",
            undo="nothing to put back: it only reads" if reads else "",
            irreversible=not reads,
        )
        return Planned(params=params.model_dump(mode="json", exclude_none=True), changes=(change,))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Call.

        Raises:
            StepFailed: the answer is not what was expected, or none came.
        """
        params = WebhookParams.model_validate(step.params)
        revealed = await reveal({"url": params.url, "headers": params.headers, "body": params.body}, world.secrets)
        with revealed.hiding():
            status, text = await _call(params, revealed, step, stamp, world)
        shown = revealed.hide(text)
        if not _expected(params, status):
            raise StepFailed(f"{params.method} {params.url} answered {status}: {shown[:_QUOTED]}")
        return {"status": status, "body": _data(shown)}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """What may be repeated is repeated, for the rest nobody can tell."""
        return Recovery(Found.NOT_DONE if _repeatable(step) else Found.UNKNOWN)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Nothing can be taken back."""
        return f"a call cannot be taken back: {step.changes[0].summary}" if step.changes else "nothing to undo"


def _repeatable(step: PlannedStep) -> bool:
    params = WebhookParams.model_validate(step.params)
    return params.idempotent or step.idempotent or params.method in READING


async def _call(
    params: WebhookParams, revealed: Revealed, step: PlannedStep, stamp: Stamp, world: World
) -> tuple[int, str]:
    value = revealed.value
    body, kind = _body(value["body"])
    headers = {**kind, **value["headers"], "Idempotency-Key": f"{stamp.execution}/{stamp.step}"}
    tries = 1 + (params.retries if _repeatable(step) else 0)
    for left in reversed(range(tries)):
        try:
            status, _, text = await world.http.request(
                params.method, value["url"], headers=headers, body=body, timeout_seconds=params.timeout
            )
        except Unavailable as error:
            if not left:
                doubt = "" if _repeatable(step) else "; whether it was carried out is unknown"
                raise StepFailed(f"{params.method} {params.url}: {error}{doubt}") from error
        else:
            if status < _SERVER_ERROR or _expected(params, status) or not left:
                return status, text
        await world.clock.sleep(_FIRST_PAUSE * 2 ** (tries - 1 - left))
    raise AssertionError("the last try returns or raises")


def _body(body: Any) -> tuple[str, dict[str, str]]:
    if body is None:
        return "", {}
    if not isinstance(body, str):
        return json.dumps(body, ensure_ascii=False), {"Content-Type": "application/json"}
    try:
        json.loads(body)
    except ValueError:
        return body, {"Content-Type": "text/plain; charset=utf-8"}
    return body, {"Content-Type": "application/json"}


def _expected(params: WebhookParams, status: int) -> bool:
    if params.expected_status is None:
        return _OK <= status < _MULTIPLE
    return status in params.expected_status


def _data(text: str) -> Any:
    """The answer as data when it is JSON, so that later steps can use its parts."""
    try:
        return json.loads(text)
    except ValueError:
        return text[:_SHOWN]
