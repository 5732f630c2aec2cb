"""Labels and annotations of an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field

from executor.actions.base import TargetFacts, World
from executor.actions.editing import Edit
from executor.actions.objects import ObjectEdit, ObjectParams
from executor.actions.stamps import STAMPS
from executor.errors import PlanError
from executor.ports import KubeObject


def _as_texts(value: object) -> object:
    """YAML reads ``true`` and ``5`` as what they are; labels are texts."""
    if not isinstance(value, Mapping):
        return value
    return {str(key): str(item).lower() if isinstance(item, bool) else item for key, item in value.items()}


Texts = Annotated[dict[str, str | None], BeforeValidator(_as_texts), Field(min_length=1)]
"""Texts by name; null takes the entry away."""


class LabelParams(ObjectParams):
    """Parameters of ``kubectl_label``."""

    labels: Texts = Field(description="Values by label; null takes a label away")
    overwrite: bool = Field(False, description="Change labels that have another value; otherwise that is refused")


class AnnotateParams(ObjectParams):
    """Parameters of ``kubectl_annotate``."""

    annotations: Texts = Field(description="Values by annotation; null takes an annotation away")
    overwrite: bool = Field(False, description="Change annotations that have another value; otherwise that is refused")


M = TypeVar("M", bound=ObjectParams)


class MetadataEdit(ObjectEdit[M]):
    """An ``ObjectEdit`` of one map of the metadata.

    Attributes:
        part: ``labels`` or ``annotations``; the parameter has the same name.
    """

    part: str

    async def live(self, params: M, facts: TargetFacts, world: World) -> KubeObject:
        """The object, if none of its entries would be overwritten without leave."""
        found = await super().live(params, facts, world)
        wanted = self._wanted(params)
        if own := sorted(STAMPS & set(wanted)):
            raise PlanError(f"{', '.join(own)} are Rootmend's own stamps, by which it recognises its changes")
        has = found["metadata"].get(self.part) or {}
        other = [
            f"{key}={has[key]}" for key, value in wanted.items() if value is not None and has.get(key, value) != value
        ]
        if other and not getattr(params, "overwrite", False):
            raise PlanError(
                f"{found['kind']} {found['metadata']['name']} has {', '.join(other)}: overwrite: true changes it"
            )
        return found

    def edit(self, params: M, extras: Mapping[str, Any]) -> Edit:
        """Only the entries that are named."""
        return Edit({"metadata": {self.part: dict(self._wanted(params))}}, "merge")

    def _wanted(self, params: M) -> Mapping[str, str | None]:
        found: Mapping[str, str | None] = getattr(params, self.part)
        return found


class KubectlLabel(MetadataEdit[LabelParams]):
    """Set or take away labels of an object."""

    name = "kubectl_label"
    aliases = ("kubernetes/label",)
    params_model = LabelParams
    verb = "label"
    part = "labels"
    example = """\
action: kubectl_label
params:
  resource: pod
  labels: {quarantine: "true", app: null}
  overwrite: true
"""


class KubectlAnnotate(MetadataEdit[AnnotateParams]):
    """Set or take away annotations of an object."""

    name = "kubectl_annotate"
    aliases = ("kubernetes/annotate",)
    params_model = AnnotateParams
    verb = "annotate"
    part = "annotations"
    example = """\
action: kubectl_annotate
params:
  resource: deployment
  annotations: {runbooks.example.com/last-incident: "{{ incident.id }}"}
  overwrite: true
"""
