"""Set the number of replicas, or change it within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import Any, Self

from pydantic import Field, model_validator

from executor.actions.base import Planned, TargetFacts, World
from executor.actions.editing import Edit
from executor.actions.objects import ObjectEdit, ObjectParams
from executor.errors import PlanError
from executor.ports import KubeObject


class ScaleParams(ObjectParams):
    """Parameters of ``kubectl_scale``."""

    replicas: int | None = Field(None, ge=0, description="How many pods are wanted")
    add: int | None = Field(None, description="How many more than now; fewer when negative. More needs `max`")
    multiply: float | None = Field(
        None, gt=0, le=100, description="Times as many as now, rounded up; above 1 needs `max`"
    )
    max: int | None = Field(None, ge=1, description="Ceiling: never more than these, and nothing grows from there")
    min: int = Field(1, ge=0, description="Floor of what add and multiply may lead to")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in ("replicas", "add", "multiply") if getattr(self, way) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of replicas, add and multiply; {' and '.join(given) or 'none'} is given")
        if ((self.add or 0) > 0 or (self.multiply or 0) > 1) and self.max is None:
            raise ValueError(f"{given[0]} would add pods with every run: give max")
        return self


class KubectlScale(ObjectEdit[ScaleParams]):
    """Set the number of replicas, or change it by a number or factor up to a ceiling."""

    name = "kubectl_scale"
    aliases = ("kubernetes/scale",)
    params_model = ScaleParams
    verb = "scale"
    undo_words = "the prior number of replicas is set again, unless somebody else scaled meanwhile"
    example = """\
action: kubectl_scale
params: {resource: deployment, add: 2, max: 10}
"""

    async def live(self, params: ScaleParams, facts: TargetFacts, world: World) -> KubeObject:
        """The object, if it can be scaled."""
        found = await super().live(params, facts, world)
        if not isinstance(found.get("spec", {}).get("replicas"), int):
            raise PlanError(f"a {found['kind']} has no replicas that could be set")
        return found

    async def plan(self, params: ScaleParams, facts: TargetFacts, world: World) -> Planned:
        """Work the number out once: a second try must not grow a second time."""
        live = await self.live(params, facts, world)
        wanted = replicas(params, live["spec"]["replicas"], f"{live['kind']} {live['metadata']['name']}")
        fixed = params.model_copy(update={"replicas": wanted, "add": None, "multiply": None})
        return await super().plan(fixed, facts, world)

    def edit(self, params: ScaleParams, extras: Mapping[str, Any]) -> Edit:
        """Replicas in the object itself: the scale subresource could not carry the stamp in the same write."""
        return Edit({"spec": {"replicas": params.replicas}}, "merge")

    def summary(self, params: ScaleParams, live: KubeObject, extras: Mapping[str, Any]) -> str:
        """From how many to how many."""
        return f"replicas of {live['kind']} {live['metadata']['name']}: {live['spec']['replicas']} -> {params.replicas}"


def replicas(params: ScaleParams, now: int, what: str) -> int:
    """How many replicas the parameters mean.

    Raises:
        PlanError: more than the ceiling, or it is reached already.
    """
    if params.replicas is not None:
        if params.max is not None and params.replicas > params.max:
            raise PlanError(f"{what} would get {params.replicas} replicas, and the ceiling is {params.max}")
        return params.replicas
    if params.multiply is not None and now == 0:
        raise PlanError(f"{what} has no replicas, so there is nothing to multiply: give replicas")
    wanted = now + params.add if params.add is not None else ceil(now * Fraction(str(params.multiply)))
    if wanted > now:
        most = params.max or now
        if now >= most:
            raise PlanError(f"{what} has {now} replicas and the ceiling is {most}: more is for a human to decide")
        return min(wanted, most)
    # A floor above the present number must not make a reduction grow.
    return max(wanted, min(params.min, now))
