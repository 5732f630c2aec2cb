"""What became of a proposal, as a decision: permit, refusal, a question to people, or no plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from executor.asking import BARRED
from executor.errors import RemediationError
from executor.model import ExecutionRecord, Plan, Status
from executor.reasons import leaves
from executor.revalidation import UNWELL
from matcher.model import Incident, Match
from runbooks.model import LoadedRunbook
from safety import policy
from safety.approvals import ask
from safety.limits import cooldowns, remembered_seconds
from safety.model import Answer, BlastRadius, GateRequest, Permit, Refusal
from safety.policies import LABELS_UNREADABLE
from safety.policy import PolicySettings
from services.pipeline.cases import incident_facts, record_of, runbook_use
from services.pipeline.proposals import BLAST_UNKNOWN, GITOPS_UNKNOWN, LABELS_UNKNOWN, Planned, Proposal
from services.pipeline.questions import SUGGESTED as MOMENT
from services.pipeline.rules import applying, asked_of_people, barred, bypasses, patience
from services.pipeline.ruling import NO_RULING, SUGGESTED
from services.pipeline.vetting import denied
from services.records import DecisionKind, DecisionRecord, RunbookUse


class Answers:
    """Says what became of proposals, as decisions.

    Args:
        policy_settings: of the gate.
        runbooks: those that a plan can call, whose versions are kept with the decision.
        approval_timeout: longest wait for an answer; a runbook may ask for less.
        suggestions: the channel that is told of plans that nobody can approve.
        self_approval: whether people may say yes to what they asked for or wrote themselves.
    """

    def __init__(
        self,
        *,
        policy_settings: PolicySettings,
        runbooks: Callable[[], Mapping[str, LoadedRunbook]],
        approval_timeout: timedelta,
        suggestions: str,
        self_approval: bool,
    ) -> None:
        self._policy = policy_settings
        self._runbooks = runbooks
        self._approval_timeout = approval_timeout
        self._suggestions = suggestions
        self._self_approval = self_approval

    def decision(self, planned: Planned, answer: Answer, now: datetime) -> DecisionRecord:
        """The gate's answer."""
        proposal = planned.proposal
        if isinstance(answer, Refusal):
            return self._suggested(planned, answer, now)
        if isinstance(answer, Permit):
            return self._record(
                proposal,
                DecisionKind.PERMIT,
                now,
                message="every check of the gate was passed",
                called=self._called(planned.plan),
                execution=self._execution(planned, Status.PERMITTED, now),
                permit_token=answer.token,
                permit_expires_at=answer.expires_at,
                numbers=_blast_numbers(planned.request.blast),
            )
        runbook = proposal.match.runbook.runbook
        rules = applying(runbook.approvals, planned.plan)
        timeout = patience(rules, min(self._approval_timeout, runbook.safety.approval_timeout))
        approval = ask(
            proposal.execution_id,
            proposal.match.incident.id,
            planned.plan.hash,
            answer.reasons,
            now=now,
            timeout=timeout,
            attempt=proposal.attempt,
            rules=[asked_of_people(rule) for rule in rules],
            bypass=bypasses(runbook.approvals),
            barred=self._barred(proposal.match),
        )
        return self._record(
            proposal,
            DecisionKind.APPROVAL,
            now,
            check="approval",
            message="a human must say yes: " + "; ".join(answer.reasons),
            called=self._called(planned.plan),
            execution=self._execution(planned, Status.WAITING_APPROVAL, now),
            approval=approval,
            numbers=_blast_numbers(planned.request.blast),
        )

    def _suggested(self, planned: Planned, refusal: Refusal, now: datetime) -> DecisionRecord:
        """A refusal; people are told of the patch that would last, where the policy suggests it."""
        record = self.refused(planned.proposal, refusal, now, planned)
        patch = str(refusal.numbers.get("suggestion", ""))
        if not patch:
            return record
        execution = self._execution(planned, Status.WAITING_APPROVAL, now)
        return replace(record, suggested=(patch,), suggestion=as_suggestion(execution, (patch,), self._suggestions))

    def only_told(self, planned: Planned, held: Refusal, now: datetime) -> DecisionRecord:
        """The plan is kept with the decision; where it is suggested, people are told of it."""
        would = tuple(change.summary for step in leaves(planned.plan.steps) for change in step.changes)
        record = replace(self.refused(planned.proposal, held, now, planned), suggested=would)
        if held.check != SUGGESTED:
            return record
        execution = self._execution(planned, Status.WAITING_APPROVAL, now)
        return replace(record, suggestion=as_suggestion(execution, would, self._suggestions))

    def refused(
        self, proposal: Proposal, refusal: Refusal, now: datetime, planned: Planned | None = None
    ) -> DecisionRecord:
        """A no, with what was measured when there was a plan."""
        unknown = _UNKNOWN.get(refusal.check, "") if "missing" in refusal.numbers else ""
        # What was measured goes along: with it the question can be asked again later, of other limits.
        measured: dict[str, float | str] = {}
        if planned:
            measured = {"plan": planned.plan.hash, **_blast_numbers(planned.request.blast)}
            measured |= {"asks": "; ".join(reasons)} if (reasons := planned.request.approval_reasons) else {}
        return self._record(
            proposal,
            DecisionKind.REFUSAL,
            now,
            check=unknown or refusal.check,
            message=refusal.message,
            numbers={**refusal.numbers, **measured},
        )

    def unplannable(self, proposal: Proposal, error: RemediationError, now: datetime) -> DecisionRecord:
        """There is no plan; a right that is missing is a refusal."""
        if refusal := denied(error, proposal.match.runbook.runbook.id):
            return self.refused(proposal, refusal, now)
        return self.not_planned(proposal, "plan", str(error), now)

    def not_planned(self, proposal: Proposal, check: str, why: str, now: datetime) -> DecisionRecord:
        """There is no plan."""
        return self._record(proposal, DecisionKind.PLAN_FAILED, now, check=check, message=why)

    def _barred(self, match: Match) -> tuple[str, ...]:
        return () if self._self_approval else barred(match.runbook.runbook, match.incident.signal.run)

    def _called(self, plan: Plan) -> tuple[RunbookUse, ...]:
        """The versions of the runbooks that a plan calls, with their texts unless they changed this very moment."""
        known = self._runbooks()
        uses = []
        for told in dict.fromkeys(plan.called.values()):
            name, _, rest = told.partition(" ")
            version, _, sha = rest.rpartition(" ")
            loaded = known.get(name)
            uses.append(runbook_use(loaded) if loaded and loaded.sha == sha else RunbookUse(name, version, sha))
        return tuple(uses)

    def _execution(self, planned: Planned, status: Status, now: datetime) -> ExecutionRecord:
        match = planned.proposal.match
        runbook, rules = match.runbook.runbook, policy.in_force(planned.request, self._policy)
        return ExecutionRecord(
            id=planned.proposal.execution_id,
            plan=planned.plan,
            incident={**flat_facts(match.incident), **unwell_of(planned.request), BARRED: self._barred(match)},
            status=status,
            cooldown_seconds=planned.request.limits.cooldown_seconds,
            cooldowns=cooldowns(planned.request.limits, rules),
            blast=planned.request.blast.count,
            remember_seconds=remembered_seconds(planned.request.limits, rules),
            settle_seconds=runbook.verification.settle.total_seconds(),
            verify_timeout_seconds=runbook.verification.timeout.total_seconds(),
            observe_seconds=runbook.verification.observe.total_seconds(),
            on_not_fixed=runbook.verification.on_not_fixed.value,
            on_inconclusive=runbook.verification.on_inconclusive.value,
            notification=_told(match),
            requested_at=now,
        )

    @staticmethod
    def _record(proposal: Proposal, kind: DecisionKind, now: datetime, **facts: object) -> DecisionRecord:
        ruling = proposal.ruling or NO_RULING
        if ruling.noted:
            facts["numbers"] = {**cast("Mapping[str, float | str]", facts.get("numbers") or {}), **ruling.noted}
        return record_of(
            proposal.located.case,
            kind,
            proposal.number,
            now,
            attempt=proposal.attempt,
            candidates=proposal.match.candidates,
            runbook=runbook_use(proposal.match.runbook),
            policies=ruling.resolved.uses,
            **incident_facts(proposal.located, proposal.match.incident),
            **facts,
        )


