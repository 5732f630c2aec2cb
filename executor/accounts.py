"""Whose rights the steps of a plan have, where they are not the pipeline's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from executor.errors import NotConfigured
from executor.model import Account
from executor.ports import Cluster
from runbooks.model import Runbook

if TYPE_CHECKING:
    from executor.actions.base import World


class Impersonates(Protocol):
    """Gives the API server as an account sees it."""

    def __call__(self, account: Account) -> Cluster:
        """The same API server; every request is made with the rights of the account."""
        ...


def acting_as(world: World, account: Account | None) -> World:
    """The world for the steps of a plan.

    Raises:
        NotConfigured: another account is wanted, and nothing here can act as one; its steps never fall back to the
            pipeline's own rights.
    """
    if account is None:
        return world
    if world.impersonates is None:
        raise NotConfigured(f"the steps act as {account.user}, and this process cannot act as anybody else")
    return replace(world, cluster=world.impersonates(account))


def own_account(runbook: Runbook) -> Account | None:  # noqa: ARG001 - shape of the planner's question
    """The pipeline's own."""
    return None
