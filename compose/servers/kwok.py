"""KWOK: plays the kubelets of the practice cluster by the stages in `practice/stages/`."""

from collections.abc import Mapping
from typing import ClassVar

from compose import binaries
from compose.ports import HOST
from compose.practice import bootstrap, kubeconfig, stages
from compose.servers.base import Launch, NotReady, Site
from compose.servers.kubernetes import POD_CIDR, admin_api, authority, server_url
from compose.state import write_private
from compose.versions import KWOK


def _stages(site: Site) -> str:
    log, last_log, folder = site.conf("pod.log"), site.conf("pod-last.log"), site.data("exec")
    write_private(log, stages.POD_LOG)
    write_private(last_log, stages.LAST_LOG)
    return stages.text(log=log, last_log=last_log, exec_folder=folder)


class Kwok:
    """Every kubelet of the practice cluster."""

    name: ClassVar[str] = "kwok"
    usual_ports: ClassVar[Mapping[str, int]] = {"http": 10247}
    version: ClassVar[str] = KWOK
    patience: ClassVar[float] = 60

    def prepare(self, site: Site) -> None:
        """Build it, and refuse stages with mistakes before they stop it half way."""
        stages.load()
        binaries.ensure(site.folders.cache, self.name, site.on_event)

    def launch(self, site: Site) -> Launch:
        """It manages the nodes with the kubelet label only, so that taking the label away is a kubelet's death."""
        config, access = site.conf("kwok-stages.yaml"), site.conf("kwok.kubeconfig")
        write_private(config, _stages(site))
        kubeconfig.write(
            access, server=server_url(site), authority=authority(site), token=site.secrets.kwok_token, context=self.name
        )
        port = site.ports[self.name]["http"]
        options = {
            "config": str(config),
            "kubeconfig": str(access),
            "manage-nodes-with-label-selector": f"{bootstrap.KUBELET_LABEL}=running",
            "server-address": f"{HOST}:{port}",
            "node-ip": HOST,
            "node-port": str(port),
            "cidr": POD_CIDR,
            "node-lease-duration-seconds": "4",
            # The certificate of the API server, which trusts it: so `kubectl logs` works.
            "tls-cert-file": str(authority(site)),
            "tls-private-key-file": str(authority(site).with_suffix(".key")),
            "v": "WARN",
        }
        argv = [
            str(binaries.program(site.folders.cache, self.name)),
            *(f"--{key}={value}" for key, value in options.items()),
        ]
        return Launch(argv, config=(config, access))

    def probe(self, site: Site, pid: int) -> None:
        """Its health check answers; that it works is seen when the nodes become Ready."""
        del pid
        import httpx  # noqa: PLC0415 - slow to import, wanted only here

        answer = httpx.get(f"http://{HOST}:{site.ports[self.name]['http']}/healthz", timeout=3, trust_env=False)
        if answer.status_code != httpx.codes.OK:
            raise NotReady(f"/healthz answers {answer.status_code}")

    def settle(self, site: Site) -> None:
        """Create the nodes and wait for them."""
        with admin_api(site) as api:
            bootstrap.ensure_nodes(api, site.nodes)
