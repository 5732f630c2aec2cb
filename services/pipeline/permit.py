"""From a match to the gate's answer: plan, measure, ask, and say it as a decision."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from executor.asking import BARRED
from executor.errors import RemediationError, Temporary, Unmet
from executor.footprint import footprint_of
from executor.model import Access, ExecutionRecord, Plan, Status
from executor.planner import Planner
from executor.ports import Clock, Hooks
from executor.reasons import leaves
from executor.revalidation import UNWELL
from matcher.fingerprint import execution_id
from matcher.model import Incident, Match
from runbooks.growth import grows
from runbooks.model import LoadedRunbook, Repeated, Runbook
from safety import policy
from safety.approvals import ask
from safety.around_checks import freeze, wants_cluster_pods, wants_namespace_pods
from safety.axes import LIMIT_CHECKS
from safety.blast import Sources, known, measure
from safety.limits import cooldowns, remembered_seconds
from safety.model import Answer, ApprovalNeeded, BlastRadius, GateRequest, GrantedApproval, Limits, Permit, Refusal
from safety.policies import LABELS_UNREADABLE
from safety.policy import PolicySettings
from safety.ports import Gate
from safety.surroundings import UNREAD, Frozen
from services.pipeline.cases import Located, incident_facts, record_of, runbook_use
from services.pipeline.questions import SUGGESTED as MOMENT
from services.pipeline.rehearsal import Rehearse, not_rehearsed, only_said
from services.pipeline.rules import applying, asked_of_people, barred, bypasses, patience, reasons_of
from services.pipeline.ruling import NO_RULING, PASSING, SUGGESTED, Ruling, Rulings
from services.pipeline.vetting import MISSING_RIGHT, NO_VETTING, UNKEPT_SECRET, Vetting, denied
from services.records import DecisionKind, DecisionRecord, RunbookUse

EARLY: tuple[policy.Check, ...] = (freeze, policy.protected_namespaces, policy.confidence)
"""Checks that need no plan. The gate makes them all again; here they spare the API server a useless plan."""


UNREACHABLE = "unreachable"
"""What the plan had to ask did not answer: no plan for now."""

BLAST_UNKNOWN = "blast_radius_unknown"
"""One of the two sources could not count; it may know, or answer, later."""

NOT_COUNTED = "the graph cannot count the blast radius"
"""Why a human is asked where the operator prefers that to a refusal."""

AROUND_CHECKS = frozenset({"freeze", "disabled", "gitops", "disruption_budget"})
"""Checks of what surrounds a plan, which no record holds."""

GITOPS_UNKNOWN = "gitops_unknown"
"""Nobody could tell who keeps an object."""

LABELS_UNKNOWN = "labels_unknown"
"""The labels of an object could not be read, and some are protected."""

PRECONDITION = "precondition"
"""A precondition does not hold now."""

SKIPPED = "skipped"
"""A precondition says that the runbook has nothing to do here."""

TEMPORARY_CHECKS = frozenset(
    {
        *("pause", "storm", "cooldown", "lock", "blast_share"),
        *LIMIT_CHECKS,
        *("graph_age", "blast_share_workload", "blast_share_namespace", "blast_share_cluster"),
        *AROUND_CHECKS - {"gitops"},
        GITOPS_UNKNOWN,
        *(UNREACHABLE, BLAST_UNKNOWN, LABELS_UNKNOWN, PRECONDITION, SKIPPED),
        *PASSING,
        MISSING_RIGHT,
        UNKEPT_SECRET,
    }
)
"""Checks whose no passes with time."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the gate will be asked about.

    Attributes:
        number: id of the decision.
        attempt: counts from 1; of the incident's executions.
        approval: a human's yes to an earlier plan of the same execution.
        same_as: the execution that waits for the answer; a runbook that changed meanwhile does not make it another.
        ruling: what policies and the ladder of autonomy say; None before they were asked.
    """

    located: Located
    match: Match
    number: str
    attempt: int
    approval: GrantedApproval | None = None
    same_as: str = ""
    ruling: Ruling | None = None

    @property
    def execution_id(self) -> str:
        """Derived, so that asking again meets the same reservation."""
        return self.same_as or execution_id(self.match.incident.id, self.match.runbook.sha, self.attempt)


@dataclass(frozen=True, slots=True)
class Planned:
    """A proposal with its plan and the gate's question."""

    proposal: Proposal
    plan: Plan
    request: GateRequest


Freezes = Callable[[datetime], Awaitable[tuple[Frozen, ...]]]
"""The freezes that are in force at a moment, those of calendars that cannot be read included."""


