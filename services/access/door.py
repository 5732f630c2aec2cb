"""The one place that every entry point asks. Hooks are told of each try that is denied: logs, metrics, audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from executor.ports import Hooks
from safety.access import Access, Actor, Answer, Denied, Scope
from safety.permissions import Permission
from services.access.entry_points import ENTRY_POINTS, EntryPoint, Reach

DENIED = "access.denied"
"""Name of the event that hooks are told: ``entry``, ``actor``, ``person``, ``permission``, ``scope``, ``reason``."""


class AccessDenied(Exception):
    """The actor may not do this. The message names the missing permission and the roles that have it."""

    def __init__(self, denied: Denied, actor: Actor, entry: str) -> None:
        super().__init__(denied.reason)
        self.denied = denied
        self.actor = actor
        self.entry = entry


class Door:
    """Asks ``Access`` for each entry point.

    Args:
        access: roles and assignments.
        home: tenant and cluster of this installation.
        hooks: told each try that is denied.
    """

    def __init__(self, access: Access, home: Scope | None = None, hooks: Hooks | None = None) -> None:
        self.access = access
        self.home = home or Scope()
        self._hooks = hooks

    def enter(self, actor: Actor, name: str, arguments: Mapping[str, Any] | None = None) -> None:
        """Ask before anything is known but the entry point and its arguments.

        Args:
            actor: whose identity was proven.
            name: of the entry point, such as ``rb pause``. One that is not in the table needs ``rbac:manage``.
            arguments: of a command, by name.

        Raises:
            AccessDenied: the actor may not go further.
        """
        entry = ENTRY_POINTS.get(name) or EntryPoint((Permission.RBAC_MANAGE,))
        denied: Denied | None = None
        for permission in entry.needed(arguments or {}):
            answer = self._answer(actor, permission, entry, arguments or {})
            if not isinstance(answer, Denied):
                return
            denied = denied or answer
        if denied is not None:
            self._refuse(actor, denied, name)

    def _answer(self, actor: Actor, permission: Permission, entry: EntryPoint, arguments: Mapping[str, Any]) -> Answer:
        if entry.reach is Reach.PART:
            return self.access.may_somewhere(actor, permission)
        if entry.reach is Reach.WHOLE:
            return self.access.may(actor, permission, self.home)
        named = entry.scope(arguments)
        return self.access.may(actor, permission, self.at(named) if entry.reach is Reach.NAMED else named)

    def require(self, actor: Actor, permission: Permission, scope: Scope | None = None, *, entry: str = "") -> None:
        """Ask with everything that is known of what is acted on.

        Args:
            actor: whose identity was proven.
            permission: what is wanted.
            scope: on what. Tenant and cluster are those of this installation where they are left out.
            entry: where, for the record.

        Raises:
            AccessDenied: the actor may not.
        """
        answer = self.access.may(actor, permission, self.at(scope))
        if isinstance(answer, Denied):
            self._refuse(actor, answer, entry)

    def may(self, actor: Actor, permission: Permission, scope: Scope | None = None) -> bool:
        """The same question without a refusal, to leave lines out of a list."""
        return bool(self.access.may(actor, permission, self.at(scope)))

    def at(self, scope: Scope | None) -> Scope:
        """A scope with tenant and cluster filled in."""
        given = scope or Scope()
        return Scope(
            given.tenant or self.home.tenant,
            given.cluster or self.home.cluster,
            given.namespace or None,  # objects of the cluster are in none: only who has no limit there reaches them
            given.runbook or None,
        )

    def _refuse(self, actor: Actor, denied: Denied, entry: str) -> NoReturn:
        facts = {
            "entry": entry,
            "actor": actor.key,
            "person": actor.person,
            "permission": denied.permission.value,
            "scope": str(denied.scope),
            "reason": denied.reason,
        }
        if self._hooks is not None:
            self._hooks.event(DENIED, **facts)
        raise AccessDenied(denied, actor, entry)
