"""All actions that runbooks can use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from executor.actions.base import Action, ActionTable
from executor.actions.check import CheckNeo4j
from executor.actions.data import MetricsPublish, SchemaCheck, SetValues
from executor.actions.declared import action_table_markdown
from executor.actions.drain import KubectlDrain
from executor.actions.engine import ManualApproval, RunRunbook
from executor.actions.execing import KubectlExec
from executor.actions.flow import Calculate, Wait
from executor.actions.graphql import ApiCall, Graphql
from executor.actions.jobs import KubectlCreateJob
from executor.actions.kubectl_apply import KubectlApply
from executor.actions.kubectl_delete import KubectlDelete
from executor.actions.kubectl_read import KubectlGet, KubectlRolloutStatus
from executor.actions.kubectl_write import KubectlPatch
from executor.actions.labels import KubectlAnnotate, KubectlLabel
from executor.actions.listing import KubectlCheckReady, KubectlList
from executor.actions.logs import KubectlLogs
from executor.actions.metrics import MetricsQuery
from executor.actions.nodes import KubectlCordon, KubectlUncordon
from executor.actions.pausing import KubectlRolloutPause, KubectlRolloutResume
from executor.actions.people import Notify, SlackNotify, TeamsNotify
from executor.actions.people_mail import Email
from executor.actions.people_page import PagerDutyEvent
from executor.actions.people_ticket import TicketAction
from executor.actions.resources import KubectlSetResources
from executor.actions.rollout import KubectlRolloutRestart, KubectlRolloutUndo
from executor.actions.scale import KubectlScale
from executor.actions.screenshot import Screenshot
from executor.actions.setting import KubectlSetEnv, KubectlSetImage
from executor.actions.shell import RunCommand, RunScript
from executor.actions.sql import SqlQuery
from executor.actions.web import DataFetch, HttpDelete, HttpGet, HttpPatch, HttpPost, HttpPut, HttpRequest, Webhook

__all__ = ["action_schemas", "action_table_markdown", "default_actions"]


def default_actions() -> ActionTable:
    """Every action, by its name and by its aliases."""
    actions: tuple[Action[Any], ...] = (
        KubectlGet(),
        KubectlList(),
        KubectlPatch(),
        KubectlApply(),
        KubectlDelete(),
        KubectlScale(),
        KubectlRolloutRestart(),
        KubectlRolloutUndo(),
        KubectlRolloutStatus(),
        KubectlCheckReady(),
        KubectlRolloutPause(),
        KubectlRolloutResume(),
        KubectlSetImage(),
        KubectlSetResources(),
        KubectlSetEnv(),
        KubectlLabel(),
        KubectlAnnotate(),
        KubectlCordon(),
        KubectlUncordon(),
        KubectlDrain(),
        KubectlCreateJob(),
        KubectlExec(),
        KubectlLogs(),
        Calculate(),
        SetValues(),
        Wait(),
        ManualApproval(),
        RunRunbook(),
        CheckNeo4j(),
        MetricsQuery(),
        SqlQuery(),
        DataFetch(),
        SchemaCheck(),
        HttpRequest(),
        HttpGet(),
        HttpPost(),
        HttpPut(),
        HttpPatch(),
        HttpDelete(),
        Graphql(),
        ApiCall(),
        Webhook(),
        MetricsPublish(),
        RunCommand(),
        RunScript(),
        SlackNotify(),
        TeamsNotify(),
        PagerDutyEvent(),
        Email(),
        TicketAction(),
        Notify(),
        Screenshot(),
    )
    return MappingProxyType({name: action for action in actions for name in (action.name, *action.aliases)})


def action_schemas(table: ActionTable) -> Mapping[str, Mapping[str, Any]]:
    """JSON schemas of the parameters, by name and by alias.

    ``x-name`` is the action's own name, ``x-access`` what it does to the world, ``x-idempotent`` whether it may simply
    be repeated.
    """
    return {
        name: {
            **action.params_model.model_json_schema(),
            "x-name": action.name,
            "x-access": action.access.value,
            "x-idempotent": action.idempotent,
        }
        for name, action in table.items()
    }
