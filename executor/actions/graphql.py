"""GraphQL, and the ``api_call`` that is GraphQL or REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ConfigDict, Field

from executor.actions.base import Action, Found, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.beside import LITERAL, text_or_file
from executor.actions.calling import MAX_BYTES, Call, address, bearer, call, early
from executor.actions.checking import holds
from executor.actions.manifests import Seconds
from executor.actions.needs import NO_RIGHTS
from executor.actions.synonyms import Synonyms
from executor.actions.web import HttpRequest, HttpRequestParams, key_of, untaken
from executor.errors import PlanError, StepFailed
from executor.model import Access, Change, PlannedStep

_SUFFIXES = (".graphql", ".gql")
_MAX_QUERY = 64 * 1024
_SHOWN_ERRORS = 3


class GraphqlParams(Synonyms):
    """Parameters of ``graphql``."""

    synonyms: ClassVar[Mapping[str, str]] = {"url": "endpoint"}

    endpoint: str = Field(description="http or https, or a path below the setting `http.base_url`")
    query: str = Field(
        min_length=1,
        description="The document, or the name of a .graphql file beside the runbook; values go into `variables`",
        json_schema_extra=LITERAL,
    )
    variables: dict[str, Any] = Field({}, description="By name, without the dollar sign")
    operation: str | None = Field(None, description="Which operation, when the document has several")
    write: bool = Field(False, description="It is a mutation: it cannot be undone, so a human is asked")
    headers: dict[str, str] = Field({}, description="Beside Content-Type, Accept and Idempotency-Key")
    auth_token: str | None = Field(None, description="Sent as `Authorization: Bearer`; a secret")
    expect: str | None = Field(None, description="Expression over `data` that must hold; tried in the step's turn")
    timeout: Seconds = Field(10.0, description="For one try")
    retries: int = Field(2, ge=0, le=10, description="Further tries, of queries and of what is declared idempotent")
    idempotent: bool = Field(False, description="The other side honours Idempotency-Key, or repeating does no harm")
    max_bytes: int = Field(1024 * 1024, ge=1, le=MAX_BYTES, description="A longer answer is an error")


class Graphql(Action[GraphqlParams]):
    """Ask a GraphQL API. Errors in the answer are failures, also beside data. A mutation must say ``write: true``.

    The output is the answer: ``outputs: {name: "$.data.user.name"}``.
    """

    name = "graphql"
    access = Access.WRITE
    idempotent = False
    params_model = GraphqlParams
    rights = NO_RIGHTS
    simulated = "the document is checked; a query is asked once while planning, a mutation is shown"
    undone = "not at all, unless it only reads"
    targets = "the incident's target"
    example = """\
action: graphql
params:
  endpoint: https://api.example.com/graphql
  query: "query Owner($name: String!) { service(name: $name) { owner { email } } }"
  variables: {name: "{{ target.name }}"}
  auth_token: "{{ secrets.api_token }}"
