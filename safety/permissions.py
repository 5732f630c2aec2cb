"""What can be permitted: every permission by name, and which one contains which.

The names before the blank line are those of the published example of roles; the others are what Rootmend has beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase


class Permission(StrEnum):
    """Something that an actor may do."""

    RUNBOOKS_LIST = "runbooks:list"
    RUNBOOKS_READ = "runbooks:read"
    RUNBOOKS_EXECUTE = "runbooks:execute"
    RUNBOOKS_DRY_RUN = "runbooks:dry-run"
    RUNBOOKS_CREATE = "runbooks:create"
    RUNBOOKS_UPDATE = "runbooks:update"
    RUNBOOKS_DELETE = "runbooks:delete"
    RUNBOOKS_PUBLISH = "runbooks:publish"
    RUNBOOKS_APPROVE_PUBLISH = "runbooks:approve-publish"
    EXECUTIONS_LIST = "executions:list"
    EXECUTIONS_READ = "executions:read"
    APPROVALS_RESPOND = "approvals:respond"
    SECRETS_MANAGE = "secrets:manage"
    RBAC_MANAGE = "rbac:manage"
    AUDIT_READ = "audit-logs:read"
    AUDIT_EXPORT = "audit-logs:export"

    ALERTS_SEND = "alerts:send"
    APPROVALS_DELEGATE = "approvals:delegate"
    APPROVALS_BYPASS = "approvals:bypass"
    AUTOMATION_PAUSE = "automation:pause"
    AUTOMATION_RESUME = "automation:resume"
    AUTONOMY_PROMOTE = "autonomy:promote"
    AUTONOMY_DEMOTE = "autonomy:demote"
    BREAKER_RESET = "breaker:reset"
    POLICIES_READ = "policies:read"
    POLICIES_MANAGE = "policies:manage"
    TOKENS_MANAGE = "tokens:manage"
    EXECUTIONS_MANAGE = "executions:manage"


MEANINGS: Mapping[Permission, str] = {
    Permission.RUNBOOKS_LIST: "See which runbooks there are",
    Permission.RUNBOOKS_READ: "Read a runbook, its versions and its score",
    Permission.RUNBOOKS_EXECUTE: "Ask for a runbook; the gate still decides whether it runs",
    Permission.RUNBOOKS_DRY_RUN: "See what a runbook would do",
    Permission.RUNBOOKS_CREATE: "Create runbooks",
    Permission.RUNBOOKS_UPDATE: "Change runbooks",
    Permission.RUNBOOKS_DELETE: "Remove runbooks",
    Permission.RUNBOOKS_PUBLISH: "Put a version of a runbook in force; publish catalogs",
    Permission.RUNBOOKS_APPROVE_PUBLISH: "Approve that a runbook is published; sign it",
    Permission.EXECUTIONS_LIST: "See which executions and questions there are",
    Permission.EXECUTIONS_READ: "Read an execution, its plan, its question and its decision",
    Permission.APPROVALS_RESPOND: "Answer a question about a plan",
    Permission.SECRETS_MANAGE: "Set up and rotate secrets and keys",
    Permission.RBAC_MANAGE: "Manage access: roles, assignments, tokens, and what they protect",
    Permission.AUDIT_READ: "Read the audit trail",
    Permission.AUDIT_EXPORT: "Export the audit trail",
    Permission.ALERTS_SEND: "Send alerts to the receiver",
    Permission.APPROVALS_DELEGATE: "Hand one's answer over to somebody else",
    Permission.APPROVALS_BYPASS: "Run a plan in an emergency without the approvals that it asks for",
    Permission.AUTOMATION_PAUSE: "Stop automation",
    Permission.AUTOMATION_RESUME: "Let automation run again",
    Permission.AUTONOMY_PROMOTE: "Let a runbook act with fewer questions",
    Permission.AUTONOMY_DEMOTE: "Let a runbook act with more questions",
    Permission.BREAKER_RESET: "Close the storm breaker before it closes by itself",
    Permission.POLICIES_READ: "See the policies and which one decided",
    Permission.POLICIES_MANAGE: "Change policies, windows and limits",
    Permission.TOKENS_MANAGE: "Create, list and revoke API tokens",
    Permission.EXECUTIONS_MANAGE: "Adopt, abort and repair executions that nobody looks after",
}

IMPLIED: Mapping[Permission, frozenset[Permission]] = {
    # Who may start something may stop it: stopping is always the safe direction.
    Permission.RUNBOOKS_EXECUTE: frozenset(
        {Permission.AUTOMATION_PAUSE, Permission.AUTONOMY_DEMOTE, Permission.POLICIES_READ}
    ),
    # Who may change the roles could take these anyway. A bypass and secrets have to be given by name.
    Permission.RBAC_MANAGE: frozenset(
        {
            Permission.AUTOMATION_PAUSE,
            Permission.AUTOMATION_RESUME,
            Permission.AUTONOMY_PROMOTE,
            Permission.AUTONOMY_DEMOTE,
            Permission.BREAKER_RESET,
            Permission.POLICIES_READ,
            Permission.POLICIES_MANAGE,
            Permission.TOKENS_MANAGE,
            Permission.EXECUTIONS_MANAGE,
        }
    ),
    Permission.AUTOMATION_RESUME: frozenset({Permission.AUTOMATION_PAUSE}),
    Permission.AUTONOMY_PROMOTE: frozenset({Permission.AUTONOMY_DEMOTE}),
    Permission.POLICIES_MANAGE: frozenset({Permission.POLICIES_READ}),
}

EVERY = frozenset(Permission)


def named(pattern: str) -> frozenset[Permission]:
    """The permissions of a name or a glob such as ``policies:*``; empty when there is none."""
    return frozenset(each for each in Permission if fnmatchcase(each.value, pattern))


def with_implied(permissions: Iterable[Permission]) -> frozenset[Permission]:
    """These permissions and all that they contain."""
    found: set[Permission] = set()
    left = list(permissions)
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += IMPLIED.get(one, ())
    return frozenset(found)
