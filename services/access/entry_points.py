"""The one table of entry points: how somebody gets in, and the permission that it takes.

A test walks every route and every command, and fails for one that is missing here. What is missing all the same needs
``rbac:manage``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from safety.access import Scope
from safety.permissions import Permission

_WITH_NAMESPACE = 3


class Reach(StrEnum):
    """How far the permission has to reach at the door."""

    WHOLE = "whole"
    """The installation: its tenant and cluster, every namespace and runbook."""
    PART = "part"
    """Some of it; the entry point asks again as soon as it knows what is acted on."""
    NAMED = "named"
    """What the command's own arguments name, of this installation."""
    NAMED_ANYWHERE = "named_anywhere"
    """What the command's own arguments name; what they leave out is all of it, other tenants and clusters included."""


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """One way in.

    Attributes:
        permissions: one of them is needed; empty for an open one.
        reach: how far.
        instead: another permission where a flag of the command is set.
        why_open: why nothing is asked, for an open one.
    """

    permissions: tuple[Permission, ...] = ()
    reach: Reach = Reach.WHOLE
    instead: Mapping[str, Permission] = field(default_factory=dict)
    why_open: str = ""

    def __post_init__(self) -> None:
        """Open is a decision, never an omission."""
        if bool(self.permissions) == bool(self.why_open):
            raise ValueError("an entry point has permissions, or a reason to be open")

    @property
    def is_open(self) -> bool:
        """Whether everybody may come in."""
        return not self.permissions

    def needed(self, arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
        """The permissions of which one is needed, with these arguments."""
        found = next((one for flag, one in self.instead.items() if arguments.get(flag)), None)
        return self.permissions if found is None else (found,)

    def scope(self, arguments: Mapping[str, Any]) -> Scope:
        """The scope that arguments name: ``tenant``, ``cluster``, ``namespace``, ``runbook``, ``target``."""
        target = str(arguments.get("target") or "").split("/")
        inside = target[1] if len(target) == _WITH_NAMESPACE else ""
        tenant, cluster, namespace, runbook = (
            str(arguments.get(name) or "") for name in ("tenant", "cluster", "namespace", "runbook")
        )
        return Scope(tenant or None, cluster or None, namespace or inside or None, runbook or None)


def _needs(*permissions: Permission) -> EntryPoint:
    return EntryPoint(permissions)


def _named(permission: Permission, reach: Reach = Reach.NAMED, **instead: Permission) -> EntryPoint:
    return EntryPoint((permission,), reach, instead)


def _part(*permissions: Permission) -> EntryPoint:
    return EntryPoint(permissions, Reach.PART)


_FILES = EntryPoint(why_open="works on files of the caller and touches no store")
_OWN = EntryPoint(why_open="reads the caller's own settings")
_STACK = EntryPoint(why_open="servers for development on the caller's own machine")
_PROBE = EntryPoint(why_open="probes and scrapers have no token; it tells states and counts, nothing that was handled")

ENTRY_POINTS: Mapping[str, EntryPoint] = {
    # HTTP
    "GET /healthz": _PROBE,
    "GET /readyz": _PROBE,
    "GET /metrics": _PROBE,
    "POST /api/v1/alertmanager": _needs(Permission.ALERTS_SEND),
    "GET /api/v1/runbooks": _needs(Permission.RUNBOOKS_LIST),
    "POST /api/v1/runbooks/{id}/execute": _part(Permission.RUNBOOKS_EXECUTE, Permission.RUNBOOKS_DRY_RUN),
    "GET /api/v1/requests/{id}": _part(Permission.EXECUTIONS_READ),
    "GET /api/v1/executions/{id}": _part(Permission.EXECUTIONS_READ),
    "GET /api/v1/approvals": _part(Permission.EXECUTIONS_LIST),
    "GET /api/v1/approvals/{id}": _part(Permission.EXECUTIONS_READ),
    "POST /api/v1/approvals/{id}/answer": _part(Permission.APPROVALS_RESPOND, Permission.APPROVALS_BYPASS),
    "GET /approvals/links/{token}": EntryPoint(
        why_open="the signature of the link is the proof of whom it was sent to; looking changes nothing"
    ),
    "POST /approvals/links/{token}": EntryPoint(
        why_open="the signature of the link is the proof of its person, and each answer asks approvals:respond of them"
    ),
    "POST /slack/interactions": EntryPoint(
        why_open="Slack has no token: its signature is checked, and each answer asks approvals:respond of its person"
    ),
    # Kafka
    "kafka run-requests": EntryPoint(
        why_open="who may produce is up to Kafka's own access control; the name in a message is recorded as claimed"
    ),
    # The local stack, and the process itself
    "rb up": _STACK,
    "rb down": _STACK,
    "rb status": _STACK,
    "rb logs": _STACK,
    "rb doctor": EntryPoint(why_open="looks at the own machine; --deep asks for executions:list itself"),
    "rb browser": _STACK,
    "rb demo": _STACK,
    "rb serve": EntryPoint(why_open="is the service: who starts it holds the credentials of every store already"),
    # Pipeline
    "rb run": _named(Permission.RUNBOOKS_EXECUTE, dry_run=Permission.RUNBOOKS_DRY_RUN),
    "rb pause": _named(Permission.AUTOMATION_PAUSE, Reach.NAMED_ANYWHERE, show=Permission.EXECUTIONS_LIST),
    "rb pause list": _needs(Permission.EXECUTIONS_LIST),
    "rb resume": _named(Permission.AUTOMATION_RESUME, Reach.NAMED_ANYWHERE),
    "rb breaker list": _needs(Permission.EXECUTIONS_LIST),
    "rb breaker reset": _named(Permission.BREAKER_RESET),
    # Runbooks
    "rb new": _FILES,
    "rb validate": _FILES,
    "rb lint": _FILES,
    "rb fmt": _FILES,
    "rb graph": _FILES,
    "rb diff": _FILES,
    "rb convert": _FILES,
    "rb loadtest": _FILES,
    "rb schema": _FILES,
    "rb actions": _FILES,
    "rb test": _FILES,
    "rb test-schema": _FILES,
    "rb review": _FILES,
    "rb score": _needs(Permission.EXECUTIONS_READ),
    "rb replay": _needs(Permission.EXECUTIONS_READ),
    "rb backtest": _needs(Permission.EXECUTIONS_READ),
    "rb versions": _needs(Permission.RUNBOOKS_READ),
    "rb versions show": _needs(Permission.RUNBOOKS_READ),
    "rb rollback-runbook": _named(Permission.RUNBOOKS_PUBLISH),
    # Sharing
    "rb catalog add": _FILES,
    "rb catalog list": _FILES,
    "rb catalog remove": _FILES,
    "rb catalog search": _FILES,
    "rb catalog install": _FILES,
    "rb catalog publish": _FILES,
    "rb catalog keygen": _FILES,
    "rb sign": _FILES,
    "rb rbac needed": _FILES,
    "rb verify": _FILES,
    "rb keys generate": _FILES,
    # Approvals
    "rb approvals list": _part(Permission.EXECUTIONS_LIST),
    "rb approvals show": _part(Permission.EXECUTIONS_READ),
    "rb approvals approve": EntryPoint(
        (Permission.APPROVALS_RESPOND,), Reach.PART, {"bypass": Permission.APPROVALS_BYPASS}
    ),
    "rb approvals deny": _part(Permission.APPROVALS_RESPOND),
    "rb approvals delegate": _part(Permission.APPROVALS_DELEGATE),
    "rb approvals delegations": _part(Permission.EXECUTIONS_LIST),
    "rb approvals undelegate": _part(Permission.APPROVALS_DELEGATE),
    # Inspect
    "rb explain": _part(Permission.EXECUTIONS_READ),
    "rb executions list": _part(Permission.EXECUTIONS_LIST),
    "rb executions show": _part(Permission.EXECUTIONS_READ),
    "rb executions orphans": _part(Permission.EXECUTIONS_LIST),
    "rb executions adopt": _part(Permission.EXECUTIONS_MANAGE),
    "rb executions abort": _part(Permission.EXECUTIONS_MANAGE),
    "rb executions repair": _needs(Permission.EXECUTIONS_MANAGE),
    "rb executions prune": _named(Permission.RBAC_MANAGE),
    "rb incidents export": _needs(Permission.EXECUTIONS_READ),
    # Policies and autonomy
    "rb policy validate": _FILES,
    "rb policy schema": _FILES,
    "rb policy explain": _needs(Permission.POLICIES_READ),
    "rb policy test": _needs(Permission.POLICIES_READ),
    "rb autonomy list": _named(Permission.EXECUTIONS_LIST),
    "rb autonomy show": _named(Permission.EXECUTIONS_READ),
    "rb autonomy history": _named(Permission.EXECUTIONS_READ),
    "rb autonomy promote": _named(Permission.AUTONOMY_PROMOTE),
    "rb autonomy demote": _named(Permission.AUTONOMY_DEMOTE),
    "rb blast-radius": _needs(Permission.EXECUTIONS_READ),
    "rb freeze list": _needs(Permission.POLICIES_READ),
    # Audit
    "rb audit verify": _named(Permission.AUDIT_READ),
    "rb audit query": _named(Permission.AUDIT_READ),
    "rb audit export": _named(Permission.AUDIT_EXPORT),
    "rb audit prune": _named(Permission.RBAC_MANAGE),
    "rb audit key": _named(Permission.AUDIT_READ),
    "rb timeline": _needs(Permission.EXECUTIONS_READ),
    # Access
    "rb access show": _OWN,
    "rb access check": _OWN,
    "rb login": EntryPoint(why_open="proves who somebody is; the provider says no"),
    "rb logout": EntryPoint(why_open="gives up a right of the caller's own"),
    "rb whoami": EntryPoint(why_open="tells the caller who they are"),
    "rb access whoami": EntryPoint(why_open="tells the caller who they are"),
    "rb tokens create": _named(Permission.TOKENS_MANAGE),
    "rb tokens list": _needs(Permission.TOKENS_MANAGE),
    "rb tokens revoke": _needs(Permission.TOKENS_MANAGE),
    # Configuration
    "rb secrets list": _OWN,
    "rb secrets check": EntryPoint(why_open="fetches with the caller's own credentials, and shows no value"),
    "rb secrets rotate-key": _needs(Permission.SECRETS_MANAGE),
    "rb config show": _OWN,
    "rb config check": _OWN,
    "rb migrate": _needs(Permission.RBAC_MANAGE),
    "rb backup": _needs(Permission.RBAC_MANAGE),
    "rb restore": _needs(Permission.RBAC_MANAGE),
    "rb contracts": _FILES,
    "rb version": _FILES,
}
