"""One process of the pipeline: start, run until asked to stop, hand over."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress

import structlog

from services.access.opening import remarks
from services.api.app import create_app
from services.api.server import ApiServer
from services.bootstrap import (
    Parts,
    Pipeline,
    Role,
    SlackDesk,
    approval_routes,
    make_pipeline,
    make_receiver,
    make_runs_api,
    make_sealer,
    make_slack,
)
from services.graph.connect import verify
from services.graph.migrate import migrate
from services.graph.warm import warm
from services.health import Health, Probe
from services.kafka.topics import ensure_topics
from services.pipeline.sweep import Sweeper, sweep

log = structlog.get_logger(__name__)

RUNNING = "running"
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


async def keep(
    name: str,
    work: Callable[[], Awaitable[None]],
    tell: Callable[[str, str], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Do work that never ends, until cancelled; when it dies or ends all the same, say so and begin it again.

    Args:
        name: of the task.
        work: begins it.
        tell: given the name and how it stands: ``running``, or ``failed: <why>`` for as long as it pauses.
        sleep: waits some seconds. Pauses double up to the longest; after a good while they begin anew.
    """
    pause = FIRST_PAUSE_SECONDS
    loop = asyncio.get_running_loop()
    while True:
        tell(name, RUNNING)
        began = loop.time()
        try:
            await work()
            why = "it ended"
        except Exception as error:  # noqa: BLE001 - whatever it died of, a process without it does half its work
            why = f"{type(error).__name__}: {error}"
        if loop.time() - began > LONGEST_PAUSE_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        log.error("task.failed", task=name, why=why, again_in_seconds=pause)
        tell(name, f"failed: {why}")
        await sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


