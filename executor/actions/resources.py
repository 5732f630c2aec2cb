"""Set requests and limits of a container, with a ceiling for what grows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from executor.actions.base import TargetFacts
from executor.actions.containers import container_named, containers_of, pod_spec
from executor.actions.setting import ContainerEdit, ContainerParams
from executor.errors import PlanError
from executor.ports import KubeObject
from runbooks.quantities import Quantity


def _amounts(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    return {str(name): None if amount is None else str(Quantity(str(amount))) for name, amount in value.items()}


Amounts = Annotated[dict[str, str | None], BeforeValidator(_amounts)]
"""Quantities by resource; null takes one away."""


def _ceilings(value: dict[str, str | None]) -> dict[str, str | None]:
    if missing := [name for name, amount in value.items() if amount is None]:
        raise ValueError(f"a ceiling cannot be empty: {', '.join(missing)}")
    return value


class ResourcesParams(ContainerParams):
    """Parameters of ``kubectl_set_resources``."""

    limits: Amounts = Field({}, description="New limits by resource; null takes one away")
    requests: Amounts = Field({}, description="New requests by resource; null takes one away")
    multiply: dict[str, Annotated[float, Field(gt=0, le=100)]] = Field(
        {}, description="Factors by resource: the limit that is there is multiplied; one above 1 needs `max`"
    )
    max: Annotated[Amounts, AfterValidator(_ceilings)] = Field(
        {}, description="Ceilings by resource: nothing is set above, and what has reached its ceiling does not grow"
    )

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if not (self.limits or self.requests or self.multiply):
            raise ValueError("give limits, requests or multiply")
        if twice := sorted(self.limits.keys() & self.multiply.keys()):
            raise ValueError(f"{', '.join(twice)} is given in limits and in multiply")
        if endless := sorted(name for name, by in self.multiply.items() if by > 1 and name not in self.max):
            raise ValueError(f"{', '.join(endless)} would grow with every run: give max: {{{endless[0]}: ...}}")
        return self


class KubectlSetResources(ContainerEdit[ResourcesParams]):
    """Change requests and limits of a container, by value or by a factor up to a ceiling."""

    name = "kubectl_set_resources"
    aliases = ("kubernetes/setResources",)
    params_model = ResourcesParams
    verb = "set resources"
    example = """\
action: kubectl_set_resources
params:
  resource: deployment
  multiply: {memory: 2}
  max: {memory: 2Gi}
"""

    def decided(self, params: ResourcesParams, live: KubeObject, facts: TargetFacts, what: str) -> ResourcesParams:
        """With the container, and factors worked out: a second try must not grow a second time."""
        spec = pod_spec(live)
        container = container_named(spec, params.container, facts, what)
        has = (containers_of(spec)[container].get("resources") or {}).get("limits") or {}
        where = f"container {container} of {what}"
        limits = dict(params.limits)
        for name, factor in params.multiply.items():
            limits[name] = grown(name, has.get(name), factor, params.max.get(name), where)
        for part, amounts in (("limit", limits), ("request", params.requests)):
            _refuse_above(amounts, params.max, f"{part} of {where}")
        return params.model_copy(update={"container": container, "limits": limits, "multiply": {}})

    def entries(self, params: ResourcesParams, known: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Only the resources that are named."""
        parts = {"limits": params.limits, "requests": params.requests}
        return [{"name": params.container, "resources": {part: dict(given) for part, given in parts.items() if given}}]


def grown(name: str, has: str | None, factor: float, ceiling: str | None, where: str) -> str:
    """The limit times the factor, at most the ceiling.

    Raises:
        PlanError: there is no limit, or it has reached its ceiling.
    """
    if has is None:
        raise PlanError(f"{where} has no {name} limit, so there is nothing to multiply: give limits: {{{name}: ...}}")
    now = Quantity(str(has))
    wanted = now * factor
    if ceiling is None or factor <= 1:
        return str(wanted)
    most = Quantity(ceiling)
    if now >= most:
        raise PlanError(f"{where} has {now} {name} and its ceiling is {most}: growing further is for a human to decide")
    return str(min(wanted, most))


def _refuse_above(amounts: Mapping[str, str | None], ceilings: Mapping[str, str | None], what: str) -> None:
    for name, ceiling in ceilings.items():
        if name not in amounts:
            continue
        amount = amounts[name]
        if amount is None:
            raise PlanError(f"the {name} {what} would be taken away, and its ceiling is {ceiling}")
        if Quantity(amount) > Quantity(str(ceiling)):
            raise PlanError(f"the {name} {what} would be {amount}, and its ceiling is {ceiling}")
