"""etcd: the store of the practice cluster."""

from collections.abc import Mapping
from typing import ClassVar

from compose import binaries
from compose.ports import HOST
from compose.servers.base import Launch, NotReady, Site
from compose.versions import ETCD


class Etcd:
    """The store of the practice cluster."""

    name: ClassVar[str] = "etcd"
    usual_ports: ClassVar[Mapping[str, int]] = {"client": 2379, "peer": 2380}
    version: ClassVar[str] = ETCD
    patience: ClassVar[float] = 60

    def prepare(self, site: Site) -> None:
        """Build it."""
        binaries.ensure(site.folders.cache, "etcd", site.on_event)

    def launch(self, site: Site) -> Launch:
        """One member; a practice cluster may lose its last second, so writes need not reach the disk."""
        ports = site.ports["etcd"]
        client, peer = f"http://{HOST}:{ports['client']}", f"http://{HOST}:{ports['peer']}"
        return Launch(
            [
                str(binaries.program(site.folders.cache, "etcd")),
                *("--name", "practice", "--data-dir", str(site.data("etcd"))),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--initial-cluster", f"practice={peer}"),
                *("--initial-cluster-token", site.secrets.practice_id),
                *("--unsafe-no-fsync", "--snapshot-count", "5000", "--auto-compaction-retention", "1h"),
                *("--watch-progress-notify-interval", "5s", "--log-level", "warn"),
            ]
        )

    def probe(self, site: Site, pid: int) -> None:
        """Healthy means that it has a leader and answers a read."""
        del pid
        import httpx  # noqa: PLC0415 - slow to import, wanted only here

        answer = httpx.get(f"http://{HOST}:{site.ports['etcd']['client']}/health", timeout=3, trust_env=False)
        if answer.json().get("health") != "true":
            raise NotReady(f"health is {answer.text[:100]}")

    def settle(self, site: Site) -> None:
        """Nothing to bring."""
