"""The control plane of the practice cluster: API server, controller manager, scheduler."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from compose import binaries
from compose.ports import HOST
from compose.practice import bootstrap, keys, kubeconfig
from compose.practice.api import KubeApi
from compose.servers.base import Launch, NotReady, Site
from compose.state import write_private
from compose.versions import KUBERNETES

POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
# Mutating policies are beta, off by default in this release; practice/registry-policy.yaml is one.
ADMISSION = {
    "feature-gates": "MutatingAdmissionPolicy=true",
    "runtime-config": "admissionregistration.k8s.io/v1beta1=true",
}
_CERTIFICATE_DAYS = 300


def server_url(site: Site) -> str:
    """Where the API server listens."""
    return f"https://{site.api_host}:{site.ports['kube-apiserver']['https']}"


def authority(site: Site) -> Path:
    """The certificate by which the API server is known; it makes it itself at its first start."""
    return site.conf("pki") / "apiserver.crt"


def pipeline_kubeconfig(site: Site) -> Path:
    """The kubeconfig of the pipeline's service account."""
    return site.folders.stack / "kubeconfig"


def admin_kubeconfig(site: Site) -> Path:
    """The kubeconfig for the person at the keyboard."""
    return site.folders.stack / "admin.kubeconfig"


def admin_api(site: Site) -> KubeApi:
    """The API server, as administrator."""
    return KubeApi(server_url(site), site.secrets.admin_token, authority(site))


class ApiServer:
    """The API server, with RBAC and the usual admission plug-ins."""

    name: ClassVar[str] = "kube-apiserver"
    usual_ports: ClassVar[Mapping[str, int]] = {"https": 6443}
    version: ClassVar[str] = KUBERNETES
    patience: ClassVar[float] = 90

    def prepare(self, site: Site) -> None:
        """Build it."""
        binaries.ensure(site.folders.cache, self.name, site.on_event)

    def launch(self, site: Site) -> Launch:
        """Tokens and keys go in files of their user; nothing anonymous but health checks."""
        tokens = site.conf("tokens.csv")
        write_private(tokens, keys.token_file(site.secrets))
        signing = keys.ensure_signing_key(site.conf("service-account.key"))
        self._renew_certificate(site)
        options = {
            "etcd-servers": f"http://{HOST}:{site.ports['etcd']['client']}",
            "bind-address": HOST,
            "advertise-address": HOST,
            "secure-port": str(site.ports[self.name]["https"]),
            "cert-dir": str(site.conf("pki")),
            "token-auth-file": str(tokens),
            "authorization-mode": "Node,RBAC",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": str(signing),
            "service-account-signing-key-file": str(signing),
            "service-cluster-ip-range": SERVICE_CIDR,
            # The address of the server is loopback, which may not stand in an Endpoints object.
            "endpoint-reconciler-type": "none",
            "enable-priority-and-fairness": "false",
            "event-ttl": "6h",
            # Kubelets are KWOK, which shows the same certificate.
            "kubelet-certificate-authority": str(authority(site)),
            "kubelet-preferred-address-types": "InternalIP",
            **ADMISSION,
            "profiling": "false",
        }
        argv = [str(binaries.program(site.folders.cache, self.name)), *_flags(options)]
        return Launch(argv, config=(tokens, signing))

    def _renew_certificate(self, site: Site) -> None:
        """Its own certificate is good for a year: let it make a new one in time."""
        path = authority(site)
        if path.is_file() and time.time() - path.stat().st_mtime > _CERTIFICATE_DAYS * 86400:
            path.unlink()
            path.with_suffix(".key").unlink(missing_ok=True)

    def probe(self, site: Site, pid: int) -> None:
        """Ready, and it knows our token, which no other API server does."""
        del pid
        if not authority(site).is_file():
            raise NotReady("it has not made its certificate yet")
        with admin_api(site) as api:
            api.text("/readyz")
            # Answered from storage: the namespaces that every cluster has are there.
            api.get("/api/v1/namespaces/kube-system")

    def settle(self, site: Site) -> None:
        """Apply accounts and the mark; write the kubeconfigs."""
        server, certificate = server_url(site), authority(site)
        with admin_api(site) as api:
            bootstrap.apply_accounts(api, site.secrets.practice_id)
            token = bootstrap.pipeline_token(api, server, certificate, pipeline_kubeconfig(site))
        for path, secret, context in (
            (pipeline_kubeconfig(site), token, kubeconfig.CONTEXT),
            (admin_kubeconfig(site), site.secrets.admin_token, kubeconfig.ADMIN_CONTEXT),
        ):
            kubeconfig.write(path, server=server, authority=certificate, token=secret, context=context)


