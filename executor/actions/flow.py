"""Calculate and wait."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from executor.actions.base import Action, Found, Params, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.manifests import Seconds
from executor.actions.naming import WORKLOADS, same_kind
from executor.actions.needs import NO_RIGHTS, OBJECT, TARGET, Right
from executor.actions.synonyms import Synonyms
from executor.actions.until import NAMES, Question, looker, metric_looker, question
from executor.actions.waiting import Look, condition_of, limit_of, rollout, wait_for
from executor.errors import PlanError
from executor.model import Access, PlannedStep
from matcher.kinds import canonical_kind

_CONDITION = re.compile(
    r"(?:(?P<kind>[A-Za-z][A-Za-z0-9.]*)(?:/(?P<name>[A-Za-z0-9][A-Za-z0-9.-]*))?\s+)(?P<state>ready|available|complete)"
)
_FORMS = "pod/NAME ready, deployment/NAME available, rollout complete, rollout/NAME complete, node/NAME ready"


class CalculateParams(Params):
    """Parameters of ``calculate``."""

    expression: Any = Field(description="A template; quantities keep their unit: `{{ current_memory * 2 }}`")


class Calculate(Action[CalculateParams]):
    """Give a value a name. The template engine has done the calculation by the time this runs."""

    name = "calculate"
    access = Access.NONE
    params_model = CalculateParams
    rights = NO_RIGHTS
    example = """\
action: calculate
params: {expression: "{{ current_memory * 2 }}"}
output_var: new_memory
"""

    async def plan(self, params: CalculateParams, facts: TargetFacts, world: World) -> Planned:
        """The value."""
        if params.expression is None:
            raise PlanError("the expression has no value")
        return Planned(params={"expression": params.expression}, result=params.expression)

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """The value."""
        return step.params["expression"]


class WaitParams(Synonyms):
    """Parameters of ``wait``."""

    synonyms: ClassVar[Mapping[str, str]] = {"duration": "seconds", "pollInterval": "poll", "interval": "poll"}

    seconds: Seconds | None = Field(None, description="A fixed time")
    condition: str | None = Field(None, description=f"One of: {_FORMS}; or an expression, as with until")
    until: str | None = Field(None, description=f"An expression over live things: {NAMES}")
    metric: str | None = Field(None, description="PromQL that gives one number; `expect` says which")
    expect: str | None = Field(None, description="With metric: expression over `value` that must hold")
    timeout: Seconds | None = Field(None, description="Longest wait for the condition; left out, the step's own")
    poll: Seconds | None = Field(None, gt=0, description="Pause between looks; left out, short and growing to 2 s")
    hold: Seconds = Field(0.0, ge=0, description="It must hold for so long without a break")
    namespace: str | None = Field(None, description="Namespace of the object; left out, it is the incident's")
    asked: SkipJsonSchema[dict[str, Any] | None] = Field(None, description="Made while planning, for no author")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if sum(given is not None for given in (self.seconds, self.condition, self.until, self.metric)) != 1:
            raise ValueError("give one of seconds, condition, until and metric")
        if (self.metric is None) != (self.expect is None):
            raise ValueError("metric and expect belong together")
        return self


class Wait(Action[WaitParams]):
    """Wait for a time, or until a condition holds. A pod that is replaced is followed to its owner.

    ``until: "metrics.errorRate < 5"`` asks Prometheus for a query that the settings name,
    ``until: "deployment.status.readyReplicas == deployment.spec.replicas"`` reads the live object again and again. What
    is not measured does not hold.
    """

    name = "wait"
    aliases = ("wait/until", "wait/for", "wait/condition", "wait/metric", "wait/time")
    access = Access.READ
    params_model = WaitParams
    rights = (Right(("get",), OBJECT), Right(("get",), TARGET))
    simulated = "what it waits for is worked out while planning; nobody waits"
    undone = "nothing to undo: it only reads"
    targets = "nothing"
    example = """\
