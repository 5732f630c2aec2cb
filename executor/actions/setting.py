"""Set image and environment of a workload's containers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from pydantic import Field, model_validator

from executor.actions.base import Planned, TargetFacts, World
from executor.actions.containers import container_named, container_patch, containers_of, pod_spec
from executor.actions.editing import Edit
from executor.actions.labels import Texts
from executor.actions.objects import ObjectEdit, ObjectParams
from executor.errors import PlanError
from executor.ports import KubeObject


class ContainerParams(ObjectParams):
    """What every action on a container of a workload takes."""

    resource: str = Field("", description="Kind or KIND/NAME; left out, it is the incident's workload")
    container: str | None = Field(None, description="Left out, it is the incident's, or the only one")


C = TypeVar("C", bound=ContainerParams)


class ContainerEdit(ObjectEdit[C]):
    """An ``ObjectEdit`` of containers in a pod template."""

    async def live(self, params: C, facts: TargetFacts, world: World) -> KubeObject:
        """The workload."""
        named = params.model_copy(update={"resource": params.resource or facts.target.kind})
        return await super().live(named, facts, world)

    async def plan(self, params: C, facts: TargetFacts, world: World) -> Planned:
        """Decide container and values, then show what that changes."""
        live = await self.live(params, facts, world)
        what = f"{live['kind']} {live['metadata']['name']}"
        return await super().plan(self.decided(params, live, facts, what), facts, world)

    @abstractmethod
    def decided(self, params: C, live: KubeObject, facts: TargetFacts, what: str) -> C:
        """The parameters with every choice made, so that a second look cannot choose or calculate anew."""

    @abstractmethod
    def entries(self, params: C, known: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What to merge into the containers, by their names."""

    async def extras(self, params: C, live: KubeObject, world: World) -> Mapping[str, Any]:
        """The patch: where it goes depends on the live object."""
        return {"patch": container_patch(live, self.entries(params, containers_of(pod_spec(live))))}

    def edit(self, params: C, extras: Mapping[str, Any]) -> Edit:
        """Only the fields that are named; other containers stay."""
        return Edit(extras["patch"], "strategic")


class ImageParams(ContainerParams):
    """Parameters of ``kubectl_set_image``."""

    image: str | None = Field(None, min_length=1, description="New image of the container")
    images: dict[str, str] = Field({}, description="New images by container, instead of one")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.image is None) == (not self.images):
            raise ValueError("give either image or images")
        if self.images and self.container:
            raise ValueError("images names its containers itself")
        return self


class KubectlSetImage(ContainerEdit[ImageParams]):
    """Change the image of containers of a workload."""

    name = "kubectl_set_image"
    aliases = ("kubernetes/setImage",)
    params_model = ImageParams
    verb = "set image"
    example = """\
action: kubectl_set_image
params: {resource: deployment, container: app, image: "registry.example.com/web:1.4.2"}
"""

    def decided(self, params: ImageParams, live: KubeObject, facts: TargetFacts, what: str) -> ImageParams:
        """Images by container."""
        spec = pod_spec(live)
        given = params.images or {params.container or "": params.image or ""}
        images = {container_named(spec, name, facts, what): image for name, image in given.items()}
        return params.model_copy(update={"images": images, "image": None, "container": None})

    def entries(self, params: ImageParams, known: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """One image each."""
        return [{"name": name, "image": image} for name, image in params.images.items()]


class EnvParams(ContainerParams):
    """Parameters of ``kubectl_set_env``."""

    env: Texts = Field(description="Values by name; null takes a variable away")


class KubectlSetEnv(ContainerEdit[EnvParams]):
    """Set or take away environment variables of a container."""

    name = "kubectl_set_env"
    aliases = ("kubernetes/setEnv",)
    params_model = EnvParams
    verb = "set env"
    example = """\
action: kubectl_set_env
params: {resource: deployment, env: {LOG_LEVEL: debug, FEATURE_X: null}}
"""

    def decided(self, params: EnvParams, live: KubeObject, facts: TargetFacts, what: str) -> EnvParams:
        """With the container; a variable that is to go must be there."""
        spec = pod_spec(live)
        container = container_named(spec, params.container, facts, what)
        there = {entry["name"] for entry in containers_of(spec)[container].get("env") or ()}
        gone = [name for name, value in params.env.items() if value is None and name not in there]
        if len(gone) == len(params.env):
            raise PlanError(f"container {container} of {what} has no variable {', '.join(gone)} to take away")
        return params.model_copy(update={"container": container})

    def entries(self, params: EnvParams, known: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """A plain value takes the place of one that came from elsewhere."""
        container = params.container or ""
        there = {entry["name"]: entry for entry in known.get(container, {}).get("env") or ()}
        changed: list[dict[str, Any]] = []
        for name, value in params.env.items():
            if value is None:
                changed += [{"name": name, "$patch": "delete"}] if name in there else []
            else:
                other = {"valueFrom": None} if "valueFrom" in there.get(name, {}) else {}
                changed.append({"name": name, "value": value, **other})
        return [{"name": container, "env": changed}]
