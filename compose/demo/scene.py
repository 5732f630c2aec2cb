"""Everything that a scenario plays with, and what all scenarios do alike."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from compose.demo.board import Board
from compose.demo.cluster import Cluster, Json
from compose.demo.errors import DemoFailed
from compose.demo.graph import Graph
from compose.demo.kgroot import About, KgrootWriter
from compose.demo.patience import Look, T, until
from compose.demo.pipeline import Pipeline
from compose.demo.record import Recorder
from compose.demo.run import Run
from compose.demo.wire import Wire
from compose.demo.workloads import LABEL
from compose.slack import LocalSlack, Message

PERSON = "U0DEMO"
"""The account of the person who answers in the local Slack."""

_MIRROR_EVERY = 1.5


@dataclass(frozen=True, slots=True)
class Scene:
    """One run, connected.

    Attributes:
        slack: where people are asked.
        secrets: what the pipeline was given, by name; nobody else may ever see the values.
        started: set while the pipeline reads its topics, and must therefore be alive.
    """

    run: Run
    cluster: Cluster
    graph: Graph
    kgroot: KgrootWriter
    wire: Wire
    redis: "Redis"
    pipeline: Pipeline
    recorder: Recorder
    board: Board
    slack: LocalSlack
    secrets: dict[str, str] = field(repr=False)
    started: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, what: str, look: Look[T], *, seconds: float, every: float = 0.25) -> T:
        """Wait, as long as the pipeline lives; see `patience.until`.

        Raises:
            DemoFailed: with the end of the pipeline's log.
        """
        try:
            return await until(what, look, seconds=seconds, every=every, alarm=self._alarm)
        except DemoFailed as error:
            raise DemoFailed(error.what, log=error.log or self.pipeline.tail(), hint=error.hint) from error

    def _alarm(self) -> None:
        if self.started.is_set():
            self.pipeline.check_alive()

    async def mirror(self) -> None:
        """Bring the topology in the graph to the state of the cluster."""
        await self.kgroot.mirror(self.cluster, self.run.namespace, f"{LABEL}={self.run.mark}")

    async def keep_mirroring(self) -> None:
        """What KGroot's state watcher does all the time. Until cancelled."""
        while True:
            await self.mirror()
            await asyncio.sleep(_MIRROR_EVERY)

    async def deployment(self, app: str) -> Json:
        """A Deployment of the run."""
        return await self.cluster.existing("Deployment", app, self.run.namespace)

    async def pods(self, app: str) -> list[Json]:
        """The pods of a Deployment that are not on their way out."""
        found = await self.cluster.find("Pod", self.run.namespace, labelSelector=f"app={app}")
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def pod_that(self, app: str, reason: str, *, seconds: float = 60) -> Json:
        """A pod whose container waits or died for a reason, once there is one."""

        async def look() -> tuple[Json | None, object]:
            pods = await self.pods(app)
            told = {pod["metadata"]["name"]: sorted(reasons(pod)) for pod in pods}
            return next((pod for pod in pods if reason in reasons(pod)), None), told

        return await self.until(f"a pod of {app} in {reason}", look, seconds=seconds)

    async def all_ready(self, app: str, count: int, *, seconds: float = 60) -> list[Json]:
        """All pods of a Deployment, once they are ready."""

        async def look() -> tuple[list[Json] | None, object]:
            pods = [pod for pod in await self.pods(app) if is_ready(pod)]
            return (pods if len(pods) == count else None), f"{len(pods)} of {count} ready"

        return await self.until(f"{count} ready pods of {app}", look, seconds=seconds)

    def question(self, execution_id: str) -> Message | None:
        """The message in Slack that asks about an execution."""
        return next((one for one in self.slack.messages() if execution_id in str(one.blocks)), None)

    def about_pod(self, pod: Json) -> About:
        """A pod as events name it: by its uid."""
        return About("Pod", pod["metadata"]["name"], self.run.namespace, pod["metadata"]["uid"])

    def about(self, kind: str, name: str) -> About:
        """An object as alerts name it: without uid."""
        return About(kind, name, self.run.namespace)


def reasons(pod: Json) -> set[str]:
    """Why the containers of a pod wait, died, or died last."""
    found = set()
    for status in pod.get("status", {}).get("containerStatuses") or ():
        states: Sequence[Any] = (
            (status.get("state") or {}).get("waiting"),
            (status.get("state") or {}).get("terminated"),
            (status.get("lastState") or {}).get("terminated"),
        )
        found |= {state["reason"] for state in states if state and state.get("reason")}
    return found


def is_ready(item: Json) -> bool:
    """Whether a pod or a node says that it is ready."""
    conditions = item.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def died_at(pod: Json) -> datetime:
    """When the first container of a pod died last; a moment ago when that is not known."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        ended = ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
        if ended:
            return datetime.fromisoformat(ended)
    return datetime.now(UTC) - timedelta(seconds=1)


def hold(fact: object, what: str) -> None:
    """Raise DemoFailed unless it is so."""
    if not fact:
        raise DemoFailed(what)
