"""One number from a metric, or a clear reason why there is none. A silent metric is never a pass."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from executor.actions.base import TargetFacts, World
from executor.data_ports import Sample, Series
from executor.errors import PlanError, StepFailed
from runbooks.templates import TemplateError, render

_SHOWN_SERIES = 5


@dataclass(frozen=True, slots=True)
class Window:
    """A look back.

    Attributes:
        coverage: share of the points that must be there.
    """

    seconds: float
    step_seconds: float
    coverage: float = 0.9

    @property
    def points(self) -> int:
        """How many points a series without gaps has."""
        return int(self.seconds // self.step_seconds) + 1


def named_query(name: str, facts: TargetFacts, world: World) -> str:
    """The PromQL of ``metrics.NAME`` for the incident's target.

    Raises:
        NotConfigured: the settings do not know the name.
        PlanError: its template needs something that the incident does not say.
    """
    template = world.metrics.named(name)
    target = facts.target
    names = {
        "namespace": facts.namespace,
        "name": target.name,
        "kind": target.kind,
        "pod": facts.pod,
        "container": facts.container,
        "node": facts.node,
        "tenant": facts.parameters.get("tenant", ""),
        "cluster": facts.parameters.get("cluster", ""),
    }
    try:
        return str(render(template, {key: escaped(str(value)) for key, value in names.items()}))
    except TemplateError as error:
        raise PlanError(f"the query of metrics.{name} cannot be made: {error}") from error


def escaped(value: str) -> str:
    """A value as it may stand between the quotes of a label matcher."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


async def value_now(query: str, world: World, timeout_seconds: float) -> float:
    """The value of the one series that a query gives.

    Raises:
        StepFailed: there is no series, there are several, or the value is no number.
    """
    (sample,) = await samples_now(query, world, timeout_seconds, several=False)
    return sample.value


async def samples_now(query: str, world: World, timeout_seconds: float, *, several: bool) -> Sequence[Sample]:
    """The series of a query, each with a finite value.

    Raises:
        StepFailed: there is none, there are several where one is meant, or a value is no number.
    """
    found = await world.metrics.instant(query, timeout_seconds=timeout_seconds)
    _count([sample.labels for sample in found], query, several=several)
    for sample in found:
        if not math.isfinite(sample.value):
            raise StepFailed(f"{query} gives {_spelt(sample.value)} for {_shown(sample.labels)}: nothing was measured")
    return found


async def series_over(query: str, window: Window, world: World, timeout_seconds: float) -> Series:
    """The one series that a query gives over a time, without large gaps.

    Raises:
        StepFailed: there is none, there are several, points are missing or are no numbers.
    """
    end = world.clock.now()
    start = end - timedelta(seconds=window.seconds)
    found = await world.metrics.window(
        query, start, end, step_seconds=window.step_seconds, timeout_seconds=timeout_seconds
    )
    _count([series.labels for series in found], query, several=False)
    series = found[0]
    there, wanted = len(series.points), window.points
    if there < max(2, math.ceil(wanted * window.coverage)):
        raise StepFailed(f"{query} has {there} of {wanted} points: too few to judge")
    if any(not math.isfinite(value) for _, value in series.points):
        raise StepFailed(f"{query} has points that are no numbers: nothing was measured there")
    return series


def _count(found: Sequence[Mapping[str, str]], query: str, *, several: bool) -> None:
    if not found:
        raise StepFailed(f"{query} gives no series: nothing was measured")
    if len(found) > 1 and not several:
        names = ", ".join(_shown(labels) for labels in found[:_SHOWN_SERIES])
        raise StepFailed(f"{query} gives {len(found)} series where one is meant: {names}; aggregate them")


def _shown(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key}={value}" for key, value in sorted(labels.items())) + "}"


def _spelt(value: float) -> str:
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def reduced(series: Series) -> dict[str, Any]:
    """What can be said of a series over a time; ``value`` is the last one."""
    values = [value for _, value in series.points]
    return {
        "value": values[-1],
        "first": values[0],
        "min": min(values),
        "max": max(values),
        "avg": math.fsum(values) / len(values),
        "points": len(values),
    }
