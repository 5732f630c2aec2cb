"""Check data against a schema, give values a name, publish numbers."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from executor.actions.base import Action, Planned, Stamp, TargetFacts, World
from executor.actions.beside import text_or_file
from executor.actions.calling import early
from executor.actions.needs import NO_RIGHTS
from executor.actions.synonyms import Synonyms
from executor.errors import PlanError, StepFailed
from executor.model import Access, PlannedStep
from runbooks.secret_refs import references_in

_MAX_SCHEMA = 256 * 1024
_MAX_ITEMS = 10_000
_MAX_ERRORS = 100
_LONGEST_MESSAGE = 300
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class SchemaCheckParams(Synonyms):
    """Parameters of ``schema_check``."""

    synonyms: ClassVar[Mapping[str, str]] = {"entities": "value", "items": "value", "data": "value"}

    value: Any = Field(description="A list, whose items are checked one by one, or one value")
    schema_: Any = Field(
        alias="schema", description="JSON Schema as data, or the name of a .json or .yaml file beside the runbook"
    )
    on_errors: Literal["partition", "fail"] | None = Field(
        None, description="partition: wrong items are only told apart; left out, that for a list, fail for one value"
    )


class SchemaCheck(Action[SchemaCheckParams]):
    """Check data against a JSON Schema. Of a list, the output is the ``valid`` items and the ``errors`` of the rest."""

    name = "schema_check"
    access = Access.READ
    params_model = SchemaCheckParams
    rights = NO_RIGHTS
    simulated = "it is checked while planning"
    undone = "nothing to undo: it only reads"
    example = """\
action: schema_check
params:
  value: "{{ steps.fetch.output.data.entities }}"
  schema: {type: object, required: [id], properties: {id: {type: string}}}
output_var: checked
"""

    async def plan(self, params: SchemaCheckParams, facts: TargetFacts, world: World) -> Planned:
        """Read the schema; what is partitioned is checked now."""
        schema = params.schema_
        if isinstance(schema, str):
            text = await text_or_file(schema, (".json", ".yaml", ".yml"), facts, world, max_bytes=_MAX_SCHEMA)
            schema = _parsed(text, schema)
        _check_schema(schema)
        on_errors = params.on_errors or ("partition" if isinstance(params.value, list) else "fail")
        given = {"value": params.value, "schema": schema, "on_errors": on_errors}
        ready = SchemaCheckParams.model_validate(given)
        return Planned(params=given, result=await early(_checked(ready)))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Check.

        Raises:
            StepFailed: the value is wrong, and that is not what the step is there to tell apart.
        """
        return await _checked(SchemaCheckParams.model_validate(step.params))


def _parsed(text: str, name: str) -> Any:
    from runbooks.findings import RunbookError  # noqa: PLC0415 - only for files
    from runbooks.yaml_source import parse_yaml  # noqa: PLC0415 - as above

    try:
        return parse_yaml(text).value
    except RunbookError as error:
        first = error.findings[0]
        raise PlanError(f"{name}, line {first.line}, column {first.column}: {first.message}") from error


def _validator(schema: Any) -> Any:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow, and few need it
    from jsonschema.validators import validator_for  # noqa: PLC0415 - as above
    from referencing import Registry  # noqa: PLC0415 - as above

    made = validator_for(schema, default=Draft202012Validator)
    # An empty registry: a reference to an address must not fetch it.
    registry: Registry[Any] = Registry()
    return made(schema, registry=registry, format_checker=made.FORMAT_CHECKER)


def _check_schema(schema: Any) -> None:
    from jsonschema import SchemaError  # noqa: PLC0415 - slow, and few need it

    if not isinstance(schema, Mapping):
        raise PlanError(f"a JSON Schema is a mapping, not {type(schema).__name__}")
    try:
        _validator(schema).check_schema(schema)
    except SchemaError as error:
        raise PlanError(f"the JSON Schema is wrong at {error.json_path}: {error.message[:_LONGEST_MESSAGE]}") from error


async def _checked(params: SchemaCheckParams) -> dict[str, Any]:
    if isinstance(params.value, list) and len(params.value) > _MAX_ITEMS:
        raise PlanError(f"a list of at most {_MAX_ITEMS} items can be checked, this one has {len(params.value)}")
    output = await asyncio.to_thread(_partition, params.value, params.schema_)
    if params.on_errors == "fail" and output["error_count"]:
        first = output["errors"][0]
        where = f"item {first['index']} " if first["index"] is not None else ""
        raise StepFailed(f"{output['error_count']} wrong: {where}{first['path']}: {first['message']}")
    return output