action: wait
params: {condition: "pod/{{ incident.resource.name }} ready", timeout: 5m}
"""

    def rights_for(self, params: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Right, ...]:
        """A time needs nothing, a metric neither; a pod that is replaced is followed to its owner."""
        looks = params.get("condition") is not None or params.get("until") is not None
        return self.rights if looks else NO_RIGHTS

    async def plan(self, params: WaitParams, facts: TargetFacts, world: World) -> Planned:
        """Decide what is waited for; the waiting comes when its turn comes."""
        expression = params.until or params.condition
        if expression is None:
            return Planned(params=params.model_dump(mode="json", exclude_none=True))
        namespace = params.namespace or facts.namespace
        if params.until is not None or _is_expression(expression):
            asked = question(expression, namespace, facts, world)
            update: dict[str, Any] = {"until": expression, "condition": None, "asked": asked.stored()}
            return Planned(params=params.model_copy(update=update).model_dump(mode="json", exclude_none=True))
        kind, name, state = _parsed(expression)
        if kind == "rollout":
            kind, name = _rollout_of(name, facts)
        elif kind == "Pod":
            kind, name = await _followed(name or facts.pod, namespace, facts, world)
        elif not name:
            name = _named_by_facts(kind, facts, expression)
        update = {"condition": f"{kind}/{name} {state}", "namespace": namespace or None}
        return Planned(params=params.model_copy(update=update).model_dump(mode="json", exclude_none=True))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Wait."""
        params = WaitParams.model_validate(step.params)
        if params.seconds is not None:
            await world.clock.sleep(_left(params.seconds, saved, world))
            return {"waited_seconds": params.seconds}
        began = world.clock.monotonic()
        what, look = _looks(params, world)
        seen = await wait_for(what, look, limit_of(params.timeout, step), world, poll=params.poll, hold=params.hold)
        waited = round(world.clock.monotonic() - began, 3)
        return {"condition": what, "detail": seen.detail, "waited_seconds": waited}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """Waiting changes nothing, so it begins anew."""
        return Recovery(Found.NOT_DONE)


def _left(seconds: float, saved: Mapping[str, Any], world: World) -> float:
    """What is left of a fixed time: a process that takes over waits for the rest."""
    since = saved.get("since")
    gone = (world.clock.now() - datetime.fromisoformat(since)).total_seconds() if since else 0.0
    return max(0.0, seconds - max(0.0, gone))


def _is_expression(condition: str) -> bool:
    """Whether a condition compares something, or names a field: none of the fixed forms does."""
    return re.search(r"[<>=]|^\s*(?:not\s+)?\w+\.\w", condition) is not None


def _looks(params: WaitParams, world: World) -> tuple[str, Callable[[], Awaitable[Look]]]:
    """What is waited for, in words, and how it is looked at."""
    if params.metric is not None:
        return f"{params.metric}: {params.expect}", metric_looker(params.metric, params.expect or "", world)
    if params.until is not None:
        return params.until, looker(Question.restored(params.asked or {}), world)
    kind, name, state = _parsed(params.condition or "")
    what, since = f"{kind}/{name}", world.clock.now()

    async def look() -> Look:
        item = await world.cluster.get(kind, name, params.namespace or "")
        if kind in WORKLOADS and state != "available":
            return rollout(item, since, what)
        return condition_of(item, state.capitalize(), what)

    return f"{what} {state}", look


def _parsed(condition: str) -> tuple[str, str, str]:
    found = _CONDITION.fullmatch(condition.strip())
    if found is None:
        raise PlanError(f"the condition {condition!r} cannot be read; known: {_FORMS}")
    kind = found["kind"] if found["kind"] == "rollout" else canonical_kind(found["kind"])
    state = found["state"]
    if (kind == "rollout") is not (state == "complete") and not (kind in WORKLOADS and state == "complete"):
        raise PlanError(f"{kind} cannot be {state}; known: {_FORMS}")
    return kind, found["name"] or "", state


def _rollout_of(name: str, facts: TargetFacts) -> tuple[str, str]:
    if facts.target.kind in WORKLOADS and name in ("", facts.target.name):
        return facts.target.kind, facts.target.name
    if name:
        return "Deployment", name
    raise PlanError(f"the incident is about {facts.target}, which has no rollout: write deployment/NAME complete")


async def _followed(name: str, namespace: str, facts: TargetFacts, world: World) -> tuple[str, str]:
    """The pod, or its owner, when it is the incident's pod or gone: a fix replaces it, and nobody waits for a ghost."""
    owned = facts.target.kind in WORKLOADS
    if owned and name in ("", facts.pod):
        return facts.target.kind, facts.target.name
    if not name:
        raise PlanError(f"no pod is named, and the incident is about {facts.target}")
    if owned and await world.cluster.get("Pod", name, namespace) is None:
        return facts.target.kind, facts.target.name
    return "Pod", name


def _named_by_facts(kind: str, facts: TargetFacts, condition: str) -> str:
    if same_kind(kind, facts.target.kind):
        return facts.target.name
    if kind == "Node" and facts.node:
        return facts.node
    raise PlanError(f"the condition {condition!r} names no object, and the incident is about {facts.target}")
