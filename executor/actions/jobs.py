"""Start a Job, from a CronJob or from a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from executor.actions.base import Action, Found, Planned, Recovery, Stamp, TargetFacts, World
from executor.actions.creating import perform_create, plan_create, prepare_create, recover_create, undo_create
from executor.actions.manifests import Seconds, parse_manifests
from executor.actions.masking import reveal
from executor.actions.naming import Aim, existing
from executor.actions.needs import Right
from executor.actions.spelling import KubeParams
from executor.actions.waiting import Look, limit_of, wait_for
from executor.errors import PlanError
from executor.model import Access, ObjectRef, PlannedStep
from executor.ports import KubeObject

_LONGEST_NAME = 63
_TRIES = 20
_UNDO = "the job is deleted; what it did by then stays"


def _one_job(value: object) -> object:
    if value is None:
        return None
    found = parse_manifests(value)
    if len(found) != 1 or found[0]["kind"] != "Job":
        raise ValueError("the manifest must be one Job")
    return found[0]


class JobParams(KubeParams):
    """Parameters of ``kubectl_create_job``."""

    cronjob: str | None = Field(None, min_length=1, description="The CronJob whose job is started now")
    manifest: Annotated[dict[str, Any] | None, BeforeValidator(_one_job)] = Field(
        None, description="YAML text or data of a Job, instead; what it does cannot be undone, so a human is asked"
    )
    name: str | None = Field(
        None, description="Of the new job; left out, it is made from the CronJob's and the incident"
    )
    namespace: str | None = Field(None, description="Namespace; left out, it is the manifest's or the incident's")
    wait: bool = Field(False, description="Wait until it has ended; a job that fails then fails the step")
    timeout: Seconds | None = Field(None, description="Longest wait; left out, the step's own timeout")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.cronjob is None) == (self.manifest is None):
            raise ValueError("give either cronjob or manifest")
        return self


class KubectlCreateJob(Action[JobParams]):
    """Start a job now: one of a CronJob, or one of its own."""

    name = "kubectl_create_job"
    aliases = ("kubernetes/createJob",)
    access = Access.WRITE
    idempotent = False
    params_model = JobParams
    rights = (Right(("get",), "CronJob"), Right(("get", "create", "delete"), "Job"))
    simulated = "the server is asked whether it would create the job"
    undone = _UNDO
    targets = "the new job"
    example = """\
