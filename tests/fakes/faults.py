"""An installation whose way to each of its servers can be made to fail: real servers behind Toxiproxy.

Only the pipeline goes through the proxies; the test itself looks at the servers directly.
"""

from __future__ import annotations

import asyncio
import copy
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import yaml
from confluent_kafka import KafkaException
from fakes.served import Process, Served, served, until

from compose import binaries, processes
from compose.paths import folders
from compose.servers.base import NotReady, Site
from compose.servers.kafka import Kafka
from compose.slack import LocalSlack
from compose.state import Secrets

_LOOPBACK = "127.0.0.1"

FAULTS: Mapping[str, Mapping[str, Any] | None] = {
    "away": None,
    "hanging": {"type": "timeout", "attributes": {"timeout": 0}},
    "slow": {"type": "latency", "attributes": {"latency": 2000}},
    "cut": {"type": "limit_data", "attributes": {"bytes": 300}},
}
"""What can be wrong: the port is closed; requests arrive and no answer comes; each answer takes 2 s; each connection
breaks after 300 bytes of answers, which is in the middle of one. Toxiproxy's words for all but the first."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


class Toxiproxy:
    """The proxies of one test.

    Args:
        folder: holds its log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "toxiproxy.log"

    async def __aenter__(self) -> Self:
        program = await asyncio.to_thread(binaries.ensure, folders().cache, "toxiproxy")
        port = free_port()
        self._folder.mkdir(parents=True, exist_ok=True)
        place = {"log": self._log, "cwd": self._folder, "stack": self._folder, "server": "toxiproxy"}
        self._process = processes.spawn([str(program), f"{_LOOPBACK}:{port}"], **place)
        self._http = aiohttp.ClientSession(f"http://{_LOOPBACK}:{port}")

        async def answers() -> bool:
            try:
                async with self._http.get("/version") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        try:
            await until(answers, "toxiproxy answers", 60)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        await asyncio.to_thread(processes.stop, [self._process])

    async def proxy(self, name: str, upstream: str) -> str:
        """A new way to a server; its ``host:port``."""
        made = {"name": name, "listen": f"{_LOOPBACK}:0", "upstream": upstream, "enabled": True}
        return str((await self._ask("POST", "/proxies", made))["listen"])

    async def spoil(self, name: str, fault: str) -> None:
        """Make a way fail as ``FAULTS`` says, for the connections that are open and for new ones."""
        if (toxic := FAULTS[fault]) is None:
            await self._ask("PATCH", f"/proxies/{name}", {"enabled": False})
        else:
            await self._ask("POST", f"/proxies/{name}/toxics", {"name": fault, "stream": "downstream", **toxic})

    async def mend(self) -> None:
        """All ways are well again."""
        await self._ask("POST", "/reset", {})

    def connections(self, name: str) -> int:
        """How many connections a way has taken so far."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return sum(line.get("name") == name and line.get("message") == "Accepted client" for line in lines)

    async def _ask(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        async with self._http.request(method, path, json=body) as answer:
            text = await answer.text()
            assert answer.status < 300, f"{method} {path}: {text}"
            return json.loads(text) if text else None


class OwnKafka:
    """A broker that one test may do anything to.

    It has two listeners: one for the test, and one that tells its clients the address of a proxy, because a client of
    Kafka only begins at the address that it is given and then goes where the broker says.
    """

    def __init__(self, folder: Path) -> None:
        found = {"kafka": free_port(), "controller": free_port()}
        state = folders(folder)
        state.create()
        self._site = Site(state, Secrets(practice_id="none"), {"kafka": found})
        self._server = Kafka()
        self.bootstrap = f"{_LOOPBACK}:{found['kafka']}"
        self.upstream = f"{_LOOPBACK}:{free_port()}"

    async def start(self, advertised: str) -> None:
        """Start it and wait until it answers.

        Args:
            advertised: the proxy's ``host:port``.
        """
        await asyncio.to_thread(self._server.prepare, self._site)
        launch = await asyncio.to_thread(self._server.launch, self._site)
        self._listen_behind(advertised)
        state = self._site.folders
        self._process = processes.spawn(
            launch.argv, log=state.log("kafka"), cwd=state.data, stack=state.stack, server="kafka"
        )

        async def answers() -> bool:
            try:
                await asyncio.to_thread(self._server.probe, self._site, self._process.pid)
            except (KafkaException, NotReady):
                return False
            return True

        await until(answers, "Kafka answers", 120)

    def _listen_behind(self, advertised: str) -> None:
        path = self._site.conf("kafka.properties")
        more = {
            "listeners": f"BEHIND://{self.upstream}",
            "advertised.listeners": f"BEHIND://{advertised}",
            "listener.security.protocol.map": "BEHIND:PLAINTEXT",
        }
        lines = []
        for line in path.read_text().splitlines():
            name = line.partition("=")[0]
            lines.append(f"{line},{more[name]}" if name in more else line)
        path.write_text("\n".join(lines) + "\n")

    async def stop(self) -> None:
        """End it."""
        await asyncio.to_thread(processes.stop, [self._process])


@dataclass
class Faulty:
    """An installation behind proxies.

    Attributes:
        world: the installation; what it is asked by the test does not go through a proxy.
        ways: the proxies: ``kafka``, ``neo4j``, ``redis``, ``kubernetes``, ``slack``.
        slack: the workspace.
        addresses: of the proxies, by server.
    """

    world: Served
    ways: Toxiproxy
    slack: LocalSlack
    addresses: Mapping[str, str]

    async def readiness(self, process: Process) -> dict[str, Any]:
        """What a process says about itself and its servers."""
        url = process.log("service.ready")[-1]["url"]
        async with aiohttp.ClientSession() as http, http.get(f"{url}/readyz") as answer:
            return {"code": answer.status, **(await answer.json())}

    def behind(self, folder: Path) -> None:
        """Write the settings of the pipeline, with the proxies' addresses in them."""
        addresses = self.addresses
        told = copy.deepcopy(self.world.settings)
        told["kafka"]["bootstrap_servers"] = addresses["kafka"]
        told["neo4j"]["uri"] = f"bolt://{addresses['neo4j']}"
        told["redis"]["url"] = f"redis://{addresses['redis']}/0"
        told["slack"]["base_url"] = f"http://{addresses['slack']}/api/"
        kubeconfig = yaml.safe_load(Path(told["kubernetes"]["kubeconfig"]).read_text())
        for cluster in kubeconfig["clusters"]:
            cluster["cluster"]["server"] = f"https://{addresses['kubernetes']}"
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig))
        path.chmod(0o600)
        told["kubernetes"]["kubeconfig"] = str(path)
        self.world.config.write_text(yaml.safe_dump(told))


