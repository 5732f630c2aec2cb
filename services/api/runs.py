"""Runbooks over REST: ask for one, and see what became of it.

Asking puts a request on Kafka and answers when Kafka has it. Everything after that (whether it may run, with or
without a human, and how it ended) is told under the id of the request.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from executor.errors import PlanError, Temporary
from executor.parameters import resolve_parameters
from executor.ports import Clock
from matcher.model import Asked, Run
from matcher.named import refusal, unknown_parameter
from runbooks.findings import did_you_mean
from runbooks.model import LoadedRunbook
from safety.access import Actor, ActorKind, Scope
from safety.permissions import Permission
from services.access import scopes
from services.access.opening import API_TOKEN
from services.api import views
from services.api.guard import Guard, Refused, json_body
from services.intake.errors import Unreadable
from services.intake.run_request import REQUEST_ID, RunRequest, run_request
from services.kafka.errors import BusUnavailable, TooLarge
from services.kafka.model import Outbound, Publisher
from services.ports import DecisionLedger, ExecutionStore

log = structlog.get_logger(__name__)

RUNBOOKS = "/api/v1/runbooks"
EXECUTE = f"{RUNBOOKS}/{{id}}/execute"
REQUEST = "/api/v1/requests/{id}"
EXECUTION = "/api/v1/executions/{id}"
IDEMPOTENCY = "Idempotency-Key"

_LEAST = 6
_OFF = "the API for runbooks is off: set api.token or access.roles_file"

_LIST, _EXECUTE, _REQUEST, _EXECUTION = f"GET {RUNBOOKS}", f"POST {EXECUTE}", f"GET {REQUEST}", f"GET {EXECUTION}"

Handler = Callable[[Request, Actor], Awaitable[Response]]
"""Answers a request of somebody who came through the door."""


class RunsApi:
    """The endpoints.

    Args:
        runbooks: those in force, by id.
        publisher: returns when Kafka has acknowledged.
        topic: of requests.
        ledger: decisions.
        executions: executions.
        clock: time.
        guard: knows who may do what.
        tenant: whose requests these are.
        cluster: where.
        configured: values of parameters from the settings, by runbook id.
        max_body_bytes: a larger body is refused.
        produce_timeout_seconds: longest wait for Kafka before the answer is 503.
    """

    def __init__(
        self,
        *,
        runbooks: Callable[[], Mapping[str, LoadedRunbook]],
        publisher: Publisher,
        topic: str,
        ledger: DecisionLedger,
        executions: ExecutionStore,
        clock: Clock,
        guard: Guard,
        tenant: str,
        cluster: str,
        configured: Mapping[str, Mapping[str, Any]] | None = None,
        max_body_bytes: int = 900_000,
        produce_timeout_seconds: float = 8.0,
    ) -> None:
        self._runbooks = runbooks
        self._publisher = publisher
        self._topic = topic
        self._ledger = ledger
        self._executions = executions
        self._clock = clock
        self._guard = guard
        self._tenant = tenant
        self._cluster = cluster
        self._configured = configured or {}
        self._limit = max_body_bytes
        self._timeout = produce_timeout_seconds

    def routes(self) -> list[Route]:
        """The endpoints, each behind the guard."""
        return [
            Route(RUNBOOKS, guarded(self._guard, _LIST, self._list), methods=["GET"]),
            Route(EXECUTE, guarded(self._guard, _EXECUTE, self._execute), methods=["POST"]),
            Route(REQUEST, guarded(self._guard, _REQUEST, self._request), methods=["GET"]),
            Route(EXECUTION, guarded(self._guard, _EXECUTION, self._execution), methods=["GET"]),
        ]

    async def _list(self, _: Request, __: Actor) -> Response:
        known = self._runbooks()
        return answer_with(views.Runbooks(runbooks=tuple(views.runbook_view(known[name]) for name in sorted(known))))

    async def _execute(self, request: Request, actor: Actor) -> Response:
        asked = _read(await json_body(request, self._limit))
        name = request.path_params["id"]
        wanted = Permission.RUNBOOKS_DRY_RUN if asked.dry_run else Permission.RUNBOOKS_EXECUTE
        scope = Scope(self._tenant, self._cluster, asked.target.namespace if asked.target else None, name)
        await self._guard.require(actor, wanted, scope, _EXECUTE)
        self._check(name, asked)
        made = self._made(name, asked, request.headers.get(IDEMPOTENCY), _asker(actor, asked.requested_by))
        await self._put(made)
        log.info("api.accepted", runbook=made.runbook.id, request_id=made.request_id, by=made.requested_by)
        href = REQUEST.format(id=made.request_id)
        return answer_with(views.Accepted(request_id=made.request_id, href=href), 202, {"Location": href})

    def _check(self, name: str, asked: views.Execute) -> None:
        """Say now what would only be refused later."""
        known = self._runbooks()
        loaded = known.get(name)
        if loaded is None:
            raise Refused(404, f"there is no runbook {name!r:.140}; {did_you_mean(name, known)}".rstrip("; "))
        run = Run(name, Asked.API, asked.version, asked.target is not None, asked.parameters)
        if unknown := unknown_parameter(loaded.runbook, run):
            raise Refused(422, f"runbook {name}: {unknown}")
        if no := refusal(loaded.runbook, run):
            raise Refused(409, f"runbook {name}: {no}")
        try:
            resolve_parameters(loaded.runbook, {**(self._configured.get(name) or {}), **asked.parameters})
        except PlanError as error:
            raise Refused(422, str(error)) from error

    def _made(self, name: str, asked: views.Execute, key: str | None, by: str) -> RunRequest:
        if key is not None and not re.fullmatch(REQUEST_ID, key):
            raise Refused(400, f"{IDEMPOTENCY}: 8 to 128 letters, digits and . _ : -, beginning with a letter or digit")
        try:
            return run_request(
                name,
                by=by,
                source=Asked.API,
                at=self._clock.now(),
                target=asked.target,
                request_id=key,
                version=asked.version,
                parameters=asked.parameters,
                reason=asked.reason,
                dry_run=asked.dry_run,
                tenant=self._tenant,
                cluster=self._cluster,
            )
        except Unreadable as error:
            raise Refused(422, error.detail) from error

    async def _put(self, made: RunRequest) -> None:
        message = Outbound(self._topic, made.key, made.value())
        try:
            async with asyncio.timeout(self._timeout):
                await self._publisher.publish([message])
        except TooLarge as error:
            raise Refused(413, "the request is too long for Kafka: its parameters have to be shorter") from error
        except (BusUnavailable, TimeoutError) as error:
            raise Refused(503, f"Kafka did not acknowledge: send it again with the same {IDEMPOTENCY}") from error

    async def _request(self, request: Request, actor: Actor) -> Response:
        number = request.path_params["id"]
        for story in await self._ledger.find(number, 10) if len(number) >= _LEAST else ():
            view = views.request_view(story)
            if view is not None and view.request_id == number:
                await self._guard.require(
                    actor, Permission.EXECUTIONS_READ, scopes.of_decision(story.decision), _REQUEST
                )
                return answer_with(view)
        raise Refused(404, "no decision about this request is on record (yet)")

    async def _execution(self, request: Request, actor: Actor) -> Response:
        number = request.path_params["id"]
        for story in await self._executions.tell(number):
            if story.record.id == number:
                await self._guard.require(
                    actor, Permission.EXECUTIONS_READ, scopes.of_execution(story.record), _EXECUTION
                )
                return answer_with(views.execution_view(story))
        raise Refused(404, "no execution of this id is on record")


def guarded(guard: Guard, entry: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """A handler that only those reach who come through the door; refusals become answers."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request, await guard.enter(request, entry))
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        except Refused as refused:
            log.warning("api.refused", path=request.url.path, status=refused.status, reason=refused.reason)
            return problem(refused)
        except Temporary as error:
            return problem(Refused(503, f"the record cannot be read now: {error}"))

    return answer