def unwell_of(request: GateRequest) -> dict[str, object]:
    """Why the target looked unwell when it was decided: one that is well again by its first change is left alone."""
    return {UNWELL: request.around.unwell} if request.around.unwell else {}


_UNKNOWN = {
    LABELS_UNREADABLE: LABELS_UNKNOWN,
    "blast_radius": BLAST_UNKNOWN,
    "blast_share": BLAST_UNKNOWN,
    "blast_share_workload": BLAST_UNKNOWN,
    "blast_share_namespace": BLAST_UNKNOWN,
    "blast_share_cluster": BLAST_UNKNOWN,
    "graph_age": BLAST_UNKNOWN,
    "gitops": GITOPS_UNKNOWN,
    "protected_label": LABELS_UNKNOWN,
}
"""What a check is called when its no only means that something could not be measured."""


def _told(match: Match) -> dict[str, object]:
    """Who hears of the execution; of one that is only suggested also those whom the mappings name."""
    told: dict[str, object] = match.runbook.runbook.notification.model_dump(mode="json", exclude_none=True)
    if match.suggested and match.notify_channel:
        told.setdefault("on_approval", {"slack": {"channel": match.notify_channel, "message": _SUGGESTION}})
    return told


_SUGGESTION = (
    "{{ execution.runbook }} is suggested for {{ incident.symptom.reason }} on {{ target.kind }}/{{ target.name }}: "
    "it waits for a yes (rb approvals list)"
)


