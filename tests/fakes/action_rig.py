"""Takes one action through its life, the way the executor does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from executor.actions import default_actions
from executor.actions.base import Action, Recovery, Stamp, TargetFacts, World
from executor.model import ObjectRef, PlannedStep

NAMESPACE = "shop"
EXECUTION = "0f8fad5b-d9cb-469f-a165-70867728950e"


def deployment(name: str = "web", namespace: str = NAMESPACE, *, memory: str | None = "256Mi", replicas: int = 2):
    """A Deployment with the containers app and proxy."""
    limits = {} if memory is None else {"resources": {"limits": {"memory": memory}}}
    containers = [{"name": "app", "image": "shop/web:1", **limits}, {"name": "proxy", "image": "proxy:1"}]
    return workload("Deployment", name, namespace, containers, replicas)


def workload(
    kind: str, name: str, namespace: str = NAMESPACE, containers: list[dict[str, Any]] | None = None, replicas: int = 1
) -> dict[str, Any]:
    """A workload of any kind that rolls out pods."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers or [{"name": "app", "image": "a:1"}]}}
    spec: dict[str, Any] = {"selector": {"matchLabels": labels}, "template": template}
    if kind != "DaemonSet":
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec["serviceName"] = name
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }


def facts(
    kind: str = "Deployment",
    name: str = "web",
    namespace: str = NAMESPACE,
    *,
    pod: str = "",
    node: str = "",
    **more: Any,
) -> TargetFacts:
    """What the incident says."""
    return TargetFacts(
        ObjectRef(kind=kind, name=name, namespace=namespace), namespace, pod=pod, node=node, parameters=more
    )


@dataclass(slots=True)
class Rig:
    """One action with one set of parameters."""

    world: World
    name: str
    params: Mapping[str, Any]
    facts: TargetFacts = field(default_factory=facts)
    stamp: Stamp = field(default_factory=lambda: Stamp(EXECUTION, "fix", 7))
    timeout: float = 60
    step: PlannedStep | None = None
    saved: Mapping[str, Any] = field(default_factory=dict)

    @property
    def action(self) -> Action[Any]:
        return default_actions()[self.name]

    async def plan(self) -> PlannedStep:
        """Plan; the step goes through JSON, as it does in the graph."""
        params = self.action.params_model.model_validate(self.params)
        planned = await self.action.plan(params, self.facts, self.world)
        step = PlannedStep(
            index=0,
            id=self.stamp.step,
            name=self.stamp.step,
            action=self.name,
            params=planned.params,
            access=self.action.access,
            idempotent=self.action.idempotent,
            timeout_seconds=self.timeout,
            changes=planned.changes,
            result=planned.result,
        )
        self.step = PlannedStep.model_validate_json(step.model_dump_json())
        return self.step

    @property
    def planned(self) -> PlannedStep:
        assert self.step is not None
        return self.step

    async def prepare(self) -> Mapping[str, Any]:
        self.saved = await self.action.prepare(self.planned, self.stamp, self.world)
        return self.saved

    async def perform(self) -> Any:
        return await self.action.perform(self.planned, self.saved, self.stamp, self.world)

    async def act(self) -> Any:
        """Prepare and perform."""
        await self.prepare()
        return await self.perform()

    async def run(self) -> Any:
        """Everything from planning to the output."""
        await self.plan()
        await self.action.dry_run(self.planned, self.world)
        return await self.act()

    async def recover(self) -> Recovery:
        return await self.action.recover(self.planned, self.saved, self.stamp, self.world)

    async def undo(self) -> str:
        return await self.action.undo(self.planned, self.saved, self.stamp, self.world)