action: kubectl_create_job
params: {cronjob: reindex, wait: true, timeout: 5m}
"""

    def rights_for(self, params: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Right, ...]:
        """The CronJob is read only where the job is one of its."""
        return self.rights if "cronjob" in params else self.rights[1:]

    async def plan(self, params: JobParams, facts: TargetFacts, world: World) -> Planned:
        """Make the manifest; its name is the same each time that the plan is made."""
        if params.cronjob is not None:
            source = Aim("CronJob", params.cronjob, params.namespace or facts.namespace)
            manifest = _from_cronjob(await existing(source, facts, world), params.name)
        else:
            manifest = _placed(params, facts)
        if not manifest["metadata"].get("name"):
            manifest["metadata"]["name"] = await _free_name(manifest, str(params.cronjob), facts, world)
        change = plan_create(manifest).model_copy(update={"undo": _UNDO, "irreversible": params.cronjob is None})
        if await world.cluster.get("Job", manifest["metadata"]["name"], manifest["metadata"]["namespace"]) is not None:
            raise PlanError(f"there is a {change.ref} already")
        full = params.model_copy(update={"cronjob": None, "manifest": manifest, "name": None, "namespace": None})
        return Planned(params=full.model_dump(mode="json", exclude_none=True), changes=(change,))

    async def dry_run(self, step: PlannedStep, world: World) -> None:
        """Ask the server whether it would create it."""
        revealed = await reveal(step.params["manifest"], world.secrets)
        with revealed.hiding():
            await world.cluster.create(revealed.value, dry_run=True)

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """The name must still be free."""
        return prepare_create(step.changes[0], await _live(step, world), stamp)

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Create it, and wait for its end when that is asked for.

        Raises:
            StepFailed: it failed, or did not end in time.
        """
        params = JobParams.model_validate(step.params)
        made = await perform_create(step.params["manifest"], saved, stamp, world)
        if not params.wait:
            return made

        async def look() -> Look:
            return ended(await _live(step, world))

        seen = await wait_for(f"the end of {made['object']}", look, limit_of(params.timeout, step), world)
        return {**made, "ended": seen.detail}

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """Done when the job is there with our stamp, and has ended where that is waited for."""
        answer = await recover_create(saved, stamp, world)
        if answer.found is Found.NOT_DONE and "ttlSecondsAfterFinished" in step.params["manifest"].get("spec", {}):
            return Recovery(Found.UNKNOWN, detail="(it may have ended, and been cleaned up by its time to live)")
        if answer.found is not Found.DONE or not step.params.get("wait"):
            return answer
        seen = ended(await _live(step, world))
        return answer if seen.reached else Recovery(Found.NOT_DONE, detail=seen.detail)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Delete the job, if it is ours; its pods go with it."""
        return await undo_create(saved, stamp, world)


def ended(item: KubeObject | None) -> Look:
    """Whether a job has ended well."""
    if item is None:
        return Look(reached=False, detail="the job is gone", hopeless=True)
    for condition in item.get("status", {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            good = condition["type"] == "Complete"
            why = f" ({condition['reason']})" if condition.get("reason") else ""
            return Look(good, f"{condition['type'].lower()}{why}", hopeless=not good)
    return Look(reached=False, detail=f"{int(item.get('status', {}).get('active') or 0)} of its pods are running")


async def _live(step: PlannedStep, world: World) -> KubeObject | None:
    ref = step.changes[0].ref or ObjectRef(kind="Job", name="")
    return await world.cluster.get("Job", ref.name, ref.namespace)


def _from_cronjob(source: KubeObject, name: str | None) -> dict[str, Any]:
    """The job that its schedule would start, with the same marks as a job that kubectl starts from it."""
    meta, template = source["metadata"], source["spec"]["jobTemplate"]
    given = template.get("metadata") or {}
    owner = {"apiVersion": source["apiVersion"], "kind": "CronJob", "name": meta["name"], "uid": meta["uid"]}
    annotations = {**(given.get("annotations") or {}), "cronjob.kubernetes.io/instantiate": "manual"}
    made = {"labels": dict(given.get("labels") or {}), "annotations": annotations, "ownerReferences": [owner]}
    made |= {"namespace": meta["namespace"]} | ({"name": name} if name else {})
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": made, "spec": dict(template["spec"])}


def _placed(params: JobParams, facts: TargetFacts) -> dict[str, Any]:
    given = dict(params.manifest or {})
    meta = dict(given["metadata"])
    if params.name and params.name != meta["name"]:
        raise PlanError(f"name says {params.name!r} and the manifest says {meta['name']!r}")
    namespace = meta.get("namespace") or params.namespace or facts.namespace
    if params.namespace and namespace != params.namespace:
        raise PlanError(f"namespace says {params.namespace!r} and the manifest says {namespace!r}")
    return {**given, "metadata": {**meta, "namespace": namespace}}


async def _free_name(manifest: KubeObject, source: str, facts: TargetFacts, world: World) -> str:
    """A name that the incident gives, so that a second look at the plan is not another plan."""
    incident = str(facts.parameters.get("incident_id", "")) or str(facts.target)
    mark = hashlib.sha256(incident.encode()).hexdigest()[:8]
    for number in range(1, _TRIES + 1):
        tail = f"-{mark}" + (f"-{number}" if number > 1 else "")
        name = source[: _LONGEST_NAME - len(tail)].rstrip("-.") + tail
        if await world.cluster.get("Job", name, manifest["metadata"]["namespace"]) is None:
            return name
    raise PlanError(f"{_TRIES} jobs of {source} were started for this incident already")
