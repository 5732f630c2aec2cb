"""Words of the gate, as values: what it is asked, and its three answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from safety._seal import SEAL, Seal
from safety.surroundings import UNREAD, Around

if TYPE_CHECKING:
    from safety.policy import PolicySettings


@dataclass(frozen=True, slots=True)
class Limits:
    """What the runbook allows; the policy's own limits apply on top, the stricter counts.

    Attributes:
        max_executions_per_minute: None for no limit of its own, as for all that follow.
        max_concurrent: executions of the runbook that run at the same time.
        ask_again_after: so many executions for one target within ``ask_again_seconds``, and the next asks a human.
        blast_percent: largest share of the pods in the namespaces that it writes to.
        blast_percent_workload: largest share of the pods of one workload that are down at the same time.
        blast_percent_cluster: largest share of the pods of the cluster.
        protected_namespaces: beside those of the policy; names or globs.
        protected_labels: objects that carry one of them are never touched; values are globs.
        cooldown_after: seconds by how an execution ended (``safety.limits.OUTCOMES``); what is left out follows
            ``cooldown_seconds`` and the policy.
    """

    min_confidence: float
    max_executions_per_hour: int
    blast_radius: int
    cooldown_seconds: float
    max_executions_per_minute: int | None = None
    max_executions_per_day: int | None = None
    max_concurrent: int | None = None
    ask_again_after: int | None = None
    ask_again_seconds: float = 86_400
    blast_percent: float | None = None
    protected_namespaces: tuple[str, ...] = ()
    protected_labels: Mapping[str, str] = field(default_factory=dict)
    blast_percent_workload: float | None = None
    blast_percent_cluster: float | None = None
    cooldown_after: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """How many resources an execution may affect, as two independent sources count them.

    ``None`` means that the source could not say; then nothing runs (invariant 6). An empty ``resources`` is an
    error of the caller, never "affects nothing".

    Attributes:
        pods: how many pods there are in the namespaces that the plan writes to; only where a share is limited.
        cluster_pods: how many there are in the cluster; only where a limit could be passed.
        graph_age_seconds: since the graph was brought up to date about the least recent of the objects; None when it
            does not say.
    """

    graph: int | None
    live: int | None
    resources: tuple[str, ...]
    pods: int | None = None
    cluster_pods: int | None = None
    graph_age_seconds: float | None = None

    @property
    def count(self) -> int | None:
        """The larger of the two counts, or None when either is missing."""
        return None if self.graph is None or self.live is None else max(self.graph, self.live)


@dataclass(frozen=True, slots=True)
class GrantedApproval:
    """A human said yes to this very plan."""

    approval_id: str
    plan_hash: str
    answered_by: str


@dataclass(frozen=True, slots=True)
class GateRequest:
    """Everything that the gate needs to decide, as values.

    Attributes:
        execution_id: derived id; asking again with the same id gives the same answer.
        namespaces: every namespace that the plan writes to (empty text for cluster-scoped objects).
        approval_reasons: why a human has to say yes (runbook rule, irreversible step, ...); empty for none.
        labels: of each resource of the plan and of its target, as they are now; only where labels are protected. None,
            or a resource that is missing or None: they could not be read.
        cause_reason: of the root cause, as storms are counted by it; empty for none.
        policy: the limits that policies resolved for this question; None for the gate's own.
        around: vetoes, owners, budgets and freezes around the plan; what was not read is a no.
    """

    execution_id: str
    tenant: str
    cluster: str
    runbook_id: str
    target_key: str
    namespaces: tuple[str, ...]
    confidence: float | None
    plan_hash: str
    blast: BlastRadius
    limits: Limits
    approval_reasons: tuple[str, ...] = ()
    approval: GrantedApproval | None = None
    labels: Mapping[str, Mapping[str, str] | None] | None = None
    policy: PolicySettings | None = None
    around: Around = UNREAD
    cause_reason: str = ""


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to run one plan, once, until it expires. Made by the gate only.

    Attributes:
        token: fencing token of the target; it only grows, also when another process takes the execution over.
    """

    seal: Seal = field(repr=False, compare=False)
    execution_id: str
    plan_hash: str
    target_key: str
    token: int
    expires_at: datetime
    approval_id: str = ""

    def __post_init__(self) -> None:
        if self.seal is not SEAL:
            raise TypeError("only the gate makes a Permit")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gate's no: the check that said it, in words and numbers. A refusal consumes nothing."""

    check: str
    message: str
    numbers: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApprovalNeeded:
    """Nothing speaks against it, but a human must say yes first. Holds no lock, token or budget."""

    reasons: tuple[str, ...]


Answer = Permit | Refusal | ApprovalNeeded


@dataclass(frozen=True, slots=True)
class GateRecord:
    """What the durable records say about an execution that was permitted; the gate's store is rebuilt from these.

    Executions that never ran (permit expired, decision overtaken) have no record: they consumed nothing.

    Attributes:
        token: the last epoch under which somebody held the target for this execution.
        granted_at: when it was permitted; from here it counts for the rates.
        expires_at: until when its permit could be redeemed.
        holds_target: whether it is still permitted or running; False once it ended.
        cooldown_until: end of the target's cooldown, for an execution that ended.
        namespaces: those that its plan writes to, beside its target's.
        blast: how many resources it may affect; None where nobody recorded it.
    """

    execution_id: str
    tenant: str
    cluster: str
    runbook_id: str
    target_key: str
    plan_hash: str
    token: int
    granted_at: datetime
    expires_at: datetime
    holds_target: bool
    cooldown_until: datetime | None = None
    approval_id: str = ""
    namespaces: tuple[str, ...] = ()
    blast: int | None = None
