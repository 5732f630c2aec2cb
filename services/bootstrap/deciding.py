"""The decide role: matching, planning and asking the gate; and the same without doing it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from executor.accounts import acting_as
from executor.actions.base import World
from executor.dryrun import problems_by_dry_run, refused_by_dry_run
from executor.model import Account, Plan
from executor.planner import Planner
from executor.settings import ExecutorSettings
from matcher.bridge import BackOff
from matcher.calibration import with_tables
from matcher.diagnose import SelfEvident
from matcher.select import RunbookIndex
from matcher.target import TargetResolver
from services.bootstrap.acting import world
from services.bootstrap.parts import Parts
from services.connections import policy_of
from services.forecast import Forecaster
from services.graph.blast import Neo4jBlastRadius, UnknownTarget
from services.graph.causes import Neo4jCausalGraph
from services.graph.durations import Neo4jDurations
from services.kubernetes.recent import RecentCount, RecentLists, RecentReads
from services.logs import masker
from services.pipeline.around import LookAround
from services.pipeline.blast import ClusterAndGraph
from services.pipeline.decide import Decider, DecideSettings
from services.pipeline.permit import Permits
from services.pipeline.reviewing import nobody_asks
from services.pipeline.ruling import Rulings
from services.pipeline.vetting import Vetting, not_asked
from services.plugins import all_actions
from services.rbac.accounts import account_of, account_rules
from services.rbac.missing import MissingRights, Reviewer
from services.sealing import sealer


def make_permits(parts: Parts, acting: World, reads: RecentReads) -> Permits:
    """Planning and asking the gate."""
    settings = parts.settings
    tenant = settings.matching.default_tenant
    counting = Neo4jBlastRadius(parts.graph, tenant, UnknownTarget.REFUSE)
    # Marks on namespaces, nodes and owners, and a namespace's budgets, are the same for many decisions of a moment.
    calm, lists = RecentReads(parts.cluster, seconds=3.0), RecentLists(parts.cluster)
    around, crowd = LookAround(reads, calm, lists, argo_labels=settings.gate.argocd_labels), RecentCount()
    return Permits(
        planner=Planner(
            all_actions(),
            replace(acting, cluster=reads),
            settings.runbooks.parameters,
            redact=masker.text,
            runbooks=lambda: parts.catalog.runbooks,
            max_depth=settings.execution.max_depth,
            accounts=lambda runbook: account_of(runbook, account_rules(settings), settings.kubernetes.runbook_accounts),
        ),
        gate=parts.gate,
        sources=lambda tenant, cluster: ClusterAndGraph(reads, counting, tenant, cluster, around=around, crowd=crowd),
        frozen=parts.freezes.in_force,
        policy_settings=policy_of(settings),
        clock=parts.clock,
        hooks=parts.hooks,
        approval_timeout=settings.approvals.timeout,
        least_cooldown=settings.gate.cooldown,
        unknown_blast_asks=settings.gate.unknown_target == "approval",
        rehearse=partial(rehearse, acting),
        runbooks=lambda: parts.catalog.runbooks,
        rulings=Rulings(lambda: parts.policies.current, parts.autonomy, parts.reviewed.unsigned),
        vetting=make_vetting(parts, acting),
        suggestions=settings.autonomy.channel,
        self_approval=settings.approvals.self_approval == "allow",
    )


def make_vetting(parts: Parts, acting: World) -> Vetting:
    """Whether runbooks were reviewed, and have the rights that they need."""

    def reviewer(account: Account | None) -> Reviewer:
        return acting_as(acting, account).cluster

    asks = parts.settings.kubernetes.check_rights
    missing = MissingRights(all_actions(), reviewer) if asks else not_asked
    return Vetting(parts.reviewed.refused if parts.reviewed.asks else nobody_asks, missing, sealer.keepable)


async def rehearse(acting: World, plan: Plan) -> str:
    """Why the API server would not take a write of the plan, whatever its runbook says of dry runs."""
    asked = plan.model_copy(update={"dry_run_first": True})
    return await refused_by_dry_run(asked, all_actions(), acting_as(acting, plan.account), ExecutorSettings())


def make_forecaster(parts: Parts, index: RunbookIndex) -> Forecaster:
    """What would be done, without Kafka and without doing it."""
    settings = parts.settings
    acting, reads = world(parts), RecentReads(parts.cluster)
    causes = Neo4jCausalGraph(parts.graph, settings.matching.default_tenant)
    return Forecaster(
        index=index,
        targets=TargetResolver(reads, causes, cluster=settings.default_cluster),
        permits=make_permits(parts, acting, reads),
        rehearse=lambda plan: problems_by_dry_run(
            plan.steps, all_actions(), acting_as(acting, plan.account), ExecutorSettings()
        ),
        history=Neo4jDurations(parts.graph),
        clock=parts.clock,
    )


def make_decider(parts: Parts, permits: Permits, reads: RecentReads) -> Decider:
    """The decide path as values."""
    settings = parts.settings
    matching = settings.matching
    causes = Neo4jCausalGraph(parts.graph, matching.default_tenant)
    return Decider(
        graph=causes,
        # Looking for targets is what a storm does most; its answers are good for three seconds anyway.
        targets=TargetResolver(RecentReads(reads, seconds=3.0), causes, cluster=settings.default_cluster),
        runbooks=lambda: parts.catalog.index,
        permits=permits,
        ledger=parts.ledger,
        clock=parts.clock,
        hooks=parts.hooks,
        storms=parts.storms,
        settings=DecideSettings(
            window=matching.window,
            max_age=matching.max_age,
            max_signal_age=matching.max_signal_age,
            retry_refused=matching.retry_refused,
            lookups=matching.lookups,
            back_off=BackOff(
                first=matching.bridge.first_delay,
                factor=matching.bridge.factor,
                longest=matching.bridge.max_delay,
                deadline=matching.bridge.deadline,
            ),
            tables=with_tables(matching.calibration),
            self_evident=SelfEvident(matching.self_evident_reasons),
            alert_confidence=matching.alert_confidence,
        ),
    )
