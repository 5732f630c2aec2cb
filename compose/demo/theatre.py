"""Sets the scene: cleans up after earlier runs, connects, starts the pipeline, and strikes everything again."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from redis.asyncio import Redis

from compose import processes
from compose.addresses import Addresses
from compose.demo import run as runs
from compose.demo.board import Board
from compose.demo.cluster import Cluster
from compose.demo.errors import DemoFailed
from compose.demo.graph import Graph
from compose.demo.kgroot import KgrootWriter
from compose.demo.pipeline import Pipeline, write_settings
from compose.demo.record import Recorder
from compose.demo.run import Run
from compose.demo.scene import PERSON, Scene
from compose.demo.wire import Wire, remove_topics
from compose.demo.workloads import LABEL, REGISTRY, namespace
from compose.slack import LocalSlack

_PATIENT = 60.0
"""Slack gives an app three seconds; a busy machine that plays everything at once may need more."""


@asynccontextmanager
async def staged(
    addresses: Addresses,
    board: Board,
    *,
    keep: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> AsyncIterator[Scene]:
    """A scene with a pipeline that is starting; `Scene.started` says when it reads its topics.

    Args:
        addresses: of a stack of which every part is up.
        board: where the stages are put.
        keep: leave the workloads, the topics and the pipeline when it is over; the next run removes them.
        settings: groups for the pipeline's settings.

    Raises:
        DemoFailed: a part of the stack is missing, or the pipeline did not start.
    """
    if not (addresses.kafka and addresses.neo4j and addresses.redis and addresses.admin_kubeconfig):
        raise DemoFailed("The demo needs the whole stack.", hint="Run `rb up`.")
    run = runs.begin(addresses)
    given = {"registry_config": _registry_config()}
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(LocalSlack(ack_seconds=_PATIENT))
        write_settings(run, addresses, {"slack": _app(slack), **(settings or {})})
        cluster = stack.enter_context(Cluster(addresses.admin_kubeconfig, run.folder))
        redis = Redis.from_url(addresses.redis.url)
        stack.push_async_callback(redis.aclose)
        graph = await stack.enter_async_context(Graph(addresses.neo4j))
        await clean_up(addresses, cluster, redis)
        if not keep:
            stack.push_async_callback(_strike, addresses, cluster, redis, run)
        scene = Scene(
            run=run,
            cluster=cluster,
            graph=graph,
            kgroot=KgrootWriter(graph, run.tenant, run.cluster),
            wire=await stack.enter_async_context(Wire(addresses.kafka.bootstrap_servers, run)),
            redis=redis,
            pipeline=Pipeline(run, given),
            recorder=Recorder(graph, run.tenant),
            board=board,
            slack=slack,
            secrets=given,
        )
        if not keep:
            stack.push_async_callback(scene.pipeline.stop)
        await scene.kgroot.prepare()
        await cluster.apply(namespace(run.namespace, run.mark))
        async with _background(scene):
            yield scene


@asynccontextmanager
async def _background(scene: Scene) -> AsyncIterator[None]:
    """The pipeline's start, the record, the topology: all at once, beside the scenarios."""

    async def start() -> None:
        await scene.pipeline.start()
        scene.started.set()

    async def follow() -> None:
        await scene.started.wait()
        await asyncio.gather(scene.recorder.follow(), scene.keep_mirroring())

    owner = asyncio.current_task()
    tasks = [asyncio.create_task(start()), asyncio.create_task(follow())]
    failed: list[BaseException] = []

    def on_end(task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            failed.append(error)
            if owner:
                owner.cancel()

    for task in tasks:
        task.add_done_callback(on_end)
    try:
        yield
    except asyncio.CancelledError:
        if failed:
            raise failed[0] from None
        raise
    finally:
        for task in tasks:
            task.remove_done_callback(on_end)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def clean_up(addresses: Addresses, cluster: Cluster, redis: "Redis") -> None:
    """Remove what earlier runs left. A run whose demo is still at work is left alone."""
    for run, pipeline in list(runs.left_behind(addresses)):
        if pipeline:
            await asyncio.to_thread(processes.stop, [pipeline])
        await _strike(addresses, cluster, redis, run)
    busy = runs.in_progress(addresses)
    for kind in ("Namespace", "Node"):
        for item in await cluster.find(kind, labelSelector=LABEL):
            mark = item["metadata"]["labels"][LABEL]
            if mark not in busy:
                await _remove_from_cluster(cluster, Run(mark, addresses.state))


async def _strike(addresses: Addresses, cluster: Cluster, redis: "Redis", run: Run) -> None:
    """Remove what a run made outside the graph. The graph keeps its history."""
    await _remove_from_cluster(cluster, run)
    if addresses.kafka:
        await asyncio.to_thread(remove_topics, addresses.kafka.bootstrap_servers, run)
    keys = [key async for key in redis.scan_iter(match=f"{run.redis_prefix}*")]
    if keys:
        await redis.delete(*keys)
    runs.forget(run)


async def _remove_from_cluster(cluster: Cluster, run: Run) -> None:
    """The namespace goes by itself, but for pods on a dead node: its kubelet never confirms that they are gone."""
    await cluster.delete("Namespace", run.namespace)
    for pod in await cluster.find("Pod", run.namespace, fieldSelector=f"spec.nodeName={run.node}"):
        with suppress(LookupError):
            await cluster.delete("Pod", pod["metadata"]["name"], run.namespace, now=True)
    await cluster.delete("Node", run.node)


def _app(slack: LocalSlack) -> dict[str, Any]:
    """The pipeline as an app of the local Slack, and who is who there."""
    slack.workspace.trigger_seconds = _PATIENT
    slack.workspace.add_user(PERSON, "Demo")
    return {**slack.settings, "mode": "socket", "app_token": slack.app_token, "users": {PERSON: "demo"}}


def _registry_config() -> str:
    """Credentials of the private registry, made up anew for each run."""
    login = {"username": "rootmend", "password": secrets.token_urlsafe(24)}
    return json.dumps({"auths": {REGISTRY: login}})
