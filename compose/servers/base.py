"""What every server of the stack has in common."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from compose.events import OnEvent, ignore
from compose.paths import Folders
from compose.state import Secrets


@dataclass(frozen=True, slots=True)
class Launch:
    """A command, ready to run."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    config: Sequence[Path] = ()

    def fingerprint(self) -> str:
        """The same for the same command with the same configuration files."""
        digest = hashlib.sha256(json.dumps([list(self.argv), sorted(self.env.items())]).encode())
        for path in self.config:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Site:
    """Where a server works: its folders and secrets, the ports of all servers, and who listens to events."""

    folders: Folders
    secrets: Secrets
    ports: dict[str, dict[str, int]]
    nodes: int = 3
    api_host: str = "127.0.0.1"
    """The name by which the API server is reached: its certificate is made out to it."""
    on_event: OnEvent = ignore

    def data(self, server: str) -> Path:
        """The data folder of a server, made if need be."""
        path = self.folders.data / server
        path.mkdir(parents=True, exist_ok=True)
        return path

    def conf(self, name: str) -> Path:
        """A generated file of the stack."""
        return self.folders.conf / name


class NotReady(Exception):
    """The server does not answer its protocol yet."""


class Server(Protocol):
    """One server process."""

    name: ClassVar[str]
    usual_ports: ClassVar[Mapping[str, int]]
    version: ClassVar[str]
    patience: ClassVar[float]
    """How many seconds it may take to answer after its start."""

    def prepare(self, site: Site) -> None:
        """Bring its program into the cache. May take minutes the first time."""

    def launch(self, site: Site) -> Launch:
        """Write its configuration and say how it is started."""

    def probe(self, site: Site, pid: int) -> None:
        """Ask it in its own protocol, and make sure that it is ours; raise NotReady or anything else if not."""

    def settle(self, site: Site) -> None:
        """Bring what belongs in it: topics, accounts, objects. Repeated at every `up`."""
