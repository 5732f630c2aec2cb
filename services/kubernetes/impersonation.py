"""The API server with the rights of another account: every request says whom it is made for."""

from __future__ import annotations

from executor.model import Account
from executor.ports import Cluster
from services.kubernetes.cluster import KubernetesCluster
from services.kubernetes.kinds import Resource


def headers_of(account: Account) -> tuple[tuple[str, str], ...]:
    """Headers that say whom a request is made for; one for each group."""
    return (("Impersonate-User", account.user), *(("Impersonate-Group", group) for group in account.groups))


class ActingCluster(KubernetesCluster):
    """One API server as an account sees it; connections and known kinds are those of ``base``.

    Args:
        base: with the pipeline's own account, which needs the right to impersonate.
        account: whose rights the requests have.
    """

    def __init__(self, base: KubernetesCluster, account: Account) -> None:
        self.__dict__.update(base.__dict__)
        self._base = base
        self._for = headers_of(account)
        self._streams = base._streams.made_for(self._for)  # noqa: SLF001 - of its own base

    async def close(self) -> None:
        """Nothing: the connections belong to ``base``."""

    async def resource(self, kind: str, api_version: str = "") -> Resource:
        """As ``base`` knows it: which kinds there are is no secret of an account."""
        return await self._base.resource(kind, api_version)


class Accounts:
    """Implements ``executor.accounts.Impersonates``: one cluster for each account, made when it is needed."""

    def __init__(self, base: KubernetesCluster) -> None:
        self._base = base
        self._known: dict[Account, ActingCluster] = {}

    def __call__(self, account: Account) -> Cluster:
        """See the port."""
        if account not in self._known:
            self._known[account] = ActingCluster(self._base, account)
        return self._known[account]
