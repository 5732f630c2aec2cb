"""The checks of what surrounds a plan: vetoes, freezes, GitOps owners, disruption budgets, shares, the graph's age.

Each has the shape of ``safety.policy.Check``: a pure function of the request and the limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from safety.model import GateRequest, Refusal
from safety.surroundings import Managed

if TYPE_CHECKING:
    from safety.policy import PolicySettings


def _unread(check: str, request: GateRequest, what: str, part: str) -> Refusal:
    why = request.around.why(part)
    return Refusal(check, f"{what} could not be read{f': {why}' if why else ''}", {"missing": part})


def freeze(request: GateRequest, settings: PolicySettings) -> Refusal | None:  # noqa: ARG001 - shape of a Check
    """No while a freeze is in force, or while nobody can say whether one is."""
    found = request.around.frozen
    if found is None:
        return _unread("freeze", request, "the freezes", "freezes")
    for one in found:
        if one.unreadable:
            text = f"the freeze calendar {one.source} cannot be read: {one.unreadable}"
            return Refusal("freeze", text, {"missing": one.source})
    if not found:
        return None
    last = max(found, key=lambda one: one.until or "~")  # text behind every time: without an end it lasts longest
    facts: dict[str, float | str] = {"freeze": last.name, "source": last.source}
    if last.until:
        facts["until"] = last.until
    reason = f" ({last.reason})" if last.reason else ""
    return Refusal("freeze", f"freeze {last.name}{reason} until {last.until or 'somebody ends it'}", facts)


def disabled(request: GateRequest, settings: PolicySettings) -> Refusal | None:  # noqa: ARG001 - shape of a Check
    """No when an object that is touched, the target, its owner, namespace or node keeps automation away."""
    found = request.around.disabled
    if found is None:
        return _unread("disabled", request, "whether automation is switched off here", "disabled")
    for one in found:
        reason = f": {one.reason}" if one.reason else ""
        text = f"automation is switched off for {one.resource} (rootmend.dev/disabled){reason}"
        return Refusal("disabled", text, {"resource": one.resource, "reason": one.reason or "true"})
    return None


def gitops(request: GateRequest, settings: PolicySettings) -> Refusal | None:
    """No to a change that its GitOps tool would put back; with the change as text where that is asked for."""
    if settings.gitops == "allow":
        return None
    found = request.around.managed
    if found is None:
        return _unread("gitops", request, "who keeps the objects", "gitops")
    back = [one for one in found if one.reverted]
    if not back:
        return None
    first = back[0]
    text = f"{first.tool} ({first.owner}) keeps {first.resource} and would put the change back"
    facts: dict[str, float | str] = {"resource": first.resource, "tool": first.tool, "owner": first.owner}
    if settings.gitops == "suggest":
        facts["suggestion"] = _as_text(back)
        return Refusal("gitops", f"{text}: make it where {first.tool} reads it", facts)
    return Refusal("gitops", text, facts)


def _as_text(changes: list[Managed]) -> str:
    """The changes for a pull request, one YAML document for each."""
    return "---\n".join(f"# {one.tool}: {one.owner}\n{one.patch.rstrip()}\n" for one in changes)


def ownership_reasons(request: GateRequest, settings: PolicySettings) -> tuple[str, ...]:
    """Why a human has to say yes to a change that lasts only until the next release of its owner."""
    answered = request.approval is not None and request.approval.plan_hash == request.plan_hash
    if answered or settings.gitops == "allow":
        return ()
    kept = [one for one in request.around.managed or () if not one.reverted]
    reasons = (f"{one.resource} belongs to {one.tool} ({one.owner}): its next sync undoes the change" for one in kept)
    return tuple(dict.fromkeys(reasons))


def disruption_budget(request: GateRequest, settings: PolicySettings) -> Refusal | None:  # noqa: ARG001 - as above
    """No when a disruption budget allows fewer disruptions than the plan makes at the same time."""
    found = request.around.budgets
    if found is None:
        return _unread("disruption_budget", request, "the disruption budgets", "budgets")
    for one in found:
        if one.allowed is None:
            text = f"disruption budget {one.name} does not say how many disruptions it allows"
            return Refusal("disruption_budget", text, {"missing": one.name, "needed": one.disruptions})
        if one.disruptions > one.allowed:
            text = f"disruption budget {one.name} allows {one.allowed} disruptions, the plan makes {one.disruptions}"
            facts: dict[str, float | str] = {"budget": one.name, "allowed": one.allowed, "needed": one.disruptions}
            return Refusal("disruption_budget", text, facts)
    return None


def graph_age(request: GateRequest, settings: PolicySettings) -> Refusal | None:
    """No when what the graph says of the objects is older than allowed, or has no date."""
    limit, age = settings.max_graph_age_seconds, request.blast.graph_age_seconds
    if limit is None:
        return None
    if age is None:
        return Refusal("graph_age", "the graph does not say how old it is", {"missing": "graph", "limit": limit})
    if age > limit:
        text = f"the graph was not updated for {age:.0f} s, {limit:.0f} s are allowed"
        return Refusal("graph_age", text, {"age": round(age, 1), "limit": limit})
    return None


def blast_share_workload(request: GateRequest, settings: PolicySettings) -> Refusal | None:
    """No when a larger share of one workload's pods is down at the same time than allowed."""
    limit = _stricter(settings.max_blast_percent_workload, request.limits.blast_percent_workload)
    if limit is None:
        return None
    share = request.around.workload_percent
    if share is None:
        return _unread("blast_share_workload", request, "the pods of the workload", "workload")
    if share > limit:
        text = f"{share:.3g} % of a workload's pods are down at once, {limit:g} % are allowed"
        return Refusal("blast_share_workload", text, {"percent": round(share, 1), "limit_percent": limit})
    return None


