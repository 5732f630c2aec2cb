"""One look at each object while it is decided: finding the target, planning and counting ask for the same ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from executor.model import ObjectRef
from executor.ports import Cluster, ExecResult, KubeObject, PatchKind
from matcher.ports import LiveObjects

_SWEEP = 1_000
"""So many kept answers are worth a look for those that are too old."""


class RecentReads:
    """An API server whose ``get`` may be a moment old; everything else goes through. Implements ``Cluster``.

    For deciding only. What is decided on such a read is compared with the live object again just before it is
    changed, so that an object that changed in that moment is a drift, never a wrong change.

    Args:
        cluster: the API server.
        seconds: how old an answer may be.
        clock: seconds that never go back.
    """

    def __init__(self, cluster: Cluster, *, seconds: float = 0.25, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self._clock = clock
        self._known: dict[tuple[str, str, str], tuple[float, asyncio.Future[KubeObject | None]]] = {}

    async def get(self, kind: str, name: str, namespace: str = "") -> KubeObject | None:
        """One object, or None; those who ask at the same time share one answer.

        That an object does not exist is not remembered: it may be about to.
        """
        key, now = (kind, namespace, name), self._clock()
        if (known := self._known.get(key)) and now - known[0] < self._seconds:
            return await asyncio.shield(known[1])
        if len(self._known) >= _SWEEP:
            self._known = {k: v for k, v in self._known.items() if now - v[0] < self._seconds}
        asked = asyncio.ensure_future(self._cluster.get(kind, name, namespace))
        self._known[key] = now, asked
        found = None
        try:
            found = await asyncio.shield(asked)
        finally:
            # Neither is an error an answer for others who ask later.
            if found is None and self._known.get(key) == (now, asked):
                del self._known[key]
        return found

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[KubeObject]:
        """All objects of a kind, as they are now."""
        return await self._cluster.list(kind, namespace, labels=labels, fields=fields)

    async def patch(
        self,
        ref: ObjectRef,
        body: Any,
        *,
        how: PatchKind,
        subresource: str = "",
        dry_run: bool = False,
        force: bool = False,
        manager: str = "",
    ) -> KubeObject:
        """Patch."""
        return await self._cluster.patch(
            ref, body, how=how, subresource=subresource, dry_run=dry_run, force=force, manager=manager
        )

    async def replace(self, ref: ObjectRef, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Replace."""
        return await self._cluster.replace(ref, body, dry_run=dry_run)

    async def create(self, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Create."""
        return await self._cluster.create(body, dry_run=dry_run)

    async def delete(self, ref: ObjectRef, *, grace_seconds: int | None = None, dry_run: bool = False) -> None:
        """Delete."""
        await self._cluster.delete(ref, grace_seconds=grace_seconds, dry_run=dry_run)

    async def evict(self, ref: ObjectRef, *, grace_seconds: int | None = None, dry_run: bool = False) -> None:
        """Evict."""
        await self._cluster.evict(ref, grace_seconds=grace_seconds, dry_run=dry_run)

    async def allowed(self, verb: str, ref: ObjectRef, subresource: str = "") -> bool:
        """Whether we have the right."""
        return await self._cluster.allowed(verb, ref, subresource)

    async def exec(
        self, ref: ObjectRef, command: Sequence[str], *, container: str, timeout_seconds: float, limit: int
    ) -> ExecResult:
        """Run a program in a container."""
        return await self._cluster.exec(ref, command, container=container, timeout_seconds=timeout_seconds, limit=limit)

    async def logs(
        self,
        ref: ObjectRef,
        *,
        container: str,
        limit: int,
        tail: int | None = None,
        since_seconds: int | None = None,
        previous: bool = False,
    ) -> str:
        """What a container wrote."""
        return await self._cluster.logs(
            ref, container=container, limit=limit, tail=tail, since_seconds=since_seconds, previous=previous
        )


class RecentLists:
    """Lists that may be a moment old, for deciding: disruption budgets, autoscalers, the pods of a cluster.

    Args:
        cluster: the API server.
        seconds: how old an answer may be.
        clock: seconds that never go back.
    """

    def __init__(
        self, cluster: LiveObjects, *, seconds: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self._clock = clock
        self._known: dict[tuple[str, str, str], tuple[float, asyncio.Future[Sequence[KubeObject]]]] = {}

    async def list(self, kind: str, namespace: str = "", *, fields: str = "") -> Sequence[KubeObject]:
        """All objects of a kind; those who ask at the same time share one answer. An error is kept for nobody."""
        key, now = (kind, namespace, fields), self._clock()
        if (known := self._known.get(key)) and now - known[0] < self._seconds:
            return await asyncio.shield(known[1])
        if len(self._known) >= _SWEEP:
            self._known = {k: v for k, v in self._known.items() if now - v[0] < self._seconds}
        asked = asyncio.ensure_future(self._cluster.list(kind, namespace, fields=fields))
        self._known[key] = now, asked
        try:
            return await asyncio.shield(asked)
        except BaseException:
            if self._known.get(key) == (now, asked):
                del self._known[key]
            raise


class RecentCount:
    """A number that is dear to count and hardly moves, such as the pods of a whole cluster.

    Args:
        seconds: how old an answer may be.
        clock: seconds that never go back.
    """

    def __init__(self, *, seconds: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._known: tuple[float, asyncio.Future[int]] | None = None

    async def of(self, count: Callable[[], Awaitable[int]]) -> int:
        """The number; those who ask at the same time share one answer. An error is kept for nobody."""
        now = self._clock()
        if self._known is None or now - self._known[0] >= self._seconds:
            self._known = now, asyncio.ensure_future(count())
        asked = self._known[1]
        try:
            return await asyncio.shield(asked)
        except BaseException:
            if self._known is not None and self._known[1] is asked:
                self._known = None
            raise
