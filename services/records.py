"""What is remembered of each decision and execution, as values: the pipeline makes them, the graph keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from executor.model import Evidence, ExecutionRecord, Outcome, Status, Verdict
from matcher.model import Candidate, Cause, Incident, Origin, Signal
from safety.approvals import Approval
from safety.policies import PolicyUse


class DecisionKind(StrEnum):
    """What was decided. All but ``waiting`` and ``approval`` are final until something new happens."""

    PERMIT = "permit"
    REFUSAL = "refusal"
    APPROVAL = "approval"
    NO_MATCH = "no_match"
    WAITING = "waiting"
    NO_CAUSE = "no_cause"
    NO_TARGET = "no_target"
    PLAN_FAILED = "plan_failed"
    RESOLVED = "resolved"
    JOINED = "joined"


@dataclass(frozen=True, slots=True)
class RunbookUse:
    """The runbook version that a decision chose. ``text`` is its YAML, kept so that history stays readable."""

    id: str
    version: str
    sha: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision, with everything that explains it.

    Attributes:
        id: derived; a decision that is written again meets itself.
        signal: the input that opened it.
        causes: every cause that was weighed, most credible first.
        candidates: every runbook that was looked at, with the reason it lost.
        check: the gate's check (or pipeline stage) that said no; empty for a permit.
        called: versions of the runbooks that its plan calls; kept with the other versions, not with the decision.
        message: the answer in words.
        numbers: the figures behind the answer.
        execution: of a permit or a pending approval; its plan is what may run.
        permit_token: fencing token of a permit.
        permit_expires_at: until when the permit may be redeemed.
        decided_at: when this was decided, UTC.
        first_seen: when the first input reached us.
        last_seen: when the latest input of this write reached us; None reads as the signal's own time.
        next_check_at: when a waiting decision is looked at again.
        attempt: counts from 1; of the execution for incidents, of the look-up for waiting decisions.
        deadline: when a waiting decision gives up.
        origins: the inputs that this write adds. Each is counted once, however often it is read.
        count: how many inputs these are, when ``origins`` names only some of them.
        highest: the highest offset by topic and partition, when ``origins`` names only some.
        event_ids: event ids of those inputs; the first one opened the decision.
        alert_keys: identities of the alerts among them.
        received_at: when the first byte came in, for latency.
        policies: every policy that applied, with its version and what it decided.
        suggested: what the plan would have changed, one line each, where it was only observed or suggested.
        suggestion: of a plan that people are only told of; not kept.
    """

    id: str
    kind: DecisionKind
    signal: Signal
    decided_at: datetime
    first_seen: datetime
    last_seen: datetime | None = None
    incident: Incident | None = None
    causes: tuple[Cause, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    runbook: RunbookUse | None = None
    called: tuple[RunbookUse, ...] = ()
    check: str = ""
    message: str = ""
    numbers: Mapping[str, float | str] = field(default_factory=dict)
    execution: ExecutionRecord | None = None
    permit_token: int | None = None
    permit_expires_at: datetime | None = None
    approval: Approval | None = None
    next_check_at: datetime | None = None
    attempt: int = 1
    deadline: datetime | None = None
    origins: tuple[Origin, ...] = ()
    count: int = 0
    highest: Mapping[tuple[str, int], int] = field(default_factory=dict)
    event_ids: tuple[str, ...] = ()
    alert_keys: tuple[str, ...] = ()
    received_at: datetime | None = None
    policies: tuple[PolicyUse, ...] = ()
    suggested: tuple[str, ...] = ()
    suggestion: ExecutionRecord | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """Further inputs of a decision that already stands: they count, and change nothing else.

    Attributes:
        decision_id: the decision they belong to.
        last_seen: when the latest of them reached us.
        origins, count, highest, event_ids, alert_keys: as in ``DecisionRecord``.
        opener: the input that opened the decision is among them: it is read again, and what the decision says was
            perhaps never published.
    """

    decision_id: str
    tenant: str
    last_seen: datetime
    origins: tuple[Origin, ...]
    count: int = 0
    highest: Mapping[tuple[str, int], int] = field(default_factory=dict)
    event_ids: tuple[str, ...] = ()
    alert_keys: tuple[str, ...] = ()
    opener: bool = False


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """The newest incident of a fingerprint, as a new signal meets it.

    Attributes:
        closed: it is over: its alert was resolved, or its execution ended and the cooldown after it has passed.
        attempt: of its latest decision.
        check: the check that said no, if one did.
        decided_at: when it was decided last.
        execution_id: the latest execution, or empty.
        started_at: when somebody claimed that execution; None when nobody did.
        finished_at: when that execution ended.
        taken: the highest offset of each (topic, partition) among its inputs: what is not above was counted here.
    """

    incident_id: str
    decision_id: str
    kind: DecisionKind
    opened_at: datetime
    last_seen: datetime
    repeat_count: int
    attempt: int = 1
    execution_id: str = ""
    execution_status: Status | None = None
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    closed: bool = False
    check: str = ""
    decided_at: datetime | None = None
    taken: Mapping[tuple[str, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DecisionState:
    """Where a decision stands, without its reasons.

    Attributes:
        event_id: of the event that opened it.
        taken: as in ``OpenIncident``.
        busy: an execution that it led to has not ended.
    """

    id: str
    kind: DecisionKind
    attempt: int
    first_seen: datetime
    deadline: datetime | None = None
    next_check_at: datetime | None = None
    incident_id: str = ""
    closed: bool = False
    event_id: str = ""
    taken: Mapping[tuple[str, int], int] = field(default_factory=dict)
    busy: bool = False


@dataclass(frozen=True, slots=True)
class ExecutionStory:
    """An execution as people are told of it: the record, who ran it, and what the verifier saw.

    Attributes:
        success: executions of the runbook that were verified lately, and all; only where a rate was promised.
    """

    record: ExecutionRecord
    holder: str = ""
    epoch: int | None = None
    permit_expires_at: datetime | None = None
    lease_until: datetime | None = None
    evidence: tuple[Evidence, ...] = ()
    actions_taken: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()
    success: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """A decision with everything that followed from it.

    Attributes:
        decision: as it was written last; its ``execution`` and ``approval`` are told in ``executions``.
        repeat_count: inputs so far.
        closed_at: when the alert was resolved.
    """

    decision: DecisionRecord
    repeat_count: int
    last_seen: datetime
    closed_at: datetime | None = None
    executions: tuple[ExecutionStory, ...] = ()


@dataclass(frozen=True, slots=True)
class ExecutionSummary:
    """One line of the list of executions."""

    id: str
    incident_id: str
    runbook_id: str
    runbook_version: str
    target_key: str
    status: Status
    outcome: Outcome | None
    verdict: Verdict | None
    requested_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    holder: str = ""
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Orphans:
    """Executions that nobody looks after, found by the sweeper.

    Attributes:
        republish: permitted, unclaimed for too long, still redeemable: their request is published again.
        expired: permitted, but the permit ran out: to be aborted and decided again.
        adopt: running, verifying or rolling back, and the lease ran out.
    """

    republish: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    adopt: tuple[str, ...] = ()
