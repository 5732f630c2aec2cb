"""Words of the executor, as values that survive a trip through JSON: Plan, StepRun, Verdict, Outcome."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from runbooks.conditions import ChangeWindow
from runbooks.model import OnFailure


class Model(BaseModel):
    """Base of the executor's models: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Access(StrEnum):
    """What a step does to the world."""

    READ = "read"
    WRITE = "write"
    NOTIFY = "notify"
    NONE = "none"


class ObjectRef(Model):
    """A Kubernetes object. ``uid`` is the one read at planning time; empty when the object does not exist yet."""

    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    api_version: str = ""

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace + '/' if self.namespace else ''}{self.name}"


class Change(Model):
    """One mutation that a step will make, known before it is made.

    Attributes:
        verb: ``patch``, ``apply``, ``create``, ``delete``, ``scale``, ``evict``, ``cordon``, ``http``, ...
        summary: one line for people, such as ``memory limit of app: 256Mi -> 512Mi``.
        before: the prior object, as far as it is needed to undo the change and to notice that somebody else
            changed it meanwhile. Never the data of a Secret: that is kept in the cluster.
        undo: how it is undone, in words; empty only when ``irreversible``.
    """

    ref: ObjectRef | None = None
    verb: str
    summary: str
    before: Mapping[str, Any] | None = None
    undo: str = ""
    irreversible: bool = False


class PlannedStep(Model):
    """A step with everything rendered that can be known before the first change.

    Attributes:
        params: rendered; secrets stay references (``__secret:NAME__``) until the moment of use.
        deferred: names of steps whose output is needed to finish rendering; empty for nearly all.
        result: what a read or calculation gave while planning; such a step is not run again.
    """

    index: int
    id: str
    name: str
    action: str
    params: Mapping[str, Any] = {}
    access: Access
    idempotent: bool
    deferred: tuple[str, ...] = ()
    when: bool | str = True
    timeout_seconds: float
    on_failure: OnFailure = OnFailure.ROLLBACK
    output_var: str | None = None
    changes: tuple[Change, ...] = ()
    planned: bool = False
    result: Any = None


class PlannedCheck(Model):
    """A precondition, an assumption or a success criterion, with what was found when it was looked at.

    Attributes:
        on_failure: ``abort``, ``request_approval`` or ``skip``; of preconditions only.
        holds: None when it could not be read, or was not looked at yet; either is no yes.
        detail: what was found, for people.
    """

    name: str
    description: str = ""
    check: bool | str | None = None
    action: str = ""
    params: Mapping[str, Any] = {}
    windows: tuple[ChangeWindow, ...] = ()
    timeout_seconds: float = 10
    on_failure: str = "abort"
    holds: bool | None = None
    detail: str = ""


class Trigger(Model):
    """A reason to take the changes back.

    Attributes:
        step_failed: id of a step, ``*`` for any, empty for none.
        condition: an expression or a PromQL comparison; empty for none.
        health_checks: so many unhealthy looks in a row, 0 for none.
        window_seconds: for so long the condition must hold.
        run: the procedure that takes back; empty for the runbook's rollback, or the inverse of each change.
    """

    step_failed: str = ""
    not_fixed: bool = False
    condition: str = ""
    health_checks: int = 0
    window_seconds: float = 0
    run: str = ""


class Promises(Model):
    """What the author promises of the runbook; what is None is not promised."""

    max_duration_seconds: float | None = None
    min_success_rate: float | None = None
    max_error_rate: float | None = None


class Terms(Model):
    """What holds around the steps: checks before and after them, reasons to take back, promises.

    They are bound by the runbook's hash; what was found when planning is for people.
    """

    preconditions: tuple[PlannedCheck, ...] = ()
    assumptions: tuple[PlannedCheck, ...] = ()
    criteria: tuple[PlannedCheck, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    promises: Promises = Promises()


class Plan(Model):
    """Everything that will be done, bound by its hash.

    Attributes:
        context: the template names (incident, params, ...) that deferred rendering and messages use.
        rollback: the runbook's own rollback steps, rendered with the values from before the change; empty means
            that each change is undone by its automatic inverse, last first.
        terms: what holds around the steps.
        hash: SHA-256 over runbook sha, target and rendered steps (volatile parts left out).
    """

    runbook_id: str
    runbook_version: str
    runbook_sha: str
    target_key: str
    steps: tuple[PlannedStep, ...]
    rollback: tuple[PlannedStep, ...] = ()
    context: Mapping[str, Any] = {}
    namespaces: tuple[str, ...] = ()
    touched: tuple[str, ...] = ()
    approval_reasons: tuple[str, ...] = ()
    dry_run_first: bool = True
    terms: Terms = Terms()
    hash: str = ""


class StepStatus(StrEnum):
    """Where a step stands. ``unknown``: it may have happened, and the target cannot be asked."""

    INTENDED = "intended"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


class StepRun(Model):
    """One run of one step, as it is written to the journal.

    Attributes:
        id: ``<execution id>/<phase>/<index>``; phase is ``step``, ``rollback`` or ``undo``.
        before: prior objects by reference, saved with the intent.
        output: what the step gave; masked, and bounded in size.
    """

    id: str
    phase: str = "step"
    index: int
    step_id: str
    name: str
    action: str
    status: StepStatus
    before: Mapping[str, Any] | None = None
    output: Any = None
    error: str = ""
    started_at: datetime
    finished_at: datetime | None = None


class Verdict(StrEnum):
    """What the world says after the steps."""

    VERIFIED = "verified"
    NOT_FIXED = "not_fixed"
    INCONCLUSIVE = "inconclusive"


class Outcome(StrEnum):
    """How an execution ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    PARTIAL = "partial"
    ROLLBACK = "rollback"
    ABORTED = "aborted"


class Status(StrEnum):
    """Where an execution stands."""

    WAITING_APPROVAL = "waiting_approval"
    PERMITTED = "permitted"
    RUNNING = "running"
    VERIFYING = "verifying"
    ROLLING_BACK = "rolling_back"
    DONE = "done"


class Evidence(Model):
    """One observation of the verifier: what was looked at and what it said."""

    at: datetime
    healthy: bool | None
    detail: str


class ExecutionRecord(Model):
    """An execution as the journal knows it: enough to run it, and to go on after a crash.

    Attributes:
        incident: flat facts for messages and records: id, event_id, tenant, cluster, reason, cause_event_id,
            confidence, subject and target as mappings, opened_at.
        verify_from: when the steps were done and the verification window opened.
    """

    id: str
    plan: Plan
    incident: Mapping[str, Any]
    status: Status
    steps: tuple[StepRun, ...] = ()
    verdict: Verdict | None = None
    outcome: Outcome | None = None
    error: str = ""
    cooldown_seconds: float = 600
    settle_seconds: float = 30
    verify_timeout_seconds: float = 300
    on_not_fixed: str = "rollback"
    notification: Mapping[str, Any] = {}
    requested_at: datetime | None = None
    started_at: datetime | None = None
    verify_from: datetime | None = None
    finished_at: datetime | None = None
    resumed: bool = False
