"""Call other systems over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from executor.actions.base import Action, Found, Params, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.calling import MAX_BYTES, READING, Answer, Call, address, bearer, call, early
from executor.actions.checking import holds
from executor.actions.manifests import Seconds
from executor.actions.needs import NO_RIGHTS
from executor.actions.synonyms import Synonyms
from executor.model import Access, Change, PlannedStep

_SIMULATED = "the call is shown and not made; a read is made once while planning"
_UNDONE = "not at all, unless it only reads"


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple) or value is None else [value]


_ONE_OR_MORE = {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}, {"type": "null"}]}
Statuses = Annotated[tuple[int, ...] | None, BeforeValidator(_as_list), WithJsonSchema(_ONE_OR_MORE)]


class WebhookParams(Params):
    """Parameters of ``webhook``."""

    url: str = Field(description="http or https; may hold secrets as templates")
    method: Annotated[
        Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        BeforeValidator(lambda value: str(value).upper()),
    ] = Field("POST", description="GET and HEAD change nothing, all others cannot be undone")
    body: Any = Field(None, description="Text as it is, data as JSON")
    headers: dict[str, str] = Field({}, description="Beside Idempotency-Key, which each call carries")
    expected_status: Statuses = Field(None, description="Statuses that mean success; left out, 200 to 299")
    timeout: Seconds = Field(10.0, description="For one try")
    retries: int = Field(2, ge=0, le=10, description="Further tries, of calls that may be repeated only")
    idempotent: bool = Field(False, description="The other side honours Idempotency-Key, or repeating does no harm")


class Webhook(Action[WebhookParams]):
    """Call a URL. After a crash in the middle of it nobody knows what happened, unless the call may be repeated."""

    name = "webhook"
    access = Access.WRITE
    idempotent = False
    params_model = WebhookParams
    rights = NO_RIGHTS
    simulated = "the call is shown and not made"
    undone = _UNDONE
    targets = "the incident's target"
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
        given = {**params.model_dump(mode="json", exclude_none=True), "url": address(params.url, world)}
        return Planned(params=given, changes=(change_of(params.method, params.url),))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Call.

        Raises:
            StepFailed: the answer is not what was expected, or none came.
        """
        params = WebhookParams.model_validate(step.params)
        answer = await call(_wanted(params, step), key_of(stamp), world)
        return {"status": answer.status, "body": answer.data()}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """What may be repeated is repeated, for the rest nobody can tell."""
        params = WebhookParams.model_validate(step.params)
        return Recovery(Found.NOT_DONE if repeatable(params, step) else Found.UNKNOWN)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Nothing can be taken back."""
        return untaken(step)


class HttpParams(Synonyms):
    """Parameters of ``http_get`` and its kin."""

    synonyms: ClassVar[Mapping[str, str]] = {
        "endpoint": "url",
        "source_url": "url",
        "data": "body",
        "json": "body",
        "expectedStatus": "expected_status",
        "expected": "expected_status",
        "retry": "retries",
    }

    url: str = Field(description="http or https, or a path below the setting `http.base_url`; may hold secrets")
    body: Any = Field(None, description="Text as it is, data as JSON")
    headers: dict[str, str] = Field({}, description="Beside Idempotency-Key, which each call that writes carries")
    auth_token: str | None = Field(None, description="Sent as `Authorization: Bearer`; a secret")
    expected_status: Statuses = Field(None, description="Statuses that mean success; left out, 200 to 299")
    expect: str | None = Field(
        None, description="Expression over `status`, `body` and `headers` that must hold; tried in the step's turn"
    )
    timeout: Seconds = Field(10.0, description="For one try")
    retries: int = Field(2, ge=0, le=10, description="Further tries when nobody answers, or 5xx or 429, if repeatable")
    idempotent: bool = Field(False, description="The other side honours Idempotency-Key, or repeating does no harm")
    max_bytes: int = Field(256 * 1024, ge=1, le=MAX_BYTES, description="A longer answer is an error")


class HttpRequestParams(HttpParams):
    """Parameters of ``http_request``."""

    method: Annotated[
        Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        BeforeValidator(lambda value: str(value).upper()),
    ] = Field("GET", description="GET and HEAD are reads; all others cannot be undone")


class HttpRequest(Action[HttpParams]):
    """Call a REST API. GET and HEAD are reads, made while planning where they can be; all others need a human.

    The output is ``status``, ``headers`` and ``body``, which is data where the answer is JSON. Take parts of it with
    the step's ``outputs``: ``{ticket: "$.body.id"}``.
    """

    rights = NO_RIGHTS
    name = "http_request"
    access = Access.WRITE
    idempotent = False
    params_model: type[HttpParams] = HttpRequestParams
    simulated = _SIMULATED
    undone = _UNDONE
    targets = "the incident's target"
    example = """\
action: http_request
params:
  url: https://api.example.com/v1/nodes/{{ target.node }}
  headers: {Authorization: "Bearer {{ secrets.cloud_token }}"}
  expected_status: [200, 404]
