"""Approvals over REST: what is asked, and answers to it. The same questions as in Slack and ``rb approvals``."""

from __future__ import annotations

from http import HTTPStatus

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from executor.model import ExecutionRecord
from runbooks.findings import did_you_mean
from safety.access import Actor, Scope
from safety.approvals import Approval, ApprovalError, ApprovalProblem, ApprovalStatus, ApprovalStore, Verb
from safety.permissions import Permission
from services.access import scopes
from services.api import approval_views as views
from services.api.guard import Guard, Refused, json_body
from services.api.runs import answer_with, guarded, problem
from services.approvals.answering import Answer, Answering
from services.ports import ExecutionStore

APPROVALS = "/api/v1/approvals"
APPROVAL = f"{APPROVALS}/{{id}}"
ANSWER = f"{APPROVAL}/answer"

PATHS = ((APPROVALS, "GET"), (APPROVAL, "GET"), (ANSWER, "POST"))

_LIST, _SHOW, _ANSWER = f"GET {APPROVALS}", f"GET {APPROVAL}", f"POST {ANSWER}"
_ALL = "all"
_STATUS = {
    ApprovalProblem.UNKNOWN: HTTPStatus.NOT_FOUND,
    ApprovalProblem.NOT_ALLOWED: HTTPStatus.FORBIDDEN,
    ApprovalProblem.OWN_REQUEST: HTTPStatus.FORBIDDEN,
    ApprovalProblem.NOT_ASKED: HTTPStatus.FORBIDDEN,
    ApprovalProblem.NO_REASON: HTTPStatus.UNPROCESSABLE_ENTITY,
    ApprovalProblem.NOT_AS_ASKED: HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""What an answer that does not count is over HTTP; the others are a conflict with what stands."""


class ApprovalsApi:
    """The endpoints.

    Args:
        approvals: questions.
        executions: the plans that they are about.
        answering: takes answers.
        guard: knows who calls and what they may.
        max_body_bytes: a larger body is refused.
    """

    def __init__(
        self,
        *,
        approvals: ApprovalStore,
        executions: ExecutionStore,
        answering: Answering,
        guard: Guard,
        max_body_bytes: int = 900_000,
    ) -> None:
        self._approvals = approvals
        self._executions = executions
        self._answering = answering
        self._guard = guard
        self._limit = max_body_bytes

    def routes(self) -> list[Route]:
        """The endpoints, each behind the guard."""
        return [
            Route(APPROVALS, guarded(self._guard, _LIST, self._list), methods=["GET"]),
            Route(APPROVAL, guarded(self._guard, _SHOW, self._show), methods=["GET"]),
            Route(ANSWER, guarded(self._guard, _ANSWER, self._answer), methods=["POST"]),
        ]

    async def _list(self, request: Request, actor: Actor) -> Response:
        status = request.query_params.get("status", ApprovalStatus.PENDING.value)
        known = [_ALL, *(each.value for each in ApprovalStatus)]
        if status not in known:
            near = did_you_mean(status, known)
            raise Refused(400, f"status: expected one of {', '.join(known)}" + f"; {near}" * bool(near))
        found = []
        for approval in await self._approvals.list(None if status == _ALL else ApprovalStatus(status)):
            record = await self._executions.load(approval.execution_id)
            if self._guard.may(actor, Permission.EXECUTIONS_LIST, scopes.of_execution(record) if record else None):
                found.append(views.approval_view(approval, record))
        return answer_with(views.ApprovalList(approvals=tuple(found)))

    async def _show(self, request: Request, actor: Actor) -> Response:
        approval, record = await self._found(request)
        await self._guard.require(actor, Permission.EXECUTIONS_READ, _scope(record), _SHOW)
        return answer_with(views.approval_view(approval, record))

    async def _answer(self, request: Request, actor: Actor) -> Response:
        given = _read(await json_body(request, self._limit))
        approval, record = await self._found(request)
        verb = Verb(given.answer)
        needed = Permission.APPROVALS_BYPASS if verb is Verb.BYPASS else Permission.APPROVALS_RESPOND
        await self._guard.require(actor, needed, _scope(record), _ANSWER)
        if not actor.human:
            raise Refused(403, f"{actor} is a machine, and this needs a person")
        said = Answer(approval.id, given.plan_hash, verb, reason=given.reason, choice=given.choice, surface="api")
        answered = await self._answering.answer(said, actor)
        if isinstance(answered, ApprovalError):
            return await self._refused(approval.id, answered)
        return answer_with(views.approval_view(answered, record))

    async def _refused(self, number: str, error: ApprovalError) -> Response:
        """Why an answer does not count; a conflict tells who was first."""
        refused = Refused(_STATUS.get(error.problem, HTTPStatus.CONFLICT), error.message)
        if refused.status != HTTPStatus.CONFLICT:
            return problem(refused)
        stands = await self._approvals.get(number)
        body = views.Conflict(
            title=HTTPStatus(refused.status).phrase,
            status=refused.status,
            detail=refused.reason,
            problem=error.problem.value,
            approval_status=stands.status.value if stands else "",
            answered_by=stands.answered_by if stands else "",
            answered_at=stands.answered_at if stands else None,
        )
        return Response(body.model_dump_json(), refused.status, refused.headers, "application/problem+json")

    async def _found(self, request: Request) -> tuple[Approval, ExecutionRecord | None]:
        approval = await self._approvals.get(request.path_params["id"])
        if approval is None:
            raise Refused(404, "no approval of this id is on record")
        return approval, await self._executions.load(approval.execution_id)


def _scope(record: ExecutionRecord | None) -> Scope:
    return scopes.of_execution(record) if record else Scope()


def _read(body: bytes) -> views.AnswerBody:
    try:
        return views.AnswerBody.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise Refused(400, f"not JSON: {first['msg']}") from error
        place = ".".join(str(part) for part in first["loc"]) or "body"
        near = did_you_mean(place, views.AnswerBody.model_fields) if first["type"] == "extra_forbidden" else ""
        raise Refused(422, f"{place}: {first['msg']}" + f"; {near}" * bool(near)) from error