async def no_freezes(moment: datetime) -> tuple[Frozen, ...]:  # noqa: ARG001 - shape of Freezes
    """None are configured."""
    return ()


class Permits:
    """Plans what was matched and asks the gate.

    Args:
        sources: measures what a plan may affect, for a tenant and cluster.
        approval_timeout: longest wait for an answer; a runbook may ask for less.
        least_cooldown: the quiet time of a target is never shorter.
        runbooks: those that a plan can call, whose versions are kept with the decision.
        rehearse: asks the API server whether it would take the writes of a plan, for requests that only want to know.
        rulings: policies and the ladder of autonomy; left out, there are none.
        vetting: whether runbooks were reviewed, and have the rights that they need.
        frozen: the freezes that are in force at a moment.
        self_approval: whether people may say yes to what they asked for or wrote themselves.
    """

    def __init__(
        self,
        *,
        planner: Planner,
        gate: Gate,
        sources: Callable[[str, str], Sources],
        policy_settings: PolicySettings,
        clock: Clock,
        hooks: Hooks,
        approval_timeout: timedelta,
        least_cooldown: timedelta,
        unknown_blast_asks: bool = False,
        planning: int = 16,
        rehearse: Rehearse = not_rehearsed,
        runbooks: Callable[[], Mapping[str, LoadedRunbook]] = dict,
        rulings: Rulings | None = None,
        suggestions: str = "",
        vetting: Vetting = NO_VETTING,
        frozen: Freezes = no_freezes,
        self_approval: bool = False,
    ) -> None:
        self._self_approval = self_approval
        self._frozen = frozen
        self._rulings = rulings or Rulings()
        self._suggestions = suggestions
        self._vetting = vetting
        self._runbooks = runbooks
        self._rehearse = rehearse
        self._planner = planner
        self._gate = gate
        self._sources = sources
        self._policy = policy_settings
        self._clock = clock
        self._hooks = hooks
        self._approval_timeout = approval_timeout
        self._least_cooldown = least_cooldown
        self._unknown_blast_asks = unknown_blast_asks
        self._slots = asyncio.Semaphore(planning)

    async def decide(self, proposals: Sequence[Proposal], now: datetime) -> list[DecisionRecord]:
        """The gate's answer to each proposal, as a decision."""
        prepared = await asyncio.gather(*(self._ready(proposal, now) for proposal in proposals))
        planned = [one for one in prepared if isinstance(one, Planned)]
        decided = [one for one in prepared if isinstance(one, DecisionRecord)]
        if not planned:
            return decided
        began = self._clock.monotonic()
        answers = await self._gate.ask([one.request for one in planned])
        self._hooks.event("gate.asked", seconds=self._clock.monotonic() - began, count=len(planned))
        return decided + [self._decision(one, answer, now) for one, answer in zip(planned, answers, strict=True)]

    async def _ready(self, proposal: Proposal, now: datetime) -> Planned | DecisionRecord:
        planned = await self.prepare(proposal, now)
        run = proposal.match.incident.signal.run
        if isinstance(planned, DecisionRecord):
            return planned
        if run is not None and run.dry_run:
            # Only what would be done is asked: nothing is reserved, nothing runs.
            refused, no = await self._rehearse(planned.plan), self.foreseen(planned)
            return self._refused(planned.proposal, only_said(planned.plan, refused, no), now, planned)
        if held := self._held(planned):
            return self._only_told(planned, held, now)
        return planned

    def _held(self, planned: Planned) -> Refusal | None:
        """Why the runbook may not even ask."""
        no = policy.decide(planned.request, self._policy)
        return (planned.proposal.ruling or NO_RULING).holds(planned.plan, no)

    def _only_told(self, planned: Planned, held: Refusal, now: datetime) -> DecisionRecord:
        """The plan is kept with the decision; where it is suggested, people are told of it."""
        would = tuple(change.summary for step in leaves(planned.plan.steps) for change in step.changes)
        record = replace(self._refused(planned.proposal, held, now, planned), suggested=would)
        if held.check != SUGGESTED:
            return record
        execution = self._execution(planned, Status.WAITING_APPROVAL, now)
        return replace(record, suggestion=as_suggestion(execution, would, self._suggestions))

    def _suggested(self, planned: Planned, refusal: Refusal, now: datetime) -> DecisionRecord:
        """A refusal; people are told of the patch that would last, where the policy suggests it."""
        record = self._refused(planned.proposal, refusal, now, planned)
        patch = str(refusal.numbers.get("suggestion", ""))
        if not patch:
            return record
        execution = self._execution(planned, Status.WAITING_APPROVAL, now)
        return replace(record, suggested=(patch,), suggestion=as_suggestion(execution, (patch,), self._suggestions))

    def foreseen(self, planned: Planned) -> Refusal | ApprovalNeeded | None:
        """What the gate will say, as far as it depends on the plan alone: its memory (locks, rates) is not asked."""
        return self._held(planned) or policy.decide(planned.request, self._policy)

    async def prepare(self, proposal: Proposal, now: datetime) -> Planned | DecisionRecord:
        """The plan with the gate's question, or why there is none. Nothing is reserved or changed."""
        incident = proposal.match.incident
        sources = self._sources(incident.tenant, incident.cluster)
        ruling = await self._rulings.before_plan(proposal.match, lambda: labels_of(incident, sources), now)
        proposal = replace(proposal, ruling=ruling)
        if no := self._vetting.before(proposal.match.runbook) or ruling.no:
            return self._refused(proposal, no, now)
        request = await self._with_freezes(ruling.on(self._request(proposal)), now)
        for check in EARLY:
            if refusal := check(request, policy.in_force(request, self._policy)):
                return self._refused(proposal, refusal, now)
        try:
            async with self._slots:
                plan = await self._planner.plan(proposal.match, proposal.execution_id)
                return await self._planned(proposal, ruling, plan, now)
        except Unmet as error:
            return self._refused(proposal, Refusal(SKIPPED if error.skip else PRECONDITION, str(error)), now)
        except Temporary as error:
            return self._not_planned(proposal, UNREACHABLE, f"no plan for now: {error}", now)
        except RemediationError as error:
            return self._unplannable(proposal, error, now)

    async def _planned(self, proposal: Proposal, ruling: Ruling, plan: Plan, now: datetime) -> Planned | DecisionRecord:
        """A plan with the gate's question about it."""
        incident = proposal.match.incident
        if refusal := await self._vetting.after(plan, self._runbooks()):
            return self._refused(proposal, refusal, now)
        ruled = await self._ruled(proposal, ruling, plan, now)
        proposal = replace(proposal, ruling=ruled)
        if ruled.no:
            return self._refused(proposal, ruled.no, now)
        sources = self._sources(incident.tenant, incident.cluster)
        request = await self._with_freezes(ruled.on(self._request(proposal)), now)
        asked = await self._measured(request, plan, sources)
        asked = replace(asked, approval_reasons=(*asked.approval_reasons, *ruled.asks(plan)))
        return Planned(proposal, plan, by_the_runbook(asked, proposal.match.runbook.runbook, plan))

    async def _ruled(self, proposal: Proposal, ruling: Ruling, plan: Plan, now: datetime) -> Ruling:
        """The ruling with what holds in the other namespaces that the plan writes to."""
        incident, labels = proposal.match.incident, None
        if self._rulings.needs_labels_for(proposal.match, plan):
            labels = await labels_of(incident, self._sources(incident.tenant, incident.cluster))
        return self._rulings.after_plan(ruling, proposal.match, plan, labels, now)

    def _request(self, proposal: Proposal) -> GateRequest:
        return question(proposal.match, proposal.execution_id, self._least_cooldown, proposal.approval)

    async def _with_freezes(self, request: GateRequest, now: datetime) -> GateRequest:
        return replace(request, around=replace(UNREAD, frozen=await known(self._frozen(now))))

    async def _measured(self, request: GateRequest, plan: Plan, sources: Sources) -> GateRequest:
        """The question, with what the plan may affect; labels and pods are read only where a limit needs them."""
        limits, labels = request.limits, None
        # A plan that changes nothing is weighed as if it changed its target.
        touched = plan.touched or _target_of(plan)
        seen = known(sources.around(footprint_of(plan, touched)))
        blast, around = await asyncio.gather(measure(touched, sources), seen)
        request = replace(request, around=replace(around or UNREAD, frozen=request.around.frozen))
        rules = policy.in_force(request, self._policy)
        if limits.blast_percent is not None or wants_namespace_pods(blast.count, rules):
            blast = replace(blast, pods=await known(sources.pods(plan.namespaces)))
        if wants_cluster_pods(blast.count, rules, limits.blast_percent_cluster):
            blast = replace(blast, cluster_pods=await known(sources.pods(("",))))
        if limits.protected_labels:
            labels = await known(sources.labels(_with_target(plan)))
        return self._ask_about(replace(request, labels=labels), plan, blast)

    def _ask_about(self, request: GateRequest, plan: Plan, blast: BlastRadius) -> GateRequest:
        reasons = plan.approval_reasons
        if blast.graph is None and self._unknown_blast_asks:
            # The operator chose to be asked instead of refused when the graph does not know a target.
            blast = replace(blast, graph=blast.live, graph_age_seconds=0.0)
            reasons = (*reasons, NOT_COUNTED)
        return replace(request, namespaces=plan.namespaces, plan_hash=plan.hash, blast=blast, approval_reasons=reasons)

    def _decision(self, planned: Planned, answer: Answer, now: datetime) -> DecisionRecord:
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

    def _refused(
        self, proposal: Proposal, refusal: Refusal, now: datetime, planned: Planned | None = None
    ) -> DecisionRecord:
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

    def _unplannable(self, proposal: Proposal, error: RemediationError, now: datetime) -> DecisionRecord:
        if refusal := denied(error, proposal.match.runbook.runbook.id):
            return self._refused(proposal, refusal, now)
        return self._not_planned(proposal, "plan", str(error), now)

    def _not_planned(self, proposal: Proposal, check: str, why: str, now: datetime) -> DecisionRecord:
        return self._record(proposal, DecisionKind.PLAN_FAILED, now, check=check, message=why)

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