def as_suggestion(record: ExecutionRecord, would: Sequence[str], channel: str) -> ExecutionRecord:
    """An execution that will not be, as people are told of it.

    Where the runbook's author wants questions asked, suggestions are told as well; else in Slack.
    """
    asked = record.notification.get("on_approval") or {}
    channels = {name: {**content, "message": _SUGGESTED} for name, content in asked.items() if content}
    context = {**record.plan.context, "suggestion": {"changes": list(would)}}
    return record.model_copy(
        update={
            "notification": {MOMENT: channels or {"slack": {"channel": channel, "message": _SUGGESTED}}},
            "plan": record.plan.model_copy(update={"context": context}),
        }
    )


_SUGGESTED = (
    "{{ execution.runbook }} suggests for {{ incident.symptom.reason }} on {{ target.kind }}/{{ target.name }}: "
    "{{ suggestion.changes | join('; ') }}. Nothing is done and nothing can be approved: rb explain {{ incident.id }}"
)


def _blast_numbers(blast: BlastRadius) -> dict[str, float | str]:
    counts = {
        "blast_radius": blast.count,
        "blast_graph": blast.graph,
        "blast_live": blast.live,
        "namespace_pods": blast.pods,
        "cluster_pods": blast.cluster_pods,
    }
    return {name: value for name, value in counts.items() if value is not None}


def flat_facts(incident: Incident) -> dict[str, object]:
    """What an execution remembers of its incident: enough for messages, verification and the record."""
    signal, cause, target = incident.signal, incident.cause, incident.target
    return {
        "id": incident.id,
        "event_id": signal.event_id,
        "tenant": incident.tenant,
        "cluster": incident.cluster,
        "reason": signal.reason,
        "cause_reason": cause.reason,
        "cause_event_id": cause.event_id,
        "confidence": cause.confidence,
        "subject": _named(cause.subject.kind, cause.subject.namespace, cause.subject.name, cause.subject.uid),
        "target": _named(target.kind, target.namespace, target.name, target.uid),
        "opened_at": incident.opened_at.isoformat(),
        "trigger_type": signal.run.source.value if signal.run else "alert",
        **({"asked_by": signal.run.by} if signal.run else {}),
    }


def _named(kind: str, namespace: str, name: str, uid: str) -> dict[str, str]:
    return {"kind": kind, "namespace": namespace, "name": name, "uid": uid}
