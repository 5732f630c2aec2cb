"""Runbooks at given times: each time becomes a request to run the runbook, behind the same gate as everything else.

Every process may do this at the same time. The id of a request is derived from what is scheduled and when, so that
two processes, or one that crashed after it had published, ask for one and the same run. What was fired is durable in
the graph, and a time is recorded only after Kafka has its request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import NAMESPACE_URL, uuid5

import orjson
import structlog

from executor.failpoints import Failpoint, reach
from executor.ports import Clock
from matcher.model import Asked
from matcher.patterns import any_matches
from runbooks.cron import following, times
from runbooks.model import LoadedRunbook, Trigger
from runbooks.triggers import Schedule
from services.intake.errors import Unreadable
from services.intake.run_request import RunRequest, RunTarget, run_request
from services.kafka.model import Outbound, Publisher

log = structlog.get_logger(__name__)

ON_TIME = timedelta(minutes=1)
"""A time that is seen so late is not missed yet."""

_REQUEST = uuid5(NAMESPACE_URL, "https://rootmend.dev/ids/schedule")


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be done about a schedule.

    Attributes:
        fires: the times to fire, oldest first.
        through: everything up to here is done afterwards.
        missed: the newest time that is left out because it is too old.
    """

    fires: tuple[datetime, ...] = ()
    through: datetime | None = None
    missed: datetime | None = None


def due(schedule: Schedule, last: datetime, now: datetime, on_time: timedelta = ON_TIME) -> Due:
    """Which times of a schedule are to be fired now.

    Times that are on time are fired, each. Of those that were missed the newest is made up for, if ``catch_up`` allows
    its age and no later time is fired anyway: ten missed nights are made up for by one run.

    Raises:
        ValueError: the schedule cannot be read.
    """
    catch_up = schedule.catch_up or timedelta(0)
    since = max(last, now - max(on_time, catch_up) - timedelta(seconds=1))
    found = list(times(schedule, since, now))
    fresh = [moment for moment in found if now - moment <= on_time]
    old = [moment for moment in found if now - moment > on_time]
    made_up = [moment for moment in old[-1:] if not fresh and now - moment <= catch_up]
    missed = old[-1] if old and not made_up else None
    if not found:
        gap = next(times(schedule, last, now), None) if since > last else None
        return Due(through=since if gap else None, missed=gap)
    return Due((*made_up, *fresh), found[-1], missed)


@dataclass(frozen=True, slots=True)
class Planned:
    """One schedule of one runbook, for one tenant and cluster."""

    tenant: str
    cluster: str
    runbook: str
    schedule: Schedule

    @property
    def key(self) -> str:
        """Its identity: what is changed about a schedule makes it another one."""
        told = self.schedule.model_dump(mode="json", exclude={"catch_up"})
        whole = orjson.dumps([self.tenant, self.cluster, self.runbook, told], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(whole).hexdigest()[:32]

    def request(self, at: datetime) -> RunRequest:
        """The request of one time; the same whoever makes it."""
        target = self.schedule.target
        number = uuid5(_REQUEST, f"{self.key} {at.isoformat()}")
        return run_request(
            self.runbook,
            by="schedule",
            source=Asked.SCHEDULE,
            at=at,
            target=RunTarget(kind=target.kind, namespace=target.namespace, name=target.name) if target else None,
            request_id=f"schedule-{number}",
            parameters=dict(self.schedule.parameters),
            reason=f"{self.schedule.cron} {self.schedule.timezone}",
            tenant=self.tenant,
            cluster=self.cluster,
        )


class ScheduleState(Protocol):
    """Up to when each schedule was fired; durable. Raises ``GraphUnavailable`` when the store does not answer."""

    async def arm(self, schedules: Sequence[Planned], now: datetime) -> Mapping[str, datetime]:
        """The last time of each schedule by its key; one that was never seen begins ``now``."""
        ...

    async def fired(self, key: str, at: datetime) -> None:
        """A time is done, and with it everything before. An earlier time than the recorded one changes nothing."""
        ...


class Scheduler:
    """Fires what is due. Cheap while nothing is: the store is asked when a time has come.

    Args:
        runbooks: those in force, by id.
        state: what was fired.
        publisher: returns when Kafka has the request.
        topic: of requests.
        tenant: whose requests these are.
        cluster: where; runbooks for other clusters or tenants are left to others.
    """

    def __init__(
        self,
        *,
        runbooks: Callable[[], Mapping[str, LoadedRunbook]],
        state: ScheduleState,
        publisher: Publisher,
        topic: str,
        clock: Clock,
        tenant: str,
        cluster: str,
        on_time: timedelta = ON_TIME,
    ) -> None:
        self._runbooks = runbooks
        self._state = state
        self._publisher = publisher
        self._topic = topic
        self._clock = clock
        self._tenant = tenant
        self._cluster = cluster
        self._on_time = on_time
        self._next: dict[str, datetime | None] = {}

    async def sweep(self) -> None:
        """Fire what is due now."""
        now = self._clock.now()
        planned = {one.key: one for one in self._planned()}
        self._next = {key: at for key, at in self._next.items() if key in planned}
        ready = [key for key in planned if key not in self._next or _has_come(self._next[key], now)]
        if not ready:
            return
        for key, last in (await self._state.arm([planned[key] for key in ready], now)).items():
            try:
                await self._fire(planned[key], last, now)
                self._next[key] = following(planned[key].schedule, max(last, now))
            except (ValueError, Unreadable) as error:
                self._next[key] = None  # until the runbook changes
                log.warning("schedule.unusable", runbook=planned[key].runbook, error=str(error))

    def _planned(self) -> list[Planned]:
        return [
            Planned(self._tenant, self._cluster, runbook_id, schedule)
            for runbook_id, loaded in self._runbooks().items()
            if self._ours(loaded.runbook.trigger)
            for schedule in loaded.runbook.trigger.schedule
        ]

    def _ours(self, trigger: Trigger) -> bool:
        places = ((trigger.cluster, self._cluster), (trigger.tenant, self._tenant))
        return all(not patterns or any_matches(patterns, place) for patterns, place in places)

    async def _fire(self, one: Planned, last: datetime, now: datetime) -> None:
        answer = due(one.schedule, last, now, self._on_time)
        if answer.missed:
            log.warning("schedule.missed", runbook=one.runbook, cron=one.schedule.cron, at=answer.missed.isoformat())
        for moment in answer.fires:
            request = one.request(moment)
            await self._publisher.publish([Outbound(self._topic, request.key, request.value())])
            reach(Failpoint.TRIGGER_PUBLISHED, request.request_id)
            await self._state.fired(one.key, moment)
            log.info("schedule.fired", runbook=one.runbook, at=moment.isoformat(), request_id=request.request_id)
        if answer.through:
            await self._state.fired(one.key, answer.through)


def _has_come(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now