def question(
    match: Match, execution_id: str, least_cooldown: timedelta, approval: GrantedApproval | None = None
) -> GateRequest:
    """What the gate is asked about a match, as far as it is known before there is a plan."""
    incident, runbook = match.incident, match.runbook.runbook
    safety = runbook.safety
    return GateRequest(
        execution_id=execution_id,
        tenant=incident.tenant,
        cluster=incident.cluster,
        runbook_id=runbook.id,
        target_key=incident.target.key,
        namespaces=(incident.target.namespace,),
        confidence=incident.cause.confidence,
        plan_hash="",
        blast=BlastRadius(None, None, ()),
        limits=Limits(
            min_confidence=runbook.trigger.min_confidence,
            max_executions_per_hour=_stricter(safety.max_executions_per_hour, safety.rates.per_hour),
            blast_radius=safety.blast_radius_limit,
            cooldown_seconds=max(safety.cooldown, least_cooldown).total_seconds(),
            max_executions_per_minute=safety.rates.per_minute,
            max_executions_per_day=safety.rates.per_day,
            max_concurrent=safety.max_concurrent,
            blast_percent=safety.blast_radius_percent,
            protected_namespaces=safety.protected_namespaces,
            protected_labels=safety.protected_labels,
            cooldown_after=safety.cooldown_after.seconds,
        ),
        approval=approval,
        cause_reason=incident.cause.reason,
    )