output_var: node
"""

    def method_of(self, params: Mapping[str, Any]) -> str:
        """The HTTP method of these parameters."""
        return str(params.get("method", "GET")).upper()

    def access_of(self, params: Mapping[str, Any]) -> Access:
        """A method that is not known yet may write."""
        return Access.READ if self.method_of(params) in READING else Access.WRITE

    def repeatable(self, params: Mapping[str, Any]) -> bool:
        """Reads, and what its author declares so."""
        return self.method_of(params) in READING or params.get("idempotent") is True

    async def plan(self, params: HttpParams, facts: TargetFacts, world: World) -> Planned:
        """Say what will be called; a read that is no check is made now."""
        method = self.method_of(params.model_dump())
        given = {**params.model_dump(mode="json", exclude_none=True), "url": address(params.url, world)}
        if method not in READING:
            return Planned(params=given, changes=(change_of(method, params.url),))
        fresh = type(params).model_validate(given)
        result = None if params.expect else await early(self._called(fresh, "", 1, world))
        return Planned(params=given, result=result)

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Call.

        Raises:
            StepFailed: the answer is not what was expected, or none came.
        """
        params = self.params_model.model_validate(step.params)
        again = step.idempotent or self.repeatable(step.params)
        key = "" if self.access_of(step.params) is Access.READ else key_of(stamp)
        return await self._called(params, key, 1 + params.retries if again else 1, world)

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """What may be repeated is repeated, for the rest nobody can tell."""
        return Recovery(Found.NOT_DONE if step.idempotent or self.repeatable(step.params) else Found.UNKNOWN)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Nothing can be taken back."""
        return untaken(step)

    async def _called(self, params: HttpParams, key: str, tries: int, world: World) -> Any:
        wanted = Call(
            method=self.method_of(params.model_dump()),
            url=params.url,
            headers=bearer(params.headers, params.auth_token),
            body=params.body,
            expected=params.expected_status,
            timeout_seconds=params.timeout,
            tries=tries,
            repeatable=tries > 1 or not key,
            max_bytes=params.max_bytes,
        )
        return self.output_of(await call(wanted, key, world), params)

    def output_of(self, answer: Answer, params: HttpParams) -> Any:
        """What the step gives. Raises StepFailed when it is not what the step expects."""
        output = {"status": answer.status, "headers": dict(answer.headers), "body": answer.data()}
        if params.expect:
            holds(params.expect, output)
        return output


class _Verb(HttpRequest):
    """A method with a name of its own."""

    params_model = HttpParams
    rights = NO_RIGHTS
    method: ClassVar[str]

    def method_of(self, params: Mapping[str, Any]) -> str:
        """Always the same."""
        return self.method


class HttpGet(_Verb):
    """Read from a REST API; made while planning where it can be."""

    name, aliases, method = "http_get", ("http/get",), "GET"
    access, idempotent = Access.READ, True
    example = """\
action: http_get
params: {url: "http://{{ target.name }}.{{ target.namespace }}.svc:8080/health", expect: "body.status == 'up'"}
"""


class HttpPost(_Verb):
    """Send to a REST API with POST."""

    name, aliases, method = "http_post", ("http/post",), "POST"
    example = """\
action: http_post
params: {url: "http://{{ target.name }}.{{ target.namespace }}.svc:8080/admin/gc", auth_token: "{{ secrets.admin }}"}
"""


class HttpPut(_Verb):
    """Send to a REST API with PUT."""

    name, aliases, method = "http_put", ("http/put",), "PUT"
    example = """\
action: http_put
params: {url: https://api.example.com/v1/flags/shop, body: {enabled: false}, idempotent: true}
"""


class HttpPatch(_Verb):
    """Send to a REST API with PATCH."""

    name, aliases, method = "http_patch", ("http/patch",), "PATCH"
    example = """\
action: http_patch
params: {url: https://api.example.com/v1/flags/shop, body: {enabled: false}}
"""


class HttpDelete(_Verb):
    """Call a REST API with DELETE."""

    name, aliases, method = "http_delete", ("http/delete",), "DELETE"
    example = """\
action: http_delete
params: {url: https://api.example.com/v1/cache/shop, expected_status: [200, 204, 404], idempotent: true}
"""


class DataFetch(HttpRequest):
    """Read data from an HTTP API as JSON; the output is the data itself: ``outputs: {entities: "$.data.entities"}``."""

    name, aliases = "data_fetch", ("http/fetch",)
    access, idempotent = Access.READ, True
    params_model = HttpParams
    rights = NO_RIGHTS
    simulated = "it is read once while planning"
    undone = "nothing to undo: it only reads"
    example = """\
action: data_fetch
params: {url: https://api.example.com/v1/entities, auth_token: "{{ secrets.api_token }}"}
output_var: fetched
"""

    def method_of(self, params: Mapping[str, Any]) -> str:
        """It only reads."""
        return "GET"

    def output_of(self, answer: Answer, params: HttpParams) -> Any:
        """The data. Raises StepFailed when it is no JSON, or not what the step expects."""
        data = answer.json(params.url)
        if params.expect:
            holds(params.expect, {"status": answer.status, "headers": dict(answer.headers), "body": data})
        return data


def change_of(method: str, url: str) -> Change:
    """What a call changes, as far as anybody can know."""
    reads = method in READING
    undo = "nothing to put back: it only reads" if reads else ""
    return Change(verb="http", summary=f"{method} {url}", undo=undo, irreversible=not reads)


def key_of(stamp: Stamp) -> str:
    """The Idempotency-Key of a step: the same for each of its tries."""
    return f"{stamp.execution}/{stamp.step}"


def untaken(step: PlannedStep) -> str:
    """What to say instead of undoing a call."""
    return f"a call cannot be taken back: {step.changes[0].summary}" if step.changes else "nothing to undo"


def repeatable(params: WebhookParams, step: PlannedStep) -> bool:
    """Whether a call may be made again."""
    return params.idempotent or step.idempotent or params.method in READING


def _wanted(params: WebhookParams, step: PlannedStep) -> Call:
    again = repeatable(params, step)
    return Call(
        method=params.method,
        url=params.url,
        headers=params.headers,
        body=params.body,
        expected=params.expected_status,
        timeout_seconds=params.timeout,
        tries=1 + params.retries if again else 1,
        repeatable=again,
    )


__all__ = [
    "DataFetch",
    "HttpDelete",
    "HttpGet",
    "HttpPatch",
    "HttpPost",
    "HttpPut",
    "HttpRequest",
    "Webhook",
]