class ControllerManager:
    """Deployments, garbage collection, node lifecycle and all the other loops."""

    name: ClassVar[str] = "kube-controller-manager"
    usual_ports: ClassVar[Mapping[str, int]] = {"https": 10257}
    version: ClassVar[str] = KUBERNETES
    patience: ClassVar[float] = 60

    def prepare(self, site: Site) -> None:
        """Build it."""
        binaries.ensure(site.folders.cache, self.name, site.on_event)

    def launch(self, site: Site) -> Launch:
        """A node counts as gone after eight seconds: practice need not wait for the usual fifty."""
        config = _component_kubeconfig(site, self.name, site.secrets.controller_manager_token)
        options = {
            "kubeconfig": str(config),
            "authentication-kubeconfig": str(config),
            "authorization-kubeconfig": str(config),
            "bind-address": HOST,
            "secure-port": str(site.ports[self.name]["https"]),
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": str(site.conf("service-account.key")),
            "root-ca-file": str(authority(site)),
            "allocate-node-cidrs": "true",
            "cluster-cidr": POD_CIDR,
            "service-cluster-ip-range": SERVICE_CIDR,
            "node-monitor-period": "1s",
            "node-monitor-grace-period": "8s",
            "kube-api-qps": "100",
            "kube-api-burst": "200",
            "profiling": "false",
        }
        argv = [str(binaries.program(site.folders.cache, self.name)), *_flags(options)]
        return Launch(argv, config=(config, site.conf("service-account.key")))

    def probe(self, site: Site, pid: int) -> None:
        """Its health check answers, which it does once its loops run."""
        del pid
        _healthz(site.ports[self.name]["https"])

    def settle(self, site: Site) -> None:
        """Nothing to bring."""


class Scheduler:
    """Puts pods on nodes."""

    name: ClassVar[str] = "kube-scheduler"
    usual_ports: ClassVar[Mapping[str, int]] = {"https": 10259}
    version: ClassVar[str] = KUBERNETES
    patience: ClassVar[float] = 60

    def prepare(self, site: Site) -> None:
        """Build it."""
        binaries.ensure(site.folders.cache, self.name, site.on_event)

    def launch(self, site: Site) -> Launch:
        """One scheduler, so no election."""
        config = _component_kubeconfig(site, self.name, site.secrets.scheduler_token)
        options = {
            "kubeconfig": str(config),
            "authentication-kubeconfig": str(config),
            "authorization-kubeconfig": str(config),
            "bind-address": HOST,
            "secure-port": str(site.ports[self.name]["https"]),
            "leader-elect": "false",
            "profiling": "false",
        }
        return Launch([str(binaries.program(site.folders.cache, self.name)), *_flags(options)], config=(config,))

    def probe(self, site: Site, pid: int) -> None:
        """Its health check answers."""
        del pid
        _healthz(site.ports[self.name]["https"])

    def settle(self, site: Site) -> None:
        """Nothing to bring."""


def _flags(options: Mapping[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def _component_kubeconfig(site: Site, name: str, token: str) -> Path:
    path = site.conf(f"{name}.kubeconfig")
    kubeconfig.write(path, server=server_url(site), authority=authority(site), token=token, context=name)
    return path


def _healthz(port: int) -> None:
    import httpx  # noqa: PLC0415 - slow to import, wanted only here

    # The certificate is made in memory at each start, and the answer is not secret: there is nothing to verify it by.
    answer = httpx.get(f"https://{HOST}:{port}/healthz", verify=False, timeout=3, trust_env=False)  # noqa: S501 # nosec
    if answer.text.strip() != "ok":
        raise NotReady(f"/healthz answers {answer.status_code}: {answer.text[:100]}")