def unwell_of(request: GateRequest) -> dict[str, object]:
    """Why the target looked unwell when it was decided: one that is well again by its first change is left alone."""
    return {UNWELL: request.around.unwell} if request.around.unwell else {}


def _stricter(limit: int, other: int | None) -> int:
    return limit if other is None else min(limit, other)


def _with_target(plan: Plan) -> list[str]:
    """What the plan touches, and its target, which may be what protects them."""
    return list(dict.fromkeys([*plan.touched, *_target_of(plan)]))


def _target_of(plan: Plan) -> tuple[str]:
    target = plan.context.get("target") or {}
    parts = [target.get("kind", ""), target.get("namespace", ""), target.get("name", "")]
    return ("/".join(part for part in parts if part),)


def by_the_runbook(request: GateRequest, runbook: Runbook, plan: Plan) -> GateRequest:
    """The question, with what the runbook asks of people beside the reasons of its plan."""
    more = reasons_of(applying(runbook.approvals, plan), plan)
    with_rules = replace(request, approval_reasons=(*request.approval_reasons, *more))
    return asked_again(with_rules, runbook, plan)


def asked_again(request: GateRequest, runbook: Runbook, plan: Plan) -> GateRequest:
    """The question with how often the runbook may run for its target before a human is asked.

    A runbook that makes something larger is asked for when its target needs it a second time within a day, also where
    its author says nothing.
    """
    repeated = runbook.safety.ask_again
    if repeated is None:
        changing = {step.id for step in plan.steps if step.access is Access.WRITE}
        if not grows(runbook.steps, lambda step: step.id in changing):
            return request
        repeated = Repeated()
    after, within = repeated.executions, repeated.within.total_seconds()
    return replace(request, limits=replace(request.limits, ask_again_after=after, ask_again_seconds=within))


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


async def labels_of(incident: Incident, sources: Sources) -> Mapping[str, str] | None:
    """Labels of the target as it is now; None when they cannot be read."""
    target = incident.target
    resource = "/".join(part for part in (target.kind, target.namespace, target.name) if part)
    found = await known(sources.labels([resource]))
    return None if found is None else found.get(resource)


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
