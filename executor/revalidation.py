"""Just before each write: is the target still there and the same, and, before the first, does it still need help?

Before the first change the target must look as unwell as it did when it was decided: who got well again is left alone.
A runbook with success criteria of its own, such as an error rate, says that health is not what the problem is seen by.
Afterwards its health is what the fix does, and verification judges that. A step whose effect is there already has an
intent in the journal, so that it counts as a change and is never taken for a recovery.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from executor import health
from executor.context import target_ref
from executor.errors import Temporary
from executor.lifecycle import changed_something, writes_of
from executor.looking import Looker
from executor.model import Change, ExecutionRecord, ObjectRef, PlannedStep
from executor.ports import Clock, Cluster, FreshSignals, KubeObject
from executor.rendering import writes
from executor.settings import ExecutorSettings
from matcher.kinds import RUNBOOK

UNWELL = "unwell"
"""Where the facts of an incident say why its target looked unwell when it was decided; missing when it did not."""

_REPLACES = frozenset({"delete", "create", "apply"})


def unwell(item: KubeObject, now: datetime) -> str:
    """Why an object says that it does not work; empty when it works, or when it does not say."""
    kind = item.get("kind")
    if kind == "Node":
        return "" if health.ready(item) else "the node is not ready"
    reading = health.pods(health.live([item]), now, now) if kind == "Pod" else health.workload(item, now)
    return reading.detail if reading.healthy is False else ""


class Revalidation:
    """Looks at the target of one execution before its writes.

    Args:
        cluster: the API server.
        fresh: signals that came lately: a problem that is told of again has not gone.
        clock: time.
        settings: how often to ask, and for how long a target must have been well to count as recovered.
    """

    def __init__(self, cluster: Cluster, fresh: FreshSignals, clock: Clock, settings: ExecutorSettings) -> None:
        self._cluster = cluster
        self._fresh = fresh
        self._clock = clock
        self._settings = settings

    async def refuses(self, record: ExecutionRecord, step: PlannedStep) -> str:
        """Why a step must not write any more; empty when it may, or when it does not write.

        Args:
            record: as the journal has it.
            step: the one that is about to start.
        """
        target = target_ref(record.plan.context["target"])
        asked = self._settings.revalidate and any(map(writes, step.leaves))
        if not asked or target.kind == RUNBOOK or _replaced(record, target):
            return ""
        begun = changed_something(record)
        if begun and _is_its_own(step, target):
            return ""  # the step compares the object itself, uid included
        try:
            item = await self._asked(target)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being read, it is unknown and that is a no
            return f"just before the change {target} cannot be read: {error}"
        if item is None:
            return f"just before the change {target} is gone"
        if target.uid and item["metadata"].get("uid") != target.uid:
            return f"just before the change {target} is another one: it was deleted and created anew"
        return "" if begun else await self._recovered(record, target, item)

    async def _asked(self, target: ObjectRef) -> KubeObject | None:
        for attempt in range(1, self._settings.attempts):
            try:
                return await self._cluster.get(target.kind, target.name, target.namespace)
            except Temporary:
                await self._clock.sleep(self._settings.backoff_seconds * 2 ** (attempt - 1))
        return await self._cluster.get(target.kind, target.name, target.namespace)

    async def _recovered(self, record: ExecutionRecord, target: ObjectRef, item: KubeObject) -> str:
        """Why nobody has to help any more. Well for a moment is not enough: a crash loop has its good moments."""
        then, now = str(record.incident.get(UNWELL) or ""), self._clock.now()
        if not then or record.plan.terms.criteria or unwell(item, now):
            return ""
        since = now - timedelta(seconds=self._settings.recovered_seconds)
        reading = await Looker(self._cluster, self._fresh, record, target, since).look(now)
        if reading.healthy is not True or reading.failures:
            return ""
        return f"just before the first change {target} works again ({reading.detail}); it was decided when {then}"


def _replaced(record: ExecutionRecord, target: ObjectRef) -> bool:
    """Whether a change of ours may have made another object of the target."""
    made = (change for step, run in writes_of(record) if run.before is not None for change in _changes(step))
    return any(change.verb in _REPLACES and _same(change.ref, target) for change in made)


def _changes(step: PlannedStep) -> Iterator[Change]:
    for leaf in step.leaves:
        yield from leaf.changes


def _is_its_own(step: PlannedStep, target: ObjectRef) -> bool:
    changes = list(_changes(step))
    return bool(changes) and all(_same(change.ref, target) for change in changes)


def _same(ref: ObjectRef | None, target: ObjectRef) -> bool:
    return ref is not None and (ref.kind, ref.namespace, ref.name) == (target.kind, target.namespace, target.name)
