"""Who counts as what, without any server."""

from __future__ import annotations

from safety.access import Access, single_operator
from safety.quorum import ANYBODY, Voter
from services.access.identities import Directory
from services.approvals.delegations import MemoryDelegations
from services.approvals.voters import Voters

NOBODY_KNOWS = Voter((ANYBODY,))
"""Somebody whose roles and groups nobody keeps: as in single-operator mode."""


def voters(access: Access | None = None) -> Voters:
    """Roles as given, no groups, no schedules, nothing handed over."""
    return Voters(access or single_operator(), Directory(), None, MemoryDelegations())
