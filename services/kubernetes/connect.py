"""The way to a cluster. Nothing ever acts on a cluster by accident: it is named, or it proves what it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from executor.errors import Forbidden, NotConfigured

if TYPE_CHECKING:
    from services.kubernetes.cluster import KubernetesCluster, Renew

IN_CLUSTER = "in-cluster"
"""The name of the context that means: the cluster that this process runs in."""

MARK_NAMESPACE, MARK = "kube-system", "rootmend-practice"


async def connect(
    kubeconfig: Path | str | None,
    context: str,
    practice_id: str = "",
    *,
    allow_context: bool | None = None,
    timeout_seconds: float = 10.0,
) -> KubernetesCluster:
    """Connect to the cluster that was named, or to the practice cluster.

    Args:
        kubeconfig: a file; None takes ``KUBECONFIG``, then ``~/.kube/config``.
        context: its context, or ``in-cluster``. When it is empty, the current context of the file is looked at, and
            used only if its cluster proves to be the practice cluster.
        practice_id: identity of the practice cluster; empty when there is none.
        allow_context: whether a person chose the context, so that its cluster needs no proof. None: yes, when it is
            named and no practice cluster is configured beside it.
        timeout_seconds: longest wait for one answer.

    Raises:
        NotConfigured: no cluster was named and this is not the practice cluster, or the file does not lead to one.
        Unavailable: the practice cluster could not be asked.
    """
    named = bool(context) and (allow_context if allow_context is not None else not practice_id)
    if not named and not practice_id:
        raise NotConfigured(f"no cluster is named: {_HOW}")
    cluster = await _open(kubeconfig, context, timeout_seconds)
    try:
        if not named:
            await _prove(cluster, context, practice_id)
    except BaseException:
        await cluster.close()
        raise
    return cluster


_HOW = "name the context with --context (and --kubeconfig), or in kubernetes.context of the settings"


async def _open(kubeconfig: Path | str | None, context: str, timeout_seconds: float) -> KubernetesCluster:
    # The client takes most of a second to import; commands that need no cluster must not pay for it.
    from kubernetes.aio import config  # noqa: PLC0415
    from kubernetes.aio.client.api_client import ApiClient  # noqa: PLC0415
    from kubernetes.aio.client.configuration import Configuration  # noqa: PLC0415
    from kubernetes.aio.config import ConfigException  # noqa: PLC0415

    from services.kubernetes.cluster import KubernetesCluster  # noqa: PLC0415

    configuration = Configuration()
    renew: Renew | None = None
    loading: Any = config  # its functions carry no types
    try:
        if context == IN_CLUSTER:
            loading.load_incluster_config(configuration)
        else:
            loader = await loading.load_kube_config(
                str(kubeconfig) if kubeconfig else None, context or None, configuration, persist_config=False
            )
            renew = _renewer(loader, configuration)
    except (ConfigException, OSError, TypeError, AttributeError) as error:
        # The loader answers a file that is missing or empty with errors of its own insides.
        where = f"{kubeconfig or 'the default kubeconfig'}, context {context or '(current)'}"
        raise NotConfigured(f"{where} leads to no cluster: {error}") from error
    return KubernetesCluster(ApiClient(configuration), timeout_seconds=timeout_seconds, renew=renew)


def _renewer(loader: Any, configuration: Any) -> Renew:
    async def renew() -> None:
        await loader.load_and_set(configuration)

    return renew


async def _prove(cluster: KubernetesCluster, context: str, practice_id: str) -> None:
    refused = f"the cluster of context {context or '(current)'} is not the practice cluster"
    try:
        mark = await cluster.get("ConfigMap", MARK, MARK_NAMESPACE)
    except Forbidden as error:
        raise NotConfigured(f"{refused} ({error}); to act on it anyway, {_HOW}") from error
    if mark is None or (mark.get("data") or {}).get("id") != practice_id:
        raise NotConfigured(f"{refused}; to act on it anyway, {_HOW}")