def _upstreams(stack: Any, kafka: OwnKafka, slack: LocalSlack) -> dict[str, str]:
    kubeconfig = yaml.safe_load(Path(stack.kubeconfig).read_text())
    return {
        "kafka": kafka.upstream,
        "neo4j": urlsplit(stack.neo4j_uri).netloc,
        "redis": urlsplit(stack.redis_url).netloc,
        "kubernetes": urlsplit(kubeconfig["clusters"][0]["cluster"]["server"]).netloc,
        "slack": urlsplit(slack.base_url).netloc,
    }


@asynccontextmanager
async def faulty(stack: Any, folder: Path, *, settings: Mapping[str, Any] | None = None) -> AsyncIterator[Faulty]:
    """An installation behind proxies, without processes yet. It has a Kafka of its own; see ``OwnKafka``.

    Args:
        stack: the fixture ``stack``.
        folder: an empty folder.
        settings: by group, on top of the usual ones.
    """
    async with AsyncExitStack() as held:
        slack = await held.enter_async_context(LocalSlack())
        ways = await held.enter_async_context(Toxiproxy(folder / "ways"))
        kafka = OwnKafka(folder / "kafka")
        upstreams = _upstreams(stack, kafka, slack)
        addresses = {name: await ways.proxy(name, upstream) for name, upstream in upstreams.items()}
        held.push_async_callback(kafka.stop)
        await kafka.start(addresses["kafka"])
        own = {
            "kafka": {"bootstrap_servers": kafka.bootstrap, "client": {"session.timeout.ms": 6000}},
            "slack": slack.settings,
            "api": {"enabled": True, "port": 0},
            **(settings or {}),
        }
        world = await held.enter_async_context(served(stack, folder / "world", settings=own))
        site = Faulty(world, ways, slack, addresses)
        site.behind(folder)
        try:
            yield site
        finally:
            await ways.mend()
