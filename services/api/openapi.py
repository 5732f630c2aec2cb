"""The OpenAPI 3.1 document of the REST API, made from its models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from safety.approvals import ApprovalStatus
from services.api import approval_views, views
from services.api.approvals import ANSWER, APPROVAL, APPROVALS
from services.api.runs import EXECUTE, EXECUTION, IDEMPOTENCY, REQUEST, RUNBOOKS
from services.intake.asyncapi import release
from services.intake.run_request import REQUEST_ID

_REF = "#/components/schemas/{model}"
_MODELS: tuple[type[BaseModel], ...] = (
    views.Execute,
    views.Accepted,
    views.Runbooks,
    views.RequestView,
    views.ExecutionView,
    views.Problem,
    approval_views.AnswerBody,
    approval_views.ApprovalList,
    approval_views.ApprovalView,
    approval_views.Conflict,
)
_TOKENS = "The setting `api.token`, an API token (`rb tokens`), of an OIDC provider, or of a service account"
_WHY = {
    400: "The body is not JSON, or the key is none",
    401: "No token, or one that does not hold",
    403: "The caller lacks a permission; says which, and the roles that have it",
    404: "It is not known (yet), or the API is off",
    408: "The body came too slowly",
    409: "The runbook cannot be asked for by name, or another version is in force",
    413: "The body is too large",
    415: "The body is not application/json",
    422: "A field or a parameter does not fit",
    503: "Kafka or the graph is away; send it again later",
}


def openapi() -> dict[str, Any]:
    """The document."""
    _, joined = models_json_schema([(model, "serialization") for model in _MODELS], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rootmend",
            "version": release(),
            "description": "Ask for a runbook by name, see what became of it, and answer what people are asked.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": {
            RUNBOOKS: {"get": _get("listRunbooks", "The runbooks in force", views.Runbooks)},
            EXECUTE: {"post": _execute()},
            REQUEST: {"get": _get("getRequest", "A request, its decision and its execution", views.RequestView, 404)},
            EXECUTION: {"get": _get("getExecution", "An execution as it stands", views.ExecutionView, 404)},
            APPROVALS: {"get": _list_approvals()},
            APPROVAL: {"get": _get("getApproval", "A question as it stands", approval_views.ApprovalView, 404)},
            ANSWER: {"post": _answer()},
        },
        "components": {
            "schemas": joined["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": _TOKENS}},
        },
    }


def _execute() -> dict[str, Any]:
    key = {
        "name": IDEMPOTENCY,
        "in": "header",
        "required": False,
        "description": "Becomes the id of the request: sent again, it is the same request and runs once",
        "schema": {"type": "string", "pattern": REQUEST_ID},
    }
    location = {"description": "Where its decision will be", "schema": {"type": "string"}}
    return {
        "operationId": "executeRunbook",
        "summary": "Ask for a runbook; answered when Kafka has the request",
        "parameters": [_id(), key],
        "requestBody": {"required": True, "content": _json(views.Execute)},
        "responses": {
            "202": {
                "description": "Kafka has the request",
                "headers": {"Location": location},
                "content": _json(views.Accepted),
            },
            **_problems(*_WHY),
        },
    }


def _list_approvals() -> dict[str, Any]:
    status = {
        "name": "status",
        "in": "query",
        "required": False,
        "description": "Only questions of this status; all for every one",
        "schema": {"enum": ["all", *(each.value for each in ApprovalStatus)], "default": "pending"},
    }
    summary = "Questions that the caller may see, oldest first"
    operation = _get("listApprovals", summary, approval_views.ApprovalList, 400)
    return {**operation, "parameters": [status]}


def _answer() -> dict[str, Any]:
    """A 409 tells who decided."""
    conflict = _REF.format(model=approval_views.Conflict.__name__)
    told = {"application/problem+json": {"schema": {"$ref": conflict}}}
    why = "Somebody was first, it expired, or the plan is another one: says which, and who decided"
    done = {"description": "The question after the answer", "content": _json(approval_views.ApprovalView)}
    problems = _problems(400, 401, 403, 404, 408, 413, 415, 422, 503)
    return {
        "operationId": "answerApproval",
        "summary": "Answer a question: once, for the plan that was shown",
        "parameters": [_id()],
        "requestBody": {"required": True, "content": _json(approval_views.AnswerBody)},
        "responses": {"200": done, **problems, "409": {"description": why, "content": told}},
    }


def _get(number: str, summary: str, model: type[BaseModel], *problems: int) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": number,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": _json(model)}, **_problems(401, 403, 503, *problems)},
    }
    return operation if model is views.Runbooks else {**operation, "parameters": [_id()]}


def _id() -> dict[str, Any]:
    return {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


def _json(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}


def _problems(*codes: int) -> dict[str, Any]:
    where = _REF.format(model=views.Problem.__name__)
    return {
        str(code): {
            "description": _WHY[code],
            "content": {"application/problem+json": {"schema": {"$ref": where}}},
        }
        for code in sorted(codes)
    }
