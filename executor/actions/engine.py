"""Actions that the engine carries out itself: asking a human, and calling another runbook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from executor.actions.base import Action, Params, Planned, Stamp, TargetFacts, World
from executor.actions.manifests import Seconds
from executor.actions.needs import NO_RIGHTS
from executor.actions.synonyms import Synonyms
from executor.errors import PlanError
from executor.model import Access, PlannedStep
from runbooks.secret_refs import references_in


class ManualApprovalParams(Synonyms):
    """Parameters of ``manual_approval``."""

    synonyms: ClassVar[Mapping[str, str]] = {"prompt": "message", "question": "message"}

    message: str = Field("", description="What the human is asked; left out, the name of the step")
    timeout: Seconds | None = Field(None, description="How long to wait; left out, as long as the runbook says")


class ManualApproval(Action[ManualApprovalParams]):
    """Ask a human whether to go on. Without a yes in time the step fails, and `on_failure` says what follows."""

    name = "manual_approval"
    aliases = ("approval",)
    access = Access.NONE
    params_model = ManualApprovalParams
    rights = NO_RIGHTS
    simulated = "nobody is asked"
    undone = "nothing to undo: it only asks"
    targets = "nothing"
    example = """\
action: manual_approval
params: {message: "Restart {{ target.name }} in production?", timeout: 20m}
"""

    async def plan(self, params: ManualApprovalParams, facts: TargetFacts, world: World) -> Planned:
        """The question comes when its turn comes."""
        if names := references_in(params.message):
            raise PlanError(f"a question must not hold secrets: {', '.join(sorted(names))}")
        return Planned(params=params.model_dump(mode="json", exclude_none=True))

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """By now somebody said yes."""
        return {"approved": True}


class CallTarget(Params):
    """Another object that the called runbook acts on."""

    kind: str = Field(min_length=1, description="Deployment, StatefulSet, Node, ...")
    name: str = Field(min_length=1, description="Its name")
    namespace: str = Field("", description="Left out, the caller's")


class RunRunbookParams(Synonyms):
    """Parameters of ``run_runbook``."""

    synonyms: ClassVar[Mapping[str, str]] = {"runbook_id": "runbook", "id": "runbook", "parameters": "params"}

    runbook: str = Field(min_length=1, description="Id of the runbook that is called")
    params: dict[str, Any] = Field({}, description="Its parameters; those of the settings hold for the rest")
    target: CallTarget | None = Field(None, description="What it acts on; left out, the caller's target")


class RunRunbook(Action[RunRunbookParams]):
    """Run another runbook here. Its steps become part of this plan: one gate, one journal, one rollback for all."""

    name = "run_runbook"
    aliases = ("runbook/run", "call_runbook")
    access = Access.NONE
    params_model = RunRunbookParams
    rights = NO_RIGHTS
    simulated = "as each step of the runbook that is called"
    undone = "by the called runbook's own rollback, else by the inverse of each of its changes"
    targets = "what the steps of the called runbook touch"
    example = """\
action: run_runbook
params: {runbook: restart-workload, params: {reason: "{{ incident.reason }}"}}
"""

    async def plan(self, params: RunRunbookParams, facts: TargetFacts, world: World) -> Planned:
        """The steps that are called are planned one by one; this stands around them."""
        return Planned(params=params.model_dump(mode="json", exclude_none=True))
