"""The policy: one ordered list of small named checks, for all that can be decided without the store.

A check is a pure function of the request and the settings, and answers with a ``Refusal`` or with None. The first
refusal wins. What needs the store's memory (pause, lock, cooldown, rates) follows in ``lua/gate.lua``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Literal

from safety.around_checks import (
    blast_share_cluster,
    blast_share_namespace,
    blast_share_workload,
    disabled,
    disruption_budget,
    freeze,
    gitops,
    graph_age,
    ownership_reasons,
)
from safety.axes import LONGEST_MEMORY_SECONDS, namespaces_of
from safety.model import ApprovalNeeded, GateRequest, Refusal
from safety.scopes import Where

OWN_NAMESPACE = "rootmend-system"

_PERCENT = dict.fromkeys(("blast_percent", "blast_percent_workload", "blast_percent_cluster"), 100)


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Limits for everything, whatever a runbook says; the stricter of the two counts.

    Attributes:
        protected_namespaces: nothing writes there; names or globs.
        max_blast_radius: most resources that one execution may affect.
        max_executions_per_hour_total: per tenant and cluster, over all runbooks.
        min_confidence_floor: lowest confidence, 0 to 1, with which anything runs.
        provisional_ttl_seconds: how long a reservation waits for its decision to become durable.
        permit_ttl_seconds: how long a permit can be redeemed.
        max_blast_percent_workload: most of one workload's pods, in percent, that are down at the same time; None for
            no limit, as for the two that follow.
        max_blast_percent_namespace: most of the pods of the namespaces that one execution may affect.
        max_blast_percent_cluster: the same of the cluster.
        blast_percent_from: so few resources are never too large a share of a namespace or cluster.
        max_graph_age_seconds: what the graph says of the objects must not be older; None for any age.
        gitops: what becomes of a change that a GitOps tool would put back: ``refuse``, ``suggest`` or ``allow``.
        lock_lease_seconds: how long a target stays locked without renewal. Longer than the lease in Neo4j, so that
            a crashed execution is taken over before another one may be permitted on its target.
        rate_window_seconds: the rolling window of both rates; an hour, shorter only in tests.
        storm_breaker: whether what a storm has stopped is refused; see ``safety.breaker``.
        runbook_per_minute: most executions of any one runbook in any minute; None for no limit, as for all that
            follow. ``..._per_hour`` and ``..._per_day`` are the same for longer windows; ``target_``, ``namespace_``,
            ``cluster_`` and ``tenant_`` for all runbooks together. Each is counted for each tenant. The hour of a
            cluster is ``max_executions_per_hour_total``.
        runbook_concurrent: most executions of any one runbook that hold their targets at the same time.
        namespace_blast_in_flight: most resources that all executions in flight may affect together.
        ask_again_after: so many executions for one target within ``ask_again_seconds``, of whichever runbooks, and the
            next asks a human.
        least_cooldown_seconds: a target is never left alone for less after an execution.
        cooldown_success_seconds: how long a target cools down after an execution with this end, where its runbook says
            nothing else.
    """

    protected_namespaces: tuple[str, ...] = ("kube-system", "kube-public", "kube-node-lease", OWN_NAMESPACE)
    max_blast_radius: int = 50
    max_executions_per_hour_total: int = 60
    min_confidence_floor: float = 0.5
    max_blast_percent_workload: float | None = None
    max_blast_percent_namespace: float | None = None
    max_blast_percent_cluster: float | None = 30
    blast_percent_from: int = 10
    max_graph_age_seconds: float | None = 900
    gitops: Literal["refuse", "suggest", "allow"] = "refuse"
    provisional_ttl_seconds: float = 60
    permit_ttl_seconds: float = 120
    lock_lease_seconds: float = 300
    rate_window_seconds: float = 3600
    storm_breaker: bool = True
    runbook_per_minute: int | None = None
    runbook_per_hour: int | None = None
    runbook_per_day: int | None = None
    target_per_minute: int | None = None
    target_per_hour: int | None = None
    target_per_day: int | None = 20
    namespace_per_minute: int | None = None
    namespace_per_hour: int | None = None
    namespace_per_day: int | None = None
    cluster_per_minute: int | None = 30
    cluster_per_day: int | None = 600
    tenant_per_minute: int | None = None
    tenant_per_hour: int | None = None
    tenant_per_day: int | None = None
    runbook_concurrent: int | None = None
    namespace_concurrent: int | None = None
    cluster_concurrent: int | None = 20
    tenant_concurrent: int | None = None
    namespace_blast_in_flight: int | None = 100
    cluster_blast_in_flight: int | None = 200
    tenant_blast_in_flight: int | None = None
    ask_again_after: int | None = 5
    ask_again_seconds: float = 86_400
    least_cooldown_seconds: float = 0
    cooldown_success_seconds: float = 0
    cooldown_failure_seconds: float = 900
    cooldown_rollback_seconds: float = 900
    cooldown_not_fixed_seconds: float = 3600
    cooldown_inconclusive_seconds: float = 1800

    def __post_init__(self) -> None:
        lengths = ("provisional_ttl_seconds", "permit_ttl_seconds", "lock_lease_seconds", "rate_window_seconds")
        for name in lengths:
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be a positive number of seconds")
        if self.provisional_ttl_seconds > self.permit_ttl_seconds:
            raise ValueError("provisional_ttl_seconds must not be longer than permit_ttl_seconds")
        if not 0 <= self.min_confidence_floor <= 1:
            raise ValueError("min_confidence_floor must be between 0 and 1")
        if self.max_blast_radius < 0 or self.max_executions_per_hour_total < 0 or self.blast_percent_from < 0:
            raise ValueError("a limit must not be negative")
        self._check_shares()
        self._check_counts()

    def _check_counts(self) -> None:
        """Raise ValueError for a count or a cooldown that makes no sense."""
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name.endswith(("_per_minute", "_per_hour", "_per_day", "_blast_in_flight")):
                least: float = 0
            elif each.name.endswith("_concurrent") or each.name == "ask_again_after":
                least = 1
            elif "cooldown" in each.name:
                least = 0
            else:
                continue
            if value is not None and not (math.isfinite(value) and value >= least):
                raise ValueError(f"{each.name} must be a number, at least {least:g}")
        if not 0 < self.ask_again_seconds <= LONGEST_MEMORY_SECONDS:
            raise ValueError("ask_again_seconds must be more than 0 and at most 30 days")

    def _check_shares(self) -> None:
        """Raise ValueError for a share that is none, an age that is none, or an unknown way with GitOps owners."""
        for name in ("max_blast_percent_workload", "max_blast_percent_namespace", "max_blast_percent_cluster"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 100:  # noqa: PLR2004 - percent
                raise ValueError(f"{name} must be more than 0 and at most 100")
        age = self.max_graph_age_seconds
        if age is not None and not (math.isfinite(age) and age > 0):
            raise ValueError("max_graph_age_seconds must be a positive number of seconds")
        if self.gitops not in ("refuse", "suggest", "allow"):
            raise ValueError("gitops must be refuse, suggest or allow")


Check = Callable[[GateRequest, PolicySettings], Refusal | None]


def in_force(request: GateRequest, settings: PolicySettings) -> PolicySettings:
    """The limits that count for a question: those that policies resolved for it, else the gate's own."""
    return request.policy or settings


def valid_request(request: GateRequest, settings: PolicySettings) -> Refusal | None:  # noqa: ARG001 - shape of a Check
    """No to a request that does not say what it is about."""
    names = ("execution_id", "tenant", "cluster", "runbook_id", "target_key", "plan_hash")
    missing = [name for name in names if not getattr(request, name).strip()]
    if missing:
        return Refusal("request", f"the request lacks {', '.join(missing)}", {"missing": ", ".join(missing)})
    if not request.target_key.startswith(f"{request.cluster}/"):
        # A lock that does not name the cluster would stop, or miss, the same name in another one.
        return Refusal("request", f"target {request.target_key} is not of cluster {request.cluster}")
    if not request.blast.resources:
        return Refusal("request", "the plan names no resource that it touches", {"resources": 0})
    if request.approval and not (request.approval.approval_id.strip() and request.approval.answered_by.strip()):
        return Refusal("request", "the approval does not say which one it is and who gave it")
    return None


def sane_limits(request: GateRequest, settings: PolicySettings) -> Refusal | None:  # noqa: ARG001 - shape of a Check
    """No to limits that cannot be read; they are never replaced by defaults."""
    limits = request.limits
    values = {
        "min_confidence": limits.min_confidence,
        "max_executions_per_hour": limits.max_executions_per_hour,
        "blast_radius": limits.blast_radius,
        "cooldown_seconds": limits.cooldown_seconds,
    }
    optional = {
        "max_executions_per_minute": limits.max_executions_per_minute,
        "max_executions_per_day": limits.max_executions_per_day,
        "max_concurrent": limits.max_concurrent,
        "ask_again_after": limits.ask_again_after,
        "ask_again_seconds": limits.ask_again_seconds,
        "blast_percent": limits.blast_percent,
        "blast_percent_workload": limits.blast_percent_workload,
        "blast_percent_cluster": limits.blast_percent_cluster,
    }
    values |= {name: value for name, value in optional.items() if value is not None}
    values |= {f"cooldown_after.{name}": value for name, value in limits.cooldown_after.items()}
    most = {"min_confidence": 1, **_PERCENT, "ask_again_seconds": LONGEST_MEMORY_SECONDS}
    least = {"max_concurrent": 1, "ask_again_after": 1}
    bad = {
        name: str(value)
        for name, value in values.items()
        if not (math.isfinite(value) and least.get(name, 0) <= value <= most.get(name, math.inf))
    }
    return Refusal("limits", f"limits that make no sense: {', '.join(bad)}", bad) if bad else None


def _namespaces(request: GateRequest) -> set[str]:
    """Every namespace that the plan writes to, or that its target is in or is."""
    return set(namespaces_of(request.cluster, request.target_key, request.namespaces))


def where_of(request: GateRequest) -> Where:
    """Where the execution acts, to be compared with the scopes of pauses and storms."""
    return Where(
        tenant=request.tenant,
        cluster=request.cluster,
        runbook=request.runbook_id,
        target_key=request.target_key,
        namespaces=tuple(sorted(_namespaces(request))),
        reason=request.cause_reason,
    )


def protected_namespaces(request: GateRequest, settings: PolicySettings) -> Refusal | None:
    """No to writes into a protected namespace. Cluster-scoped objects are in none."""
    for namespace in sorted(_namespaces(request)):
        for pattern in (*settings.protected_namespaces, *request.limits.protected_namespaces):
            if fnmatchcase(namespace, pattern.lower()):
                facts = {"namespace": namespace, "pattern": pattern}
                return Refusal("protected_namespace", f"namespace {namespace} is protected", facts)
    return None


def confidence(request: GateRequest, settings: PolicySettings) -> Refusal | None:
    """No below the threshold, before anybody is asked: a human cannot make a guess of the machine better."""
    threshold = max(request.limits.min_confidence, settings.min_confidence_floor)
    value = request.confidence
    if value is None:
        return Refusal("confidence", "the confidence is not known", {"threshold": threshold})
    if not 0 <= value <= 1:  # NaN is not between anything
        return Refusal("confidence", f"{value} is not a confidence", {"confidence": str(value)})
    if value < threshold:
        numbers = {"confidence": value, "threshold": threshold}
        return Refusal("confidence", f"confidence {value:.3g} is below {threshold:.3g}", numbers)
    return None


def blast_radius(request: GateRequest, settings: PolicySettings) -> Refusal | None:
    """No when more is affected than allowed, or when one of the two sources could not count."""
    blast = request.blast
    limit = min(request.limits.blast_radius, settings.max_blast_radius)
    silent = [name for name, count in (("graph", blast.graph), ("live", blast.live)) if count is None or count < 0]
    if silent or blast.count is None:
        who = " and ".join(silent)
        return Refusal("blast_radius", f"the blast radius is not known from: {who}", {"missing": who, "limit": limit})
    if blast.count > limit:
        numbers = {"count": blast.count, "graph": blast.graph or 0, "live": blast.live or 0, "limit": limit}
        return Refusal("blast_radius", f"{blast.count} resources are affected, {limit} are allowed", numbers)
    return None


def blast_share(request: GateRequest, settings: PolicySettings) -> Refusal | None:  # noqa: ARG001 - shape of a Check
    """No when a larger share of the pods is affected than the runbook allows, or when nobody could count them."""
    limit, blast = request.limits.blast_percent, request.blast
    if limit is None or blast.count is None:
        return None
    if blast.pods is None or blast.pods < 0:
        silent: dict[str, float | str] = {"missing": "pods", "limit_percent": limit}
        return Refusal("blast_share", "the pods of the namespaces could not be counted", silent)
    # Desired replicas can be more than the pods that are there: then all of them are affected.
    share = 100 * blast.count / max(blast.pods, blast.count, 1)
    if share > limit:
        numbers = {"count": blast.count, "pods": blast.pods, "percent": round(share, 1), "limit_percent": limit}
        return Refusal("blast_share", f"{share:.3g} % of the pods are affected, {limit:g} % are allowed", numbers)
    return None


def protected_labels(request: GateRequest, settings: PolicySettings) -> Refusal | None:  # noqa: ARG001 - as above
    """No when an object that is touched carries a protected label, or when its labels could not be read."""
    patterns = request.limits.protected_labels
    if not patterns:
        return None
    known = request.labels or {}
    for resource in sorted({*request.blast.resources, *known}):
        labels = known.get(resource)
        if labels is None:
            return Refusal("protected_label", f"the labels of {resource} could not be read", {"missing": resource})
        for name, pattern in sorted(patterns.items()):
            if name in labels and fnmatchcase(labels[name], pattern):
                facts = {"resource": resource, "label": f"{name}={labels[name]}"}
                return Refusal("protected_label", f"{resource} has the protected label {name}={labels[name]}", facts)
    return None


CHECKS: tuple[Check, ...] = (
    valid_request,
    sane_limits,
    freeze,
    protected_namespaces,
    protected_labels,
    disabled,
    confidence,
    gitops,
    blast_radius,
    graph_age,
    blast_share,
    blast_share_workload,
    blast_share_namespace,
    blast_share_cluster,
    disruption_budget,
)


def approval_reasons(request: GateRequest) -> tuple[str, ...]:
    """Why a human still has to say yes; empty when nobody has to, or somebody did, to this very plan."""
    reasons = request.approval_reasons
    for name, limit in _rates(request):
        if limit == 0:
            reasons = (*reasons, f"the runbook never runs by itself ({name} is 0)")
    if request.approval is None:
        return reasons
    if request.approval.plan_hash == request.plan_hash:
        return ()
    return (*reasons, f"approval {request.approval.approval_id} was given to another plan")


def decide(request: GateRequest, settings: PolicySettings) -> Refusal | ApprovalNeeded | None:
    """Run the checks in order.

    Returns:
        The first refusal, or the reasons for asking a human, or None when only the store has a say.
    """
    limits = in_force(request, settings)
    for check in CHECKS:
        if refusal := check(request, limits):
            return refusal
    reasons = (*approval_reasons(request), *ownership_reasons(request, limits))
    return ApprovalNeeded(reasons) if reasons else None


def _rates(request: GateRequest) -> tuple[tuple[str, int | None], ...]:
    limits = request.limits
    return (
        ("max_executions_per_minute", limits.max_executions_per_minute),
        ("max_executions_per_hour", limits.max_executions_per_hour),
        ("max_executions_per_day", limits.max_executions_per_day),
    )
