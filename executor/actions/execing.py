"""Run a program in a container."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from executor.actions.base import Action, Found, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.manifests import Seconds
from executor.actions.masking import reveal
from executor.actions.naming import ref_of
from executor.actions.needs import PODS_OF, Right
from executor.actions.pods import PodParams, pod_meant
from executor.actions.waiting import limit_of
from executor.errors import Drifted, Forbidden, PlanError, StepFailed
from executor.model import Access, Change, ObjectRef, PlannedStep

_LONGEST = 60.0
_QUOTED = 300


def _as_command(value: object) -> object:
    if isinstance(value, str):
        raise ValueError('a command is a list of arguments, such as ["ps", "aux"]: no shell takes a text apart')
    return value


class ExecParams(PodParams):
    """Parameters of ``kubectl_exec``."""

    command: Annotated[list[str], BeforeValidator(_as_command)] = Field(
        min_length=1, description="Program and arguments, as a list; they reach the program as they stand"
    )
    timeout: Seconds | None = Field(None, description="Longest wait for its end; left out, 60 s or the step's own")
    expected_exit_codes: list[int] = Field([0], min_length=1, description="Exit codes that mean success")
    max_output: int = Field(16_384, ge=1, le=65_536, description="Most bytes of stdout and of stderr that are kept")


class KubectlExec(Action[ExecParams]):
    """Run a program in a container. It cannot be undone, so a human is asked; off until enabled in the settings.

    After a crash in the middle of it nobody knows whether it ran: the step ends as unknown. When its time is up the
    connection is cut; the program may go on.
    """

    name = "kubectl_exec"
    aliases = ("kubernetes/exec", "kubernetes/execCommand")
    access = Access.WRITE
    idempotent = False
    params_model = ExecParams
    rights = (*PODS_OF, Right(("create", "get"), "Pod", "exec"))
    simulated = "settings, pod, container and our rights are checked; the program is not run"
    undone = "it cannot be undone: a human is asked before it runs"
    targets = "the pod"
    example = """\
action: kubectl_exec
params:
  resource: deployment
  command: [nginx, -s, reload]
"""

    async def plan(self, params: ExecParams, facts: TargetFacts, world: World) -> Planned:
        """Find pod and container; refuse what the settings do not allow."""
        world.exec_rules.check(params.command)
        pod, container = await pod_meant(params, facts, world)
        ref = ref_of(pod)
        change = Change(
            ref=ref,
            verb="exec",
            summary=f"run {shlex.join(params.command)} in container {container} of {ref}",
            before={"uid": ref.uid},
            irreversible=True,
        )
        named = {"resource": "Pod", "name": ref.name, "namespace": ref.namespace, "container": container}
        full = params.model_copy(update=named)
        return Planned(params=full.model_dump(mode="json", exclude_none=True), changes=(change,))

    async def dry_run(self, step: PlannedStep, world: World) -> None:
        """Ask whether we have the right, and whether the pod is still there."""
        world.exec_rules.check(step.params["command"])
        ref = await _still(step, world)
        # Opening a web socket is a GET; newer servers ask for create, as older clients always did.
        for verb in ("create", "get"):
            if not await world.cluster.allowed(verb, ref, "exec"):
                raise Forbidden(f"we may not {verb} pods/exec of {ref}")

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """The same pod, and still allowed: another process may have planned this."""
        world.exec_rules.check(step.params["command"])
        ref = await _still(step, world)
        return {"ref": ref.model_dump(mode="json")}

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Run it.

        Raises:
            StepFailed: it ended with a code that does not mean success.
        """
        params = ExecParams.model_validate(step.params)
        ref = ObjectRef.model_validate(saved["ref"])
        revealed = await reveal(params.command, world.secrets)
        with revealed.hiding():
            ended = await world.cluster.exec(
                ref,
                revealed.value,
                container=params.container or "",
                timeout_seconds=limit_of(params.timeout or _LONGEST, step),
                limit=params.max_output,
            )
        out, err = revealed.hide(ended.stdout), revealed.hide(ended.stderr)
        if ended.exit_code not in params.expected_exit_codes:
            said = (err.strip() or out.strip())[-_QUOTED:] or "it wrote nothing"
            raise StepFailed(f"{params.command[0]} in {ref} ended with {ended.exit_code}: {said}")
        shown = {"stdout": out, "stderr": err, "truncated": ended.truncated}
        return {"object": str(ref), "container": params.container, "exit_code": ended.exit_code, **shown}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """Nobody can say."""
        return Recovery(Found.UNKNOWN, detail="(a program leaves no mark that could be asked for)")

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Nothing can be taken back."""
        return f"a program that ran cannot be taken back: {shlex.join(step.params['command'])}"


async def _still(step: PlannedStep, world: World) -> ObjectRef:
    ref = step.changes[0].ref
    if ref is None:
        raise PlanError(f"the plan of {step.name} names no pod")
    live = await world.cluster.get(ref.kind, ref.name, ref.namespace)
    if live is None:
        raise Drifted(f"{ref} is gone")
    if live["metadata"]["uid"] != ref.uid:
        raise Drifted(f"{ref} was deleted and created anew since the plan was made")
    return ref
