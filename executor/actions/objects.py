"""The base of all actions that change one existing object."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import Field

from executor.actions.base import Action, Params, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.editing import (
    PUT_BACK,
    Edit,
    perform_edit,
    plan_edit,
    prepare_edit,
    recover_edit,
    try_edit,
    undo_edit,
)
from executor.actions.naming import aim, existing
from executor.actions.needs import Right, edits
from executor.actions.spelling import KubeParams
from executor.errors import Drifted, PlanError
from executor.model import Access, Change, ObjectRef, PlannedStep
from executor.ports import KubeObject


class ObjectParams(KubeParams):
    """What every action on one object takes."""

    resource: str = Field(description="Kind, in any spelling, or KIND/NAME: `deployment`, `sts/web`")
    name: str | None = Field(None, description="Name; left out, it is the incident's workload, pod or node")
    namespace: str | None = Field(None, description="Namespace; left out, it is the incident's")


P = TypeVar("P", bound=Params)
O = TypeVar("O", bound=ObjectParams)  # noqa: E741 - short for object, beside P


class EditAction(Action[P]):
    """An action that is one conditional, stamped patch of one object.

    Attributes:
        verb: of its change.
        undo_words: how it is taken back, for people.
    """

    access = Access.WRITE
    verb = "patch"
    undo_words = PUT_BACK
    rights = edits(())

    def rights_for(self, params: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Right, ...]:
        """Read it, patch it, put it back; what is in a Secret is kept in another one."""
        return edits(kinds)

    @abstractmethod
    async def live(self, params: P, facts: TargetFacts, world: World) -> KubeObject:
        """The object that the parameters mean."""

    @abstractmethod
    def completed(self, params: P, live: KubeObject, extras: Mapping[str, Any]) -> P:
        """The parameters with everything filled in, so that a second look cannot mean another object."""

    async def extras(self, params: P, live: KubeObject, world: World) -> Mapping[str, Any]:
        """What the edit needs besides the parameters; read when planning, and again just before acting."""
        return {}

    @abstractmethod
    def edit(self, params: P, extras: Mapping[str, Any]) -> Edit:
        """The patch."""

    def summary(self, params: P, live: KubeObject, extras: Mapping[str, Any]) -> str:
        """One line for people; empty takes the changed fields."""
        return ""

    async def plan(self, params: P, facts: TargetFacts, world: World) -> Planned:
        """Show what the patch changes."""
        live = await self.live(params, facts, world)
        extras = await self.extras(params, live, world)
        full = self.completed(params, live, extras)
        summary = self.summary(full, live, extras)
        change = await plan_edit(self.edit(full, extras), live, world, verb=self.verb, summary=summary)
        change = change.model_copy(update={"undo": self.undo_words})
        return Planned(params=full.model_dump(mode="json", exclude_none=True), changes=(change,))

    async def dry_run(self, step: PlannedStep, world: World) -> None:
        """Ask the server whether it would accept the patch."""
        if type(self).extras is EditAction.extras:
            # Nothing has to be read for the patch: the server's answer says as well whether the object is there.
            edit = self.edit(self.params_model.model_validate(step.params), {})
            await try_edit(edit, _ref_of(step.changes[0]), world)
            return
        params, change, live = await self._again(step, world)
        extras = await self.extras(params, live, world)
        await try_edit(self.edit(params, extras), _ref_of(change), world)

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Compare the object with the plan and save what it was."""
        params, change, live = await self._again(step, world)
        extras = await self.extras(params, live, world)
        saved = await prepare_edit(change, self.edit(params, extras), live, stamp, world)
        return {**saved, "extras": dict(extras)}

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Patch."""
        params = self.params_model.model_validate(step.params)
        return await perform_edit(self.edit(params, saved["extras"]), saved, stamp, world)

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """Ask the object's stamp."""
        return await recover_edit(saved, stamp, world)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Put the prior values back."""
        return await undo_edit(saved, stamp, world)

    async def _again(self, step: PlannedStep, world: World) -> tuple[P, Change, KubeObject]:
        params = self.params_model.model_validate(step.params)
        change = step.changes[0]
        ref = _ref_of(change)
        live = await world.cluster.get(ref.kind, ref.name, ref.namespace)
        if live is None:
            raise Drifted(f"{ref} is gone")
        return params, change, live


class ObjectEdit(EditAction[O]):
    """An ``EditAction`` whose object is named by resource, name and namespace."""

    async def live(self, params: O, facts: TargetFacts, world: World) -> KubeObject:
        """The object that resource, name and namespace mean; left-out parts are the incident's."""
        return await existing(aim(params.resource, params.name, params.namespace, facts), facts, world)

    def completed(self, params: O, live: KubeObject, extras: Mapping[str, Any]) -> O:
        """Kind, name and namespace of the live object."""
        return params.model_copy(update=named(live))


def named(live: KubeObject) -> dict[str, Any]:
    """``resource``, ``name`` and ``namespace`` of a live object."""
    meta = live["metadata"]
    return {"resource": live["kind"], "name": meta["name"], "namespace": meta.get("namespace") or None}


def _ref_of(change: Change) -> ObjectRef:
    if change.ref is None:
        raise PlanError(f"the change names no object: {change.summary}")
    return change.ref
