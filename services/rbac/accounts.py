"""Which account the steps of a runbook act as."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from executor.model import Account
from runbooks.model import Runbook
from services.settings import Settings
from services.settings_rights import Impersonation


def account_rules(settings: Settings) -> tuple[Impersonation, ...]:
    """The rules of the settings, in their order."""
    return settings.kubernetes.impersonate


def account_of(runbook: Runbook, rules: Sequence[Impersonation]) -> Account | None:
    """The account of the first rule that means the runbook; None for the pipeline's own."""
    for rule in rules:
        by_id = any(fnmatchcase(runbook.id, pattern) for pattern in rule.runbooks)
        if by_id or any(fnmatchcase(tag, pattern) for pattern in rule.tags for tag in runbook.tags):
            return Account(user=rule.account, groups=rule.groups)
    return None
