"""Ask Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from executor.actions.base import Action, Planned, Stamp, TargetFacts, World
from executor.actions.calling import early
from executor.actions.checking import holds
from executor.actions.manifests import Seconds
from executor.actions.needs import NO_RIGHTS
from executor.actions.promql import Window, escaped, named_query, reduced, samples_now, series_over, value_now
from executor.actions.synonyms import Synonyms
from executor.model import PlannedStep

_MAX_POINTS = 5_000
_MAX_SERIES = 500


class MetricsQueryParams(Synonyms):
    """Parameters of ``metrics_query``."""

    synonyms: ClassVar[Mapping[str, str]] = {"promql": "query", "window": "range"}

    query: str | None = Field(None, min_length=1, max_length=10_000, description="PromQL")
    metric: str | None = Field(
        None, min_length=1, description="Instead of query: a name from the setting `prometheus.queries`"
    )
    expect: str | None = Field(
        None, description="Expression that must hold, over `value` (with range also min, max, avg, first, points)"
    )
    each: bool = Field(False, description="Several series are fine; `expect` must hold for each of them")
    range: Seconds | None = Field(None, description="Look back so far; left out, only now")
    step: Seconds = Field(30.0, gt=0, description="With range: distance of the points")
    coverage: float = Field(0.9, gt=0, le=1, description="With range: share of the points that must be there")
    timeout: Seconds = Field(10.0, description="Longest wait for the answer")

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if (self.query is None) == (self.metric is None):
            raise ValueError("give either query or metric")
        if self.each and self.range is not None:
            raise ValueError("each asks about now: leave out range, or aggregate the series")
        if self.range is not None and self.range / self.step > _MAX_POINTS:
            raise ValueError(f"range / step gives more than {_MAX_POINTS} points")
        return self


class MetricsQuery(Action[MetricsQueryParams]):
    """Ask Prometheus for a number. No series, several series, NaN and gaps are failures, never a pass.

    The output has ``value`` (of the last point with ``range``, which adds min, max, avg, first and points), or, with
    ``each``, ``values``. Without ``expect`` it is read while planning; with it, in the step's turn.
    """

    name = "metrics_query"
    aliases = ("prometheus_query", "metrics/query", "prometheus/query")
    params_model = MetricsQueryParams
    rights = NO_RIGHTS
    quoting: ClassVar[Mapping[str, Callable[[str], str]]] = {"query": escaped, "promql": escaped}
    simulated = "it is asked while planning, unless it is a check"
    undone = "nothing to undo: it only reads"
    targets = "nothing"
    example = """\
action: metrics_query
params:
  query: 'sum(rate(http_requests_total{namespace="{{ target.namespace }}",code=~"5.."}[5m]))'
  range: 10m
  step: 1m
  expect: "max < 5"
"""

    async def plan(self, params: MetricsQueryParams, facts: TargetFacts, world: World) -> Planned:
        """Work out the query; it is asked now unless it is a check."""
        query = params.query or named_query(params.metric or "", facts, world)
        ready = params.model_copy(update={"query": query, "metric": None})
        given = ready.model_dump(mode="json", exclude_none=True)
        result = None if params.expect else await early(_asked(ready, world))
        return Planned(params=given, result=result)

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Ask.

        Raises:
            StepFailed: there is no number, or it is not as expected.
        """
        return await _asked(MetricsQueryParams.model_validate(step.params), world)


async def _asked(params: MetricsQueryParams, world: World) -> dict[str, Any]:
    query = params.query or ""
    if params.each:
        found = await samples_now(query, world, params.timeout, several=True)
        for sample in found:
            if params.expect:
                holds(params.expect, {"value": sample.value, "labels": dict(sample.labels)})
        values = [sample.value for sample in found]
        kept = [{"labels": dict(sample.labels), "value": sample.value} for sample in found[:_MAX_SERIES]]
        return {"query": query, "values": kept, "count": len(found), "min": min(values), "max": max(values)}
    if params.range is None:
        output: dict[str, Any] = {"value": await value_now(query, world, params.timeout)}
    else:
        window = Window(params.range, params.step, params.coverage)
        output = reduced(await series_over(query, window, world, params.timeout))
    if params.expect:
        holds(params.expect, output)
    return {"query": query, **output}