class Service:
    """The process.

    Args:
        parts: connected already.
        roles: what this process does.
        grace_seconds: how long the current steps may take to finish when asked to stop.
    """

    def __init__(self, parts: Parts, roles: Sequence[Role], grace_seconds: float = 25.0) -> None:
        self._parts = parts
        self._roles = tuple(roles)
        self._grace = grace_seconds
        self._stop = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unfollowed = ""
        self._woken = asyncio.Event()
        self._slack: SlackDesk | None = None
        self.url = ""

    def stop(self) -> None:
        """Ask for the end; ``run`` returns when it is reached."""
        self._stop.set()

    async def run(self, on_ready: Callable[[str], None] = lambda _: None) -> None:
        """Run until stopped.

        Args:
            on_ready: told the address of the HTTP side, or an empty text, once the pipeline reads its topics.
        """
        parts = self._parts
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, self.stop)
        for remark in remarks(parts.settings):
            log.warning("access.open", why=remark)
        sealer = make_sealer(parts)
        applied = await migrate(parts.graph)
        log.info("graph.ready", migrations=[m.name for m in applied])
        began = parts.clock.monotonic()
        log.info("graph.warm", queries=await warm(parts.graph), seconds=round(parts.clock.monotonic() - began, 2))
        await self._topics()
        parts.catalog.load()
        await sweep([("versions", parts.catalog.follow)])
        await self._rules()
        async with AsyncExitStack() as stack:
            health = await self._health(stack)
            pipeline = make_pipeline(parts, self._roles)
            self._slack = make_slack(parts, self._roles)
            self._consume(pipeline)
            await parts.bus.start()
            stack.push_async_callback(parts.bus.stop)
            await self._api(health, stack)
            self._begin(pipeline, health)
            self._spawn("audit", sealer.run, health.role)
            on_ready(self.url)
            log.info("service.ready", roles=[r.value for r in self._roles], url=self.url, holder=parts.holder)
            await self._stop.wait()
            log.info("service.stopping")
            await self._end(pipeline)
            await sweep([("audit", sealer.close)])
        log.info("service.stopped")

    async def _rules(self) -> None:
        """What holds beside the runbooks' own rules; known before the first question is asked."""
        parts = self._parts
        if parts.settings.policies.paths:
            parts.policies.tell()
        if parts.autonomy:
            await sweep([("autonomy", parts.autonomy.sweep)])
        else:
            log.warning("autonomy.off", why="autonomy.enabled is false: runbooks need not earn to run by themselves")

    async def _topics(self) -> None:
        kafka = self._parts.settings.kafka
        created = await ensure_topics(
            kafka.bootstrap_servers,
            (*kafka.topics.names, *filter(None, [self._parts.settings.audit.topic])),
            client=kafka.client,
            create=kafka.create_topics,
            partitions=kafka.partitions,
        )
        if created:
            log.info("topics.created", topics=list(created))

    def _consume(self, pipeline: Pipeline) -> None:
        kafka, bus = self._parts.settings.kafka, self._parts.bus
        wait = kafka.batch_wait_ms / 1000
        if pipeline.ingest:
            bus.consume(
                kafka.topics.inputs,
                f"{kafka.group_id}-decide",
                pipeline.ingest.begin,
                max_records=kafka.batch_max_records,
                wait_seconds=wait,
                offset_reset=kafka.offset_reset,
            )
        if pipeline.worker:
            bus.consume(
                [kafka.topics.requests], f"{kafka.group_id}-act", pipeline.worker.on_requests, wait_seconds=wait
            )
        if Role.APPROVALS in self._roles:
            bus.consume([kafka.topics.approvals], f"{kafka.group_id}-approvals", self._wake, wait_seconds=0.1)

    async def _wake(self, _: object) -> None:
        """Somebody asked or answered: look at once instead of at the next sweep."""
        self._woken.set()
        if self._slack:
            self._slack.wake()

    def _begin(self, pipeline: Pipeline, health: Health) -> None:
        execution = self._parts.settings.execution
        self._spawn("sweep", lambda: self._sweeping(pipeline), health.role)
        if pipeline.worker:
            renew = pipeline.worker.renew
            self._spawn("heartbeat", lambda: self._every(execution.heartbeat_seconds, "heartbeat", renew), health.role)
        if self._parts.history:
            # A copy that lags behind is no reason to restart the process.
            self._spawn("history", self._parts.history.run, lambda *_: None)
        for name, work in self._slack.tasks if self._slack else ():
            # Slack away is no reason to restart the process: everything can be answered with rb approvals.
            self._spawn(name, work, lambda *_: None)
        if self._parts.settings.runbooks.watch:
            self._spawn("runbooks", self._parts.catalog.watch, self._note_watch)

    def _spawn(self, name: str, work: Callable[[], Awaitable[None]], tell: Callable[[str, str], None]) -> None:
        self._tasks[name] = asyncio.create_task(keep(name, work, tell), name=name)

    def _note_watch(self, _: str, state: str) -> None:
        """A folder that cannot be followed is said with the runbooks: what is loaded still works, so none restarts."""
        self._unfollowed = "" if state == RUNNING else f"; changes are not followed, {state}"

    async def _sweeping(self, pipeline: Pipeline) -> None:
        execution = self._parts.settings.execution
        deadline = execution.sweep_deadline_seconds
        sweeper = Sweeper(pipeline.duties, deadline_seconds=deadline)
        try:
            while True:
                self._woken.clear()
                await sweeper.once()
                with suppress(TimeoutError):
                    async with asyncio.timeout(execution.sweep_seconds):
                        await self._woken.wait()
        finally:
            await sweeper.close()

    async def _every(self, seconds: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            await sweep([(name, work)])

    async def _end(self, pipeline: Pipeline) -> None:
        """Stop reading, take up nothing new, let the current steps finish; their leases are renewed until then."""
        await self._parts.bus.stop_reading()
        await self._cancel("sweep", "runbooks")
        if pipeline.worker:
            await pipeline.worker.stop(self._grace)
        await self._cancel(*self._tasks)

    async def _cancel(self, *names: str) -> None:
        tasks = [self._tasks[name] for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _health(self, stack: AsyncExitStack) -> Health:
        parts = self._parts
        health = Health(
            [
                Probe("kafka", parts.bus.ping, when_down="nothing new is read"),
                Probe("neo4j", lambda: verify(parts.graph), when_down="nothing is decided, nothing new is run"),
                Probe("redis", self._ping_redis, needed=False, when_down="approval only"),
                Probe("kubernetes", self._ask_cluster, when_down="targets cannot be found"),
                Probe("runbooks", self._runbooks, when_down="nothing matches"),
            ],
            hooks=parts.hooks,
        )
        for role in self._roles:
            health.role(role.value)
        await health.start()
        stack.push_async_callback(health.stop)
        return health

    async def _ping_redis(self) -> bool:
        return bool(await self._parts.redis.ping())

    async def _ask_cluster(self) -> bool:
        return await self._parts.cluster.get("Namespace", "default") is not None

    async def _runbooks(self) -> bool | str:
        count = self._parts.catalog.count()
        remarks = "".join(f"; {remark}" for remark in self._parts.catalog.remarks)
        return f"{count} loaded{self._unfollowed}{remarks}" if count else False

    async def _api(self, health: Health, stack: AsyncExitStack) -> None:
        settings = self._parts.settings
        if not settings.api.enabled:
            return
        receiver = make_receiver(self._parts) if Role.API in self._roles else None
        runs = make_runs_api(self._parts) if Role.API in self._roles else None
        slack = self._slack.interactions if self._slack else None
        more = approval_routes(self._parts) if Role.API in self._roles else ()
        app = create_app(health, self._parts.metrics, receiver, runs, slack, more=more)
        server = ApiServer(app, settings.api.host, settings.api.port)
        await server.start()
        stack.push_async_callback(server.stop)
        self.url = server.url
