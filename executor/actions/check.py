"""Ask the graph."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from executor.actions.base import Action, Params, Planned, Stamp, TargetFacts, World
from executor.actions.needs import NO_RIGHTS
from executor.errors import PlanError, StepFailed
from executor.model import PlannedStep
from runbooks.templates import TemplateError, evaluate

_TIMES = ("incident_time",)


class CheckParams(Params):
    """Parameters of ``check_neo4j``."""

    query: str = Field(min_length=1, description="Read-only Cypher")
    parameters: dict[str, Any] = Field(
        {}, description="Beside those of the incident: $incident_id, $incident_time, $resource_rid, $tenant, ..."
    )
    expect: str = Field(min_length=1, description="Expression over the columns; it must hold for every row")


class CheckNeo4j(Action[CheckParams]):
    """Run a read-only query and compare its rows with what is expected."""

    name = "check_neo4j"
    params_model = CheckParams
    rights = NO_RIGHTS
    example = """\
action: check_neo4j
params:
  query: "MATCH (e:Episodic {eid: $incident_id})<-[:REPEATS]-(n) RETURN count(n) AS repeats"
  expect: "repeats == 0"
"""

    async def plan(self, params: CheckParams, facts: TargetFacts, world: World) -> Planned:
        """Fill in what the incident says; the query runs when its turn comes."""
        merged = {**facts.parameters, **params.parameters}
        return Planned(params={"query": params.query, "parameters": merged, "expect": params.expect})

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Query and compare.

        Raises:
            StepFailed: there are no rows, or one is not as expected.
        """
        params = CheckParams.model_validate(step.params)
        given = {name: _as_time(name, value) for name, value in params.parameters.items()}
        rows = await world.graph.read(params.query, given)
        if not rows:
            raise StepFailed(f"the query gave no rows, so {params.expect!r} is not proven")
        for row in rows:
            if not _holds(params.expect, row):
                raise StepFailed(f"expected {params.expect}, found {_shown(row)}")
        return {"rows": len(rows), "first": {key: str(value) for key, value in rows[0].items()}}


def _as_time(name: str, value: Any) -> Any:
    """Times are texts in JSON, and the graph compares them with its own."""
    if name not in _TIMES or not isinstance(value, str):
        return value
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise PlanError(f"{name} is not a time: {value!r}") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _holds(expect: str, row: Mapping[str, Any]) -> bool:
    try:
        held = evaluate(expect, row)
    except TemplateError as error:
        raise PlanError(f"expect {expect!r} cannot be read over the columns {', '.join(row)}: {error}") from error
    if not isinstance(held, bool):
        raise PlanError(f"expect {expect!r} gives {held!r}, which is neither true nor false")
    return held


def _shown(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in row.items())
