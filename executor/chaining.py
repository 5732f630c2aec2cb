"""Calling another runbook: its steps become part of the caller's plan, between a step that enters and one that leaves.

So the plan's hash, the gate, the dry run, the journal and the rollback cover them like any other step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from executor.actions.base import World
from executor.actions.engine import RunRunbookParams
from executor.context import SEPARATOR, bare_names
from executor.draft import Draft, Runbooks
from executor.errors import PlanError
from executor.model import Access, Account, PlannedStep
from executor.parameters import resolve_parameters, secret_names
from executor.rendering import names_of_params
from matcher.kinds import canonical_kind
from runbooks.findings import did_you_mean
from runbooks.model import LoadedRunbook, OnFailure, OnSuccess, Step


@dataclass(slots=True)
class Called:
    """What the runbooks that are called bring along.

    Attributes:
        scopes: their template names, by the id of the step that calls.
        versions: id, version and sha of each, by the same ids.
        drafts: all drafts of the plan, the caller's first.
        account: that all their steps act as; None for the pipeline's own.
    """

    scopes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    drafts: list[Draft] = field(default_factory=list)
    account: Account | None = None


class Caller:
    """Finds what a step calls.

    Args:
        runbooks: those in force.
        configured: parameters from the settings, by runbook id.
        world: for looking up another target.
        max_depth: how many calls deep runbooks may call each other.
    """

    def __init__(
        self, runbooks: Runbooks, configured: Mapping[str, Mapping[str, Any]], world: World, max_depth: int
    ) -> None:
        self._runbooks = runbooks
        self._configured = configured
        self._world = world
        self._max_depth = max_depth

    async def draft(self, step: Step, bare: PlannedStep, params: RunRunbookParams, draft: Draft) -> tuple[Draft, str]:
        """The draft of the runbook that a step calls, and its version for the record.

        Raises:
            PlanError: there is none, it calls itself, or the calls are too deep; the chain is named.
        """
        known = self._runbooks()
        loaded = known.get(params.runbook)
        if loaded is None:
            raise PlanError(f"there is no runbook {params.runbook!r}; {did_you_mean(params.runbook, known)}")
        chain = (*draft.chain, params.runbook)
        if params.runbook in draft.chain:
            raise PlanError(f"runbooks call each other in a circle: {' -> '.join(chain)}")
        if len(chain) > self._max_depth + 1:
            raise PlanError(f"calls are deeper than {self._max_depth} (execution.max_depth): {' -> '.join(chain)}")
        runbook = loaded.runbook
        configured = self._configured.get(runbook.id) or {}
        values = resolve_parameters(runbook, {**configured, **params.params})
        named = bare_names(values, secret_names(configured, params.params))
        context = {**named, **_context(draft.context, loaded, values, await self._target(params, draft))}
        late = draft.late or isinstance(bare.when, str) or bare.require_approval is not False
        late = late or bool(draft.writers.intersection(draft.before[step.id]))
        made = Draft(runbook, context, scope=bare.id, chain=chain, reasons=draft.reasons, late=late, world=draft.world)
        return made, f"{runbook.id} {runbook.version} {loaded.sha}"

    async def _target(self, params: RunRunbookParams, draft: Draft) -> Mapping[str, Any]:
        """What the called runbook acts on: the caller's target, or another object that exists."""
        asked, own = params.target, draft.context["target"]
        if asked is None:
            return dict(own)
        kind = canonical_kind(asked.kind)
        namespace = "" if kind == "Node" else asked.namespace or draft.facts.namespace
        live = await self._world.cluster.get(kind, asked.name, namespace)
        if live is None:
            raise PlanError(f"there is no {kind} {asked.name!r} in {namespace or 'the cluster'} to run it on")
        template = (live.get("spec") or {}).get("template") or {}
        containers = [one["name"] for one in (template.get("spec") or {}).get("containers") or ()]
        return {
            "kind": kind,
            "name": asked.name,
            "namespace": namespace,
            "uid": live["metadata"].get("uid", ""),
            "container": containers[0] if len(containers) == 1 else "",
            "pod": asked.name if kind == "Pod" else "",
            "node": asked.name if kind == "Node" else "",
        }


def refuse_unsuitable(step: Step, draft: Draft) -> None:
    """Say what a step that calls a runbook cannot have."""
    if step.for_each is not None:
        raise PlanError("for_each cannot repeat run_runbook: put it on the steps of the runbook that is called")
    if step.retry is not None:
        raise PlanError("retry cannot repeat run_runbook: put it on the steps of the runbook that is called")
    if waits := draft.waits_for(names_of_params(step.params)):
        raise PlanError(f"what run_runbook calls must be known before it starts, and {', '.join(waits)} is not")


def entering(bare: PlannedStep, step: Step, seconds: float) -> PlannedStep:
    """The step before those of the called runbook; its time limit holds for all of them."""
    limit = bare.timeout_seconds if "timeout" in step.model_fields_set else seconds
    plain: dict[str, Any] = {
        "outputs": {},
        "output_var": None,
        "on_failure": OnFailure.CONTINUE,
        "run_on_failure": "",
        "on_success": OnSuccess.CONTINUE,
    }
    own = {"id": f"{bare.id}{SEPARATOR}", "role": "enter", "timeout_seconds": limit}
    return bare.model_copy(update={**plain, **own})


def leaving(bare: PlannedStep, inside: tuple[PlannedStep, ...]) -> PlannedStep:
    """The step after those of the called runbook: it fails when they did, and gives what they gave."""
    plain: dict[str, Any] = {"when": True, "require_approval": False, "save_state": {}, "state": {}}
    waits = tuple(one.id for one in inside)
    return bare.model_copy(update={**plain, "role": "leave", "depends_on": waits, "access": Access.NONE})


def _context(
    caller: Mapping[str, Any], loaded: LoadedRunbook, params: Mapping[str, Any], target: Mapping[str, Any]
) -> dict[str, Any]:
    """The names that the called runbook knows: the incident, its own parameters and its target."""
    folder = str(loaded.path.parent) if loaded.path else ""
    return {
        "incident": caller["incident"],
        "target": dict(target),
        "params": dict(params),
        "execution": {**caller["execution"], "runbook": loaded.runbook.id, "folder": folder},
    }
