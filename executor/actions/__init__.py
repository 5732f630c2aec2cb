"""All actions that runbooks can use."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from executor.actions.base import Action, ActionTable
from executor.actions.check import CheckNeo4j
from executor.actions.drain import KubectlDrain
from executor.actions.execing import KubectlExec
from executor.actions.flow import Calculate, Wait
from executor.actions.jobs import KubectlCreateJob
from executor.actions.kubectl_apply import KubectlApply
from executor.actions.kubectl_delete import KubectlDelete
from executor.actions.kubectl_read import KubectlGet, KubectlRolloutStatus
from executor.actions.kubectl_write import KubectlPatch
from executor.actions.labels import KubectlAnnotate, KubectlLabel
from executor.actions.listing import KubectlCheckReady, KubectlList
from executor.actions.logs import KubectlLogs
from executor.actions.nodes import KubectlCordon, KubectlUncordon
from executor.actions.pausing import KubectlRolloutPause, KubectlRolloutResume
from executor.actions.people import SlackNotify
from executor.actions.resources import KubectlSetResources
from executor.actions.rollout import KubectlRolloutRestart, KubectlRolloutUndo
from executor.actions.scale import KubectlScale
from executor.actions.setting import KubectlSetEnv, KubectlSetImage
from executor.actions.web import Webhook

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
        Wait(),
        CheckNeo4j(),
        Webhook(),
        SlackNotify(),
    )
    return MappingProxyType({name: action for action in actions for name in (action.name, *action.aliases)})


def action_schemas(table: ActionTable) -> Mapping[str, Mapping[str, Any]]:
    """JSON schemas of the parameters, by name and by alias; ``x-name`` is the action's own name."""
    return {name: {**action.params_model.model_json_schema(), "x-name": action.name} for name, action in table.items()}


def action_table_markdown(table: ActionTable) -> str:
    """The documentation of the actions, made from their declarations."""
    own = {name: action for name, action in table.items() if name == action.name}
    return "\n".join([_overview(own), *(_chapter(action) for action in own.values())])


def _overview(actions: Mapping[str, Action[Any]]) -> str:
    rows = [
        f"| [`{name}`](#{name}) | {action.access} | {'yes' if action.idempotent else 'no'} | {_summary(action)} |"
        for name, action in actions.items()
    ]
    head = ["| action | access | may be repeated | what it does |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def _chapter(action: Action[Any]) -> str:
    lines = [f"## {action.name}", ""]
    if action.aliases:
        lines += [f"Also: {', '.join(f'`{alias}`' for alias in action.aliases)}.", ""]
    lines += [" ".join((type(action).__doc__ or "").split()), "", "| parameter | needed | meaning |", "|---|---|---|"]
    for name, field in action.params_model.model_fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        needed = "yes" if field.is_required() else "no" if field.default is None else f"no ({_shown(field)})"
        lines.append(f"| `{name}` | {needed} | {meaning} |")
    return "\n".join([*lines, "", "```yaml", action.example.rstrip(), "```", ""])


def _shown(field: Any) -> str:
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default or 'none'}`"


def _summary(action: Action[Any]) -> str:
    return (type(action).__doc__ or "").strip().splitlines()[0]
