"""From a match to the gate's answer: plan, measure, ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from executor.errors import RemediationError, Temporary, Unmet
from executor.footprint import footprint_of
from executor.model import Plan
from executor.planner import Planner
from executor.ports import Clock, Hooks
from runbooks.model import LoadedRunbook
from safety import policy
from safety.around_checks import freeze, wants_cluster_pods, wants_namespace_pods
from safety.blast import Sources, known, measure
from safety.model import ApprovalNeeded, BlastRadius, GateRequest, Refusal
from safety.policy import PolicySettings
from safety.ports import Gate
from safety.surroundings import UNREAD, Frozen
from services.pipeline.answers import Answers
from services.pipeline.asking import by_the_runbook, labels_of, question, target_of, with_target
from services.pipeline.proposals import NOT_COUNTED, PRECONDITION, SKIPPED, UNREACHABLE, Planned, Proposal
from services.pipeline.rehearsal import Rehearse, not_rehearsed, only_said
from services.pipeline.ruling import NO_RULING, Ruling, Rulings
from services.pipeline.vetting import NO_VETTING, Vetting
from services.records import DecisionRecord

EARLY: tuple[policy.Check, ...] = (freeze, policy.protected_namespaces, policy.confidence)
"""Checks that need no plan. The gate makes them all again; here they spare the API server a useless plan."""

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
        self._answers = Answers(
            policy_settings=policy_settings,
            runbooks=runbooks,
            approval_timeout=approval_timeout,
            suggestions=suggestions,
            self_approval=self_approval,
        )
        self._frozen = frozen
        self._rulings = rulings or Rulings()
        self._vetting = vetting
        self._runbooks = runbooks
        self._rehearse = rehearse
        self._planner = planner
        self._gate = gate
        self._sources = sources
        self._policy = policy_settings
        self._clock = clock
        self._hooks = hooks
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
        return decided + [
            self._answers.decision(one, answer, now) for one, answer in zip(planned, answers, strict=True)
        ]

    async def _ready(self, proposal: Proposal, now: datetime) -> Planned | DecisionRecord:
        planned = await self.prepare(proposal, now)
        run = proposal.match.incident.signal.run
        if isinstance(planned, DecisionRecord):
            return planned
        if run is not None and run.dry_run:
            # Only what would be done is asked: nothing is reserved, nothing runs.
            refused, no = await self._rehearse(planned.plan), self.foreseen(planned)
            return self._answers.refused(planned.proposal, only_said(planned.plan, refused, no), now, planned)
        if held := self._held(planned):
            return self._answers.only_told(planned, held, now)
        return planned

    def _held(self, planned: Planned) -> Refusal | None:
        """Why the runbook may not even ask."""
        no = policy.decide(planned.request, self._policy)
        return (planned.proposal.ruling or NO_RULING).holds(planned.plan, no)

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
            return self._answers.refused(proposal, no, now)
        request = await self._with_freezes(ruling.on(self._request(proposal)), now)
        for check in EARLY:
            if refusal := check(request, policy.in_force(request, self._policy)):
                return self._answers.refused(proposal, refusal, now)
        try:
            async with self._slots:
                plan = await self._planner.plan(proposal.match, proposal.execution_id)
                return await self._planned(proposal, ruling, plan, now)
        except Unmet as error:
            return self._answers.refused(proposal, Refusal(SKIPPED if error.skip else PRECONDITION, str(error)), now)
        except Temporary as error:
            return self._answers.not_planned(proposal, UNREACHABLE, f"no plan for now: {error}", now)
        except RemediationError as error:
            return self._answers.unplannable(proposal, error, now)

    async def _planned(self, proposal: Proposal, ruling: Ruling, plan: Plan, now: datetime) -> Planned | DecisionRecord:
        """A plan with the gate's question about it."""
        incident = proposal.match.incident
        if refusal := await self._vetting.after(plan, self._runbooks()):
            return self._answers.refused(proposal, refusal, now)
        ruled = await self._ruled(proposal, ruling, plan, now)
        proposal = replace(proposal, ruling=ruled)
        if ruled.no:
            return self._answers.refused(proposal, ruled.no, now)
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
        touched = plan.touched or target_of(plan)
        seen = known(sources.around(footprint_of(plan, touched)))
        blast, around = await asyncio.gather(measure(touched, sources), seen)
        request = replace(request, around=replace(around or UNREAD, frozen=request.around.frozen))
        rules = policy.in_force(request, self._policy)
        if limits.blast_percent is not None or wants_namespace_pods(blast.count, rules):
            blast = replace(blast, pods=await known(sources.pods(plan.namespaces)))
        if wants_cluster_pods(blast.count, rules, limits.blast_percent_cluster):
            blast = replace(blast, cluster_pods=await known(sources.pods(("",))))
        if limits.protected_labels:
            labels = await known(sources.labels(with_target(plan)))
        return self._ask_about(replace(request, labels=labels), plan, blast)

    def _ask_about(self, request: GateRequest, plan: Plan, blast: BlastRadius) -> GateRequest:
        reasons = plan.approval_reasons
        if blast.graph is None and self._unknown_blast_asks:
            # The operator chose to be asked instead of refused when the graph does not know a target.
            blast = replace(blast, graph=blast.live, graph_age_seconds=0.0)
            reasons = (*reasons, NOT_COUNTED)
        return replace(request, namespaces=plan.namespaces, plan_hash=plan.hash, blast=blast, approval_reasons=reasons)
