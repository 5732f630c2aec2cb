"""Where the servers of a running stack are, and the settings file that says so."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from compose.paths import Folders
from compose.state import write_private

LOOPBACK = ("127.0.0.0/8", "::1")
"""What runbooks of the practice stack may call beside the world: its servers are on this machine."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class KafkaAddress(_Frozen):
    """The message log."""

    bootstrap_servers: str


class Neo4jAddress(_Frozen):
    """The graph, with its password."""

    uri: str
    user: str
    password: str
    browser_url: str


class RedisAddress(_Frozen):
    """The coordination store."""

    url: str


class KubernetesAddress(_Frozen):
    """The practice cluster, as the pipeline's service account."""

    kubeconfig: Path
    context: str
    practice_id: str


class Addresses(_Frozen):
    """Everything that `up` brought up. What was not asked for is None."""

    state: Path
    kafka: KafkaAddress | None = None
    neo4j: Neo4jAddress | None = None
    redis: RedisAddress | None = None
    kubernetes: KubernetesAddress | None = None
    admin_kubeconfig: Path | None = None

    @property
    def settings_file(self) -> Path:
        """The file that the product reads."""
        return Folders(cache=self.state, state=self.state).settings_file

    def settings(self) -> dict[str, Any]:
        """What the settings file says."""
        told = self.model_dump(mode="json", exclude_none=True, exclude={"state", "admin_kubeconfig"})
        # Anchors go when the data goes that they are about.
        audit = (
            {"audit": {"folder": str(Folders(cache=self.state, state=self.state).data / "audit")}} if self.neo4j else {}
        )
        return told | audit | {"outgoing": {"allow": list(LOOPBACK)}}


def write_settings(folders: Folders, addresses: Addresses) -> None:
    """Write the settings file; it holds a password, so it is for its user only."""
    text = "# Written by `rb up`; `rb serve` and the tests read it. Do not edit: the next `rb up` writes it anew.\n"
    write_private(folders.settings_file, text + yaml.safe_dump(addresses.settings(), sort_keys=False))
