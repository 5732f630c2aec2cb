"""The act role: what actions act through, and who carries plans out."""

from __future__ import annotations

import os

from executor.actions.base import World
from executor.exec_rules import ExecRules
from executor.runner import Executor
from executor.settings import ExecutorSettings
from services.bootstrap.parts import Parts
from services.browser import ChromiumScreens, browser_environment, find_browser, runs_as_root
from services.chat import SlackChat
from services.data import with_data
from services.graph.fresh import Neo4jFreshSignals
from services.graph.reader import Neo4jGraphReader
from services.hooks import MultiHooks
from services.kubernetes.impersonation import Accounts
from services.logs import masker
from services.people import make_people
from services.pipeline.act import Holding, Worker
from services.pipeline.progress import Progress
from services.plugins import all_actions
from services.settings import Settings


def world(parts: Parts) -> World:
    """The ports that actions act through."""
    settings = parts.settings
    acting = World(
        cluster=parts.cluster,
        impersonates=Accounts(parts.cluster),
        http=parts.web,
        chat=SlackChat(
            settings.slack.token.get_secret_value() if settings.slack.token else None,
            base_url=settings.slack.base_url,
            channel=settings.slack.channel,
        ),
        graph=Neo4jGraphReader(parts.graph),
        secrets=parts.secrets.store,
        clock=parts.clock,
        people=make_people(settings, parts.http, parts.clock, masker.register),
        screens=open_screens(settings),
        exec_rules=ExecRules(settings.actions.exec.enabled, settings.actions.exec.allow),
    )
    return with_data(acting, settings, parts.hooks.event, parts.http)


def open_screens(settings: Settings) -> ChromiumScreens:
    """The browser for pictures of pages; it is started when a step asks for one."""
    chosen = settings.screenshots
    return ChromiumScreens(
        find_browser(chosen.browser, os.environ),
        chosen.reports,
        updates=chosen.update_baselines,
        sandbox=chosen.sandbox == "auto" and not runs_as_root(),
        max_parallel=chosen.max_parallel,
        environment=browser_environment(os.environ),
        rules=settings.outgoing.rules().and_services([settings.http.base_url]),
    )


def asked_elsewhere(settings: Settings) -> frozenset[str]:
    """Channels of notifications that have a question of their own instead of the message ``on_approval``."""
    return frozenset({"slack"}) if settings.slack.asks else frozenset()


def make_worker(parts: Parts, acting: World) -> Worker:
    """The act role."""
    settings = parts.settings
    holding = Holding(parts.gate, parts.clock, settings.execution.lease_seconds)
    progress = Progress(parts.bus, settings.kafka.topics, parts.clock)
    executor = Executor(
        actions=all_actions(),
        world=acting,
        journal=parts.journal,
        guard=holding,
        clock=parts.clock,
        hooks=MultiHooks(parts.hooks, progress),
        fresh=Neo4jFreshSignals(parts.graph, settings.matching.default_tenant),
        redact=masker.text,
        approvals=parts.approvals,
        keeps=parts.storms.keeps if parts.storms else None,
        settings=ExecutorSettings(
            approval_timeout_seconds=settings.approvals.timeout.total_seconds(),
            asked_elsewhere=asked_elsewhere(settings),
        ),
    )
    return Worker(
        progress=progress,
        storms=parts.storms,
        holder=parts.holder,
        executor=executor,
        holding=holding,
        permits=parts.permits,
        executions=parts.executions,
        journal=parts.journal,
        gate=parts.gate,
        publisher=parts.bus,
        topics=settings.kafka.topics,
        clock=parts.clock,
        hooks=parts.hooks,
        max_concurrent=settings.execution.max_concurrent,
        lease_seconds=settings.execution.lease_seconds,
    )