output_var: owner
"""

    def access_of(self, params: Mapping[str, Any]) -> Access:
        """A read unless it declares that it writes; ``plan`` holds it to that."""
        return Access.READ if params.get("write", False) is False else Access.WRITE

    def repeatable(self, params: Mapping[str, Any]) -> bool:
        """Reads, and what its author declares so."""
        return self.access_of(params) is Access.READ or params.get("idempotent") is True

    async def plan(self, params: GraphqlParams, facts: TargetFacts, world: World) -> Planned:
        """Read the document and say what it does; a query that is no check is asked now."""
        document = await text_or_file(params.query, _SUFFIXES, facts, world, max_bytes=_MAX_QUERY)
        kind, name = operation_of(document, params.operation)
        if kind != "query" and not params.write:
            raise PlanError(f"the document holds the {kind} {name or '(without a name)'}: say write: true")
        update = {"query": document, "endpoint": address(params.endpoint, world)}
        ready = params.model_copy(update=update)
        given = ready.model_dump(mode="json", exclude_none=True)
        if params.write:
            change = Change(
                verb="http", summary=f"{kind} {name} at {params.endpoint}".replace("  ", " "), irreversible=True
            )
            return Planned(params=given, changes=(change,))
        result = None if params.expect else await early(_asked(ready, "", 1, world))
        return Planned(params=given, result=result)

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Ask.

        Raises:
            StepFailed: no answer came, it is no GraphQL answer, or it holds errors.
        """
        params = GraphqlParams.model_validate(step.params)
        again = step.idempotent or self.repeatable(step.params)
        return await _asked(params, key_of(stamp) if params.write else "", 1 + params.retries if again else 1, world)

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """What may be repeated is repeated, for the rest nobody can tell."""
        return Recovery(Found.NOT_DONE if step.idempotent or self.repeatable(step.params) else Found.UNKNOWN)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Nothing can be taken back."""
        return untaken(step)


def operation_of(document: str, wanted: str | None = None) -> tuple[str, str]:
    """Kind (``query``, ``mutation``, ``subscription``) and name of the operation that will run.

    Raises:
        PlanError: the document is wrong, has no such operation, or several and none is named.
    """
    from graphql import GraphQLError, OperationDefinitionNode, parse  # noqa: PLC0415 - slow, and few need it

    try:
        tree = parse(document, max_tokens=10_000)
    except (GraphQLError, RecursionError) as error:
        raise PlanError(f"the GraphQL document is wrong: {str(error).partition(chr(10))[0]}") from error
    found = [node for node in tree.definitions if isinstance(node, OperationDefinitionNode)]
    names = [node.name.value if node.name else "" for node in found]
    if wanted is not None and wanted not in names:
        raise PlanError(
            f"the GraphQL document has no operation {wanted!r}; it has {', '.join(filter(None, names)) or 'none'}"
        )
    if wanted is None and len(found) != 1:
        raise PlanError(f"the GraphQL document has {len(found)} operations: say which in `operation`")
    chosen = found[names.index(wanted) if wanted is not None else 0]
    return chosen.operation.value, chosen.name.value if chosen.name else ""


async def _asked(params: GraphqlParams, key: str, tries: int, world: World) -> Any:
    body: dict[str, Any] = {"query": params.query, "variables": params.variables}
    if params.operation:
        body["operationName"] = params.operation
    accept = {"Accept": "application/graphql-response+json, application/json"}
    wanted = Call(
        method="POST",
        url=params.endpoint,
        headers={**accept, **bearer(params.headers, params.auth_token)},
        body=body,
        timeout_seconds=params.timeout,
        tries=tries,
        repeatable=tries > 1 or not key,
        max_bytes=params.max_bytes,
    )
    answer = (await call(wanted, key, world)).json(params.endpoint)
    if not isinstance(answer, dict) or not ({"data", "errors"} & set(answer)):
        raise StepFailed(f"{params.endpoint} gave no GraphQL answer: neither data nor errors")
    if errors := answer.get("errors"):
        told = "; ".join(_message(error) for error in list(errors)[:_SHOWN_ERRORS])
        raise StepFailed(f"{params.endpoint} answered with errors: {told}")
    if params.expect:
        holds(params.expect, {"data": answer.get("data")})
    return answer


def _message(error: Any) -> str:
    if not isinstance(error, Mapping):
        return str(error)
    path = "/".join(map(str, error.get("path") or ()))
    return f"{error.get('message', 'no message')}{f' (at {path})' if path else ''}"


class ApiCallParams(HttpRequestParams):
    """Parameters of ``api_call``. What it does not know by name is a variable, or a part of the body."""

    model_config = ConfigDict(extra="allow")
    synonyms: ClassVar[Mapping[str, str]] = {**HttpRequestParams.synonyms}

    query: str | None = Field(
        None,
        description="Makes it GraphQL: the document, or a .graphql file beside the runbook",
        json_schema_extra=LITERAL,
    )
    variables: dict[str, Any] = Field({}, description="Of the GraphQL document, beside those given as parameters")
    write: bool = Field(False, description="The document is a mutation")


class ApiCall(Action[ApiCallParams]):
    """Call an API in the words of ops-001: GraphQL when there is a ``query``, else REST.

    Parameters that it does not know become variables of the query, or the fields of the body. The output is the
    answer itself.
    """

    name = "api_call"
    access = Access.WRITE
    idempotent = False
    params_model = ApiCallParams
    rights = NO_RIGHTS
    simulated = "as graphql or http_request"
    undone = "not at all, unless it only reads"
    targets = "the incident's target"
    example = """\
action: api_call
params: {endpoint: https://api.example.com/graphql, query: "query Q($id: ID!) { user(id: $id) { name } }", id: "7"}
"""

    def access_of(self, params: Mapping[str, Any]) -> Access:
        """As the action that it stands for."""
        return self._stands_for(params).access_of(_with_method(params))

    def repeatable(self, params: Mapping[str, Any]) -> bool:
        """As the action that it stands for."""
        return self._stands_for(params).repeatable(_with_method(params))

    async def plan(self, params: ApiCallParams, facts: TargetFacts, world: World) -> Planned:
        """Say what will be called."""
        extra = dict(params.model_extra or {})
        if params.query is not None:
            own = {
                name: getattr(params, name) for name in GraphqlParams.model_fields if name in params.model_fields_set
            }
            own |= {"endpoint": params.url, "variables": {**extra, **params.variables}}
            return await _GRAPHQL.plan(GraphqlParams.model_validate(own), facts, world)
        own = {
            name: getattr(params, name) for name in HttpRequestParams.model_fields if name in params.model_fields_set
        }
        if extra:
            if params.body is not None:
                raise PlanError(f"there is a body, so {', '.join(extra)} would be lost")
            own |= {"body": extra}
        return await _PLAIN.plan(HttpRequestParams.model_validate(_with_method(own)), facts, world)

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Call."""
        return await self._stands_for(step.params).perform(step, saved, stamp, world)

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """As the action that it stands for."""
        return await self._stands_for(step.params).recover(step, saved, stamp, world)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Nothing can be taken back."""
        return untaken(step)

    def _stands_for(self, params: Mapping[str, Any]) -> Action[Any]:
        return _GRAPHQL if params.get("query") is not None else _PLAIN


_OWN = {*ApiCallParams.model_fields, *ApiCallParams.synonyms}


def _with_method(params: Mapping[str, Any]) -> dict[str, Any]:
    """What has a body, or fields of one, is sent with POST unless it says otherwise."""
    sends = params.get("body") is not None or any(name not in _OWN or name in ("data", "json") for name in params)
    return {"method": "POST" if sends else "GET", **params}


class _Plain(HttpRequest):
    """REST whose output is the answer itself, as ops-001 takes parts of it."""

    def output_of(self, answer: Any, params: Any) -> Any:
        """The body."""
        return super().output_of(answer, params)["body"]


_GRAPHQL, _PLAIN = Graphql(), _Plain()