def switched_off(paths: Sequence[tuple[str, str]] = ()) -> list[Route]:
    """The endpoints where no token is set, and others (path and method): each says what to do."""

    async def off(_: Request) -> Response:
        return problem(Refused(404, _OFF))

    own = ((RUNBOOKS, "GET"), (EXECUTE, "POST"), (REQUEST, "GET"), (EXECUTION, "GET"))
    return [Route(path, off, methods=[method]) for path, method in (*own, *paths)]


def problem(refused: Refused) -> Response:
    """A refusal as RFC 9457 has it."""
    body = views.Problem(title=HTTPStatus(refused.status).phrase, status=refused.status, detail=refused.reason)
    return Response(body.model_dump_json(), refused.status, refused.headers, "application/problem+json")


def _read(body: bytes) -> views.Execute:
    try:
        return views.Execute.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise Refused(400, f"not JSON: {first['msg']}") from error
        place = ".".join(str(part) for part in first["loc"]) or "body"
        hint = f"; {did_you_mean(place, views.Execute.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise Refused(422, f"{place}: {first['msg']}{hint}") from error


def _asker(actor: Actor, said: str) -> str:
    """Who goes on record: whoever was proven. Only the one shared token leaves it to the caller to say a name."""
    return (said or "api") if actor.key == f"{ActorKind.TOKEN}:{API_TOKEN}" else actor.person


def answer_with(view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A model as the answer."""
    return Response(view.model_dump_json(), status, headers, "application/json")
