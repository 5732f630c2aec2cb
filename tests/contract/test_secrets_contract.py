"""What every provider of secrets does: Vault (both logins), AWS Secrets Manager, Kubernetes (in memory and real)."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from fakes.cluster import FakeCluster
from fakes.places import SystemClock
from fakes.secret_servers import FakeAws, FakeVault, as_json
from fakes.web import web

from executor.actions.naming import ref_of
from executor.errors import Forbidden, MissingSecret, NotConfigured, Unavailable
from executor.model import ObjectRef
from services.kubernetes.connect import connect
from services.secrets.aws import AwsSecrets
from services.secrets.kubernetes import KubernetesSecrets
from services.secrets.model import Provider
from services.secrets.vault import VaultAddress, VaultSecrets, approle_login, kubernetes_login

VALUE = f"canary-{uuid4().hex}"


@dataclass
class Site:
    """A provider and the means to change what it serves."""

    provider: Provider
    path: Callable[[str], str]
    put: Callable[[str, dict[str, str]], Awaitable[Any]]
    deny: Callable[[str], Any] | None
    leave: Callable[[], Any] | None


async def vault_site(login):
    server = FakeVault()
    async with web(server) as address:

        async def put(name, fields):
            server.put(name, **fields)

        def deny(name):
            server.readable = set(server.secrets) - {name}

        def leave():
            server.sealed = True

        provider = VaultSecrets(VaultAddress(address.url), login(server), SystemClock())
        yield Site(provider, lambda name: f"secret/data/{name}", put, deny, leave)
        await provider.close()


async def aws_site(monkeypatch):
    server = FakeAws()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.key)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    async with web(server) as address:

        async def put(name, fields):
            server.put(name, as_json(**fields))

        def leave():
            server.away = True

        provider = AwsSecrets(server.region, endpoint=address.url)
        yield Site(provider, lambda name: name, put, server.denied.add, leave)
        await provider.close()


class Gone:
    """A cluster that answers one way to everything."""

    def __init__(self, error):
        self.error = error

    async def get(self, *_):
        raise self.error


def cluster_site(cluster, admin, namespace):
    provider = KubernetesSecrets(cluster)

    async def put(name, fields):
        data = {key: base64.b64encode(text.encode()).decode() for key, text in fields.items()}
        found = await admin.get("Secret", name, namespace)
        if found:
            await admin.patch(ref_of(found), {"data": data}, how="merge")
            return
        meta = {"name": name, "namespace": namespace}
        await admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})

    def answering(error):
        provider._cluster = Gone(error)

    return Site(
        provider,
        lambda name: f"{namespace}/{name}",
        put,
        lambda _: answering(Forbidden("secrets is forbidden")),
        lambda: answering(Unavailable("no answer")),
    )


async def real_site(stack):
    namespace = f"contract-{uuid4().hex[:8]}"
    admin = await connect(stack.admin_kubeconfig, "rootmend-practice-admin")
    cluster = await connect(stack.kubeconfig, stack.context)
    await admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    try:
        yield cluster_site(cluster, admin, namespace)
    finally:
        await admin.delete(ObjectRef(kind="Namespace", name=namespace))
        await cluster.close()
        await admin.close()


def by_kubernetes(folder):
    def login(server):
        (folder / "token").write_text(f"{server.jwt}\n")
        return kubernetes_login(server.role, folder / "token")

    return login


@pytest.fixture(
    params=["vault-kubernetes", "vault-approle", "aws", "kubernetes", pytest.param("cluster", marks=pytest.mark.stack)]
)
async def site(request, tmp_path, monkeypatch):
    if request.param == "kubernetes":
        fake = FakeCluster()
        yield cluster_site(fake, fake, "shop")
        return
    made = {
        "vault-kubernetes": lambda: vault_site(by_kubernetes(tmp_path)),
        "vault-approle": lambda: vault_site(lambda server: approle_login(server.role_id, server.secret_id)),
        "aws": lambda: aws_site(monkeypatch),
        "cluster": lambda: real_site(request.getfixturevalue("stack")),
    }[request.param]()
    async for one in made:
        yield one


async def test_a_secret_comes_with_its_fields(site):
    """All of them at once: one question serves user and password."""
    await site.put("database", {"username": "app", "password": VALUE})
    fetched = await site.provider.fetch(site.path("database"))
    assert {name: text for name, text in fetched.values.items() if name} == {"username": "app", "password": VALUE}
    assert fetched.version
    assert VALUE not in repr(fetched)


async def test_a_rotated_secret_has_another_version(site):
    """That is how rotation is noticed; what did not change keeps its version."""
    await site.put("token", {"token": "first-value"})
    first = await site.provider.fetch(site.path("token"))
    same = await site.provider.fetch(site.path("token"))
    await site.put("token", {"token": VALUE})
    second = await site.provider.fetch(site.path("token"))
    assert first.version == same.version != second.version
    assert second.values["token"] == VALUE


async def test_a_secret_that_is_not_there_is_missing_by_its_path(site):
    """Whoever reads it must know where to put it."""
    with pytest.raises(MissingSecret, match="no-such-secret"):
        await site.provider.fetch(site.path("no-such-secret"))


async def test_what_we_may_not_read_is_a_matter_of_configuration(site):
    """Trying again would not help, and the text names the path."""
    await site.put("denied", {"token": VALUE})
    site.deny("denied")
    with pytest.raises(NotConfigured, match="denied") as caught:
        await site.provider.fetch(site.path("denied"))
    assert VALUE not in str(caught.value)


async def test_a_provider_that_is_away_is_worth_retrying(site):
    """Sealed, restarting or unreachable: the step's retries apply."""
    await site.put("later", {"token": VALUE})
    site.leave()
    with pytest.raises(Unavailable):
        await site.provider.fetch(site.path("later"))