def blast_share_namespace(request: GateRequest, settings: PolicySettings) -> Refusal | None:
    """No when a larger share of the pods of the namespaces is affected than the policy allows."""
    return _share("blast_share_namespace", request, settings, settings.max_blast_percent_namespace, request.blast.pods)


def blast_share_cluster(request: GateRequest, settings: PolicySettings) -> Refusal | None:
    """No when a larger share of the pods of the cluster is affected than allowed."""
    own, pods = request.limits.blast_percent_cluster, request.blast.cluster_pods
    if own is not None and (refusal := _share("blast_share_cluster", request, settings, own, pods, few=0)):
        return refusal
    return _share("blast_share_cluster", request, settings, settings.max_blast_percent_cluster, pods)


def _share(
    check: str,
    request: GateRequest,
    settings: PolicySettings,
    limit: float | None,
    pods: int | None,
    *,
    few: int | None = None,
) -> Refusal | None:
    """No to a larger share of the pods. So few as ``blast_percent_from`` are never too large a share."""
    count = request.blast.count
    least = settings.blast_percent_from if few is None else few
    if limit is None or count is None or count <= least:
        return None
    where = check.rpartition("_")[2]
    if pods is None or pods < 0:
        return Refusal(check, f"the pods of the {where} could not be counted", {"missing": "pods"})
    # Desired replicas can be more than the pods that are there: then all of them are affected.
    share = 100 * count / max(pods, count, 1)
    if share > limit:
        text = f"{share:.3g} % of the pods of the {where} are affected, {limit:g} % are allowed"
        return Refusal(check, text, {"count": count, "pods": pods, "percent": round(share, 1), "limit_percent": limit})
    return None


def _stricter(one: float | None, other: float | None) -> float | None:
    known = [limit for limit in (one, other) if limit is not None]
    return min(known, default=None)


def wants_namespace_pods(count: int | None, settings: PolicySettings) -> bool:
    """Whether the pods of the namespaces have to be counted for the policy's limit."""
    return _counts(count, settings.max_blast_percent_namespace, settings)


def wants_cluster_pods(count: int | None, settings: PolicySettings, own: float | None) -> bool:
    """Whether the pods of the cluster have to be counted: only where a limit could be passed."""
    return own is not None or _counts(count, settings.max_blast_percent_cluster, settings)


def _counts(count: int | None, limit: float | None, settings: PolicySettings) -> bool:
    return limit is not None and count is not None and count > settings.blast_percent_from