def _partition(value: Any, schema: Mapping[str, Any]) -> dict[str, Any]:
    from referencing.exceptions import Unresolvable  # noqa: PLC0415 - slow, and few need it

    validator = _validator(schema)
    items: Sequence[Any] = value if isinstance(value, list) else [value]
    valid: list[Any] = []
    errors: list[dict[str, Any]] = []
    wrong = 0
    try:
        for index, item in enumerate(items):
            found = list(_errors(validator, item, index if isinstance(value, list) else None))
            wrong += bool(found)
            errors += found[: max(0, _MAX_ERRORS - len(errors))]
            if not found:
                valid.append(item)
    except Unresolvable as error:
        raise PlanError(f"the JSON Schema refers to what it does not hold: {error}") from error
    except RecursionError as error:
        raise PlanError("the data or the schema is nested too deeply") from error
    return {"valid": valid, "errors": errors, "valid_count": len(valid), "error_count": wrong}


def _errors(validator: Any, item: Any, index: int | None) -> Iterator[dict[str, Any]]:
    for error in validator.iter_errors(item):
        yield {
            "index": index,
            "path": error.json_path,
            "type": "schema_validation",
            "message": error.message[:_LONGEST_MESSAGE],
        }


class SetParams(Synonyms):
    """Parameters of ``set``."""

    values: dict[str, Any] = Field(min_length=1, description="Values by name; texts may be templates")


class SetValues(Action[SetParams]):
    """Give values names, for later steps: ``steps.ID.output.NAME``, or ``VAR.NAME`` with ``output_var: VAR``."""

    name = "set"
    aliases = ("set_values",)
    access = Access.NONE
    params_model = SetParams
    rights = NO_RIGHTS
    simulated = "it is done while planning"
    undone = "nothing to undo: it changes nothing"
    example = """\
action: set
params: {values: {replicas: "{{ target.replicas | default(2) }}", team: platform}}
output_var: chosen
"""

    async def plan(self, params: SetParams, facts: TargetFacts, world: World) -> Planned:
        """The values."""
        if names := references_in(params.values):
            raise PlanError(f"a value must not hold secrets, it would be stored: {', '.join(sorted(names))}")
        return Planned(params={"values": params.values}, result=params.values)

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """The values."""
        return step.params["values"]


class MetricsPublishParams(Synonyms):
    """Parameters of ``metrics_publish``."""

    metrics: dict[str, Any] = Field(min_length=1, max_length=100, description="Numbers by the name of their metric")
    labels: dict[str, str] = Field({}, max_length=10, description="Beside `runbook`, which every metric carries")


class MetricsPublish(Action[MetricsPublishParams]):
    """Publish numbers as gauges: on the pipeline's own page of metrics, and to a Pushgateway where one is configured.

    Publishing is repeated without harm: the last value counts.
    """

    name = "metrics_publish"
    access = Access.NOTIFY
    params_model = MetricsPublishParams
    rights = NO_RIGHTS
    simulated = "the numbers are shown and not published"
    undone = "not at all: a published number stays until the next one"
    targets = "nothing in the cluster"
    example = """\
action: metrics_publish
params: {metrics: {entities_processed: "{{ steps.enrich.output.data.entities | length }}"}}
"""

    async def plan(self, params: MetricsPublishParams, facts: TargetFacts, world: World) -> Planned:
        """Check the names and the numbers."""
        for name in params.metrics:
            if not _METRIC.fullmatch(name):
                raise PlanError(f"{name!r} is no name of a metric: letters, digits, _ and :, no digit in front")
        for name in params.labels:
            if not _LABEL.fullmatch(name) or name.startswith("__") or name in ("job", "runbook"):
                raise PlanError(f"{name!r} is no name of a label here: letters, digits and _; not job or runbook")
        values = {name: _number(name, value) for name, value in params.metrics.items()}
        labels = {**params.labels, "runbook": facts.runbook or "unknown"}
        return Planned(params={"metrics": values, "labels": dict(labels)})

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Publish."""
        values = {name: float(value) for name, value in step.params["metrics"].items()}
        where = await world.metrics_sink.publish(step.params["labels"], values)
        return {"published": values, "to": where}


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool):
        return float(value)
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise PlanError(f"{name} is no number: {json.dumps(value, default=str)[:80]}") from error
    if not math.isfinite(number):
        raise PlanError(f"{name} is {number}, which is no measurement")
    return number
