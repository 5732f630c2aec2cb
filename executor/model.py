"""Words of the executor, as values that survive a trip through JSON: Plan, StepRun, Verdict, Outcome."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from runbooks.conditions import ChangeWindow
from runbooks.model import OnFailure, OnSuccess, RetryOn


class Model(BaseModel):
    """Base of the executor's models: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, and several times as fast: a plan is made of dozens of copies."""
        if deep:
            return super().model_copy(update=update, deep=True)
        made = type(self).__new__(type(self))
        changed = update or {}
        # Neither extra fields nor private ones exist in these models.
        object.__setattr__(made, "__dict__", {**self.__dict__, **changed})
        object.__setattr__(made, "__pydantic_fields_set__", self.__pydantic_fields_set__.union(changed))
        object.__setattr__(made, "__pydantic_extra__", None)
        object.__setattr__(made, "__pydantic_private__", None)
        return made


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


class Account(Model):
    """Whose rights requests to the API server have.

    Attributes:
        user: as the API server calls it: ``system:serviceaccount:NAMESPACE:NAME`` for a service account.
        groups: of the user; a service account has its own.
    """

    user: str
    groups: tuple[str, ...] = ()


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


class RetryPolicy(Model):
    """When a failed attempt is followed by another, and how long after it."""

    attempts: int
    backoff_seconds: float
    factor: float
    max_backoff_seconds: float
    jitter: float
    on: tuple[RetryOn, ...]


class PlannedStep(Model):
    """A step with everything rendered that can be known before the first change.

    Attributes:
        params: rendered; secrets stay references (``__secret:NAME__``) until the moment of use.
        deferred: names of steps whose output is needed to finish rendering; empty for nearly all.
        result: what a read or calculation gave while planning; such a step is not run again.
        depends_on: ids of the steps that must have ended before; None for the one that is listed before it.
        for_each: a list of templates, or a template that gives a list, when its items are known only later.
        items: what it runs for, when that is known; ``each`` holds the step of each item.
        item: which item this is the step of; None for a step that runs once.
        save_state: templates of values that are kept when its turn comes; ``state`` holds those known already.
        require_approval: whether a human is asked before it runs.
        run_on_failure: name of the procedure that runs when it fails, before ``on_failure`` follows.
        scope: id of the step that called the runbook it belongs to; empty for the runbook of the plan.
        role: ``enter`` and ``leave`` stand around the steps of a called runbook.
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
    depends_on: tuple[str, ...] | None = None
    for_each: str | tuple[Any, ...] | None = None
    items: tuple[Any, ...] | None = None
    each: tuple[PlannedStep, ...] = ()
    item: int | None = None
    item_value: Any = None
    item_count: int = 0
    max_parallel: int = 1
    retry: RetryPolicy | None = None
    outputs: Mapping[str, Any] = {}
    save_state: Mapping[str, Any] = {}
    state: Mapping[str, Any] = {}
    require_approval: bool | str = False
    approval_seconds: float | None = None
    run_on_failure: str = ""
    on_success: OnSuccess = OnSuccess.CONTINUE
    scope: str = ""
    role: Literal["", "enter", "leave"] = ""

    @property
    def repeats(self) -> bool:
        """Whether it runs once for each of several items."""
        return self.for_each is not None or self.items is not None

    @property
    def leaves(self) -> tuple[PlannedStep, ...]:
        """The steps of its items, as far as they are known; else the step itself."""
        return self.each if self.items is not None else (self,)


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


class Kpi(Model):
    """One promise, and what came of it."""

    name: str
    value: float
    limit: float
    met: bool


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
        procedures: named lists of steps that run when a step fails, or instead of the rollback.
        timeout_seconds: for all steps together; after it the execution is rolled back.
        max_parallel: most steps that run at the same time.
        approval_seconds: how long a human may take to answer a question about a step.
        scopes: the template names of the runbooks that are called, by the id of the step that calls.
        called: id and sha of each called runbook, by the same ids.
        account: whose rights its steps have; None for the pipeline's own.
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
    procedures: Mapping[str, tuple[PlannedStep, ...]] = {}
    timeout_seconds: float = 3600
    max_parallel: int = 4
    approval_seconds: float = 1800
    scopes: Mapping[str, Mapping[str, Any]] = {}
    called: Mapping[str, str] = {}
    account: Account | None = None
    hash: str = ""


class StepStatus(StrEnum):
    """Where a step stands. ``unknown``: it may have happened, and the target cannot be asked."""

    INTENDED = "intended"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


class Attempt(Model):
    """An attempt of a step that failed, and was followed by another."""

    number: int
    kind: str
    error: str
    started_at: datetime
    finished_at: datetime


class StepRun(Model):
    """One run of one step, as it is written to the journal.

    Attributes:
        id: ``<execution id>/<phase>/<index>``, for an item of ``for_each`` with ``/<item>``; the phases are those of
            ``executor.phases``.
        before: prior objects by reference, saved with the intent.
        output: what the step gave; masked, and bounded in size.
        attempt: the one that ended it, or that is under way; ``attempts`` tells of those before.
        items: what ``for_each`` runs for, fixed with its intent.
        outputs: named parts of the output.
        state: values that were kept before the step acted.
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
    item: int | None = None
    attempt: int = 1
    attempts: tuple[Attempt, ...] = ()
    items: tuple[Any, ...] | None = None
    outputs: Mapping[str, Any] = {}
    state: Mapping[str, Any] = {}


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
        cooldown_seconds: how long its target is left alone afterwards.
        cooldowns: the same by how it ends (``safety.limits.OUTCOMES``); it is chosen when it ends.
        blast: how many resources it may affect; None for one that was recorded before this was kept.
        remember_seconds: for so long a human may have to be asked for the same target again; 0 for never.
        kpis: what its author promised of one execution, and what it came to; empty until it ends.
        rollback_with: the procedure that takes the changes back; empty for the runbook's own rollback.
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
    cooldowns: Mapping[str, float] = {}
    blast: int | None = None
    remember_seconds: float = 0
    settle_seconds: float = 30
    verify_timeout_seconds: float = 300
    observe_seconds: float = 0
    on_not_fixed: str = "rollback"
    on_inconclusive: str = "keep"
    notification: Mapping[str, Any] = {}
    requested_at: datetime | None = None
    started_at: datetime | None = None
    verify_from: datetime | None = None
    finished_at: datetime | None = None
    rollback_with: str = ""
    kpis: tuple[Kpi, ...] = ()
    resumed: bool = False
