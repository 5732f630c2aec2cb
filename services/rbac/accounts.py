"""Which account the steps of a runbook act as."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from executor.errors import PlanError
from executor.model import Account
from runbooks.model import Runbook
from services.settings import Settings
from services.settings_rights import Impersonation

SERVICE_ACCOUNT = "system:serviceaccount:"


def account_rules(settings: Settings) -> tuple[Impersonation, ...]:
    """The rules of the settings, in their order."""
    return settings.kubernetes.impersonate


ANY = "*/*"
"""Allows every account that a runbook names; for what only prints rights."""


def account_of(runbook: Runbook, rules: Sequence[Impersonation], allowed: Sequence[str] = ()) -> Account | None:
    """The account of the first rule that means the runbook, else the one that it names; None for the pipeline's own.

    Args:
        runbook: whose steps act.
        rules: of the settings; they go before what a runbook says.
        allowed: patterns NAMESPACE/NAME of the accounts that runbooks may name.

    Raises:
        PlanError: it names an account that is not allowed, or another one than the settings give it. Its steps never
            fall back to another account than it was written for.
    """
    named = runbook.service_account
    says = f"the runbook names the service account {named}"
    own = Account(user=f"{SERVICE_ACCOUNT}{named.replace('/', ':')}") if named else None
    for rule in rules:
        by_id = any(fnmatchcase(runbook.id, pattern) for pattern in rule.runbooks)
        if by_id or any(fnmatchcase(tag, pattern) for pattern in rule.tags for tag in runbook.tags):
            given = Account(user=rule.account, groups=rule.groups)
            if own is not None and own != given:
                raise PlanError(f"{says}, and kubernetes.impersonate gives it {given.user}")
            return given
    if named and not any(_matches(named, pattern) for pattern in allowed):
        raise PlanError(f"{says}, which kubernetes.runbook_accounts does not allow")
    return own


def _matches(named: str, pattern: str) -> bool:
    """Namespace and name each by itself: a star in one never reaches the other."""
    namespace, name = named.split("/")
    wanted, _, of = pattern.partition("/")
    return fnmatchcase(namespace, wanted) and fnmatchcase(name, of)
