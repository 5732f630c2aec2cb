"""Tokens of a real OpenID provider: what a browser gets there is who one is here."""

from __future__ import annotations

import httpx
import pytest
from fakes.pipeline_rig import NAMESPACE, TENANT, TOPICS, Rig, runbook
from integration.oidc_server import RESOURCE, new_key, run_provider

from safety.access import ActorKind, Scope
from services.access.door import Door
from services.access.errors import IdentityUnavailable, Unauthenticated
from services.access.opening import open_access, open_authenticator
from services.api.app import create_app
from services.api.guard import Guard
from services.api.runs import RunsApi
from services.api.server import ApiServer
from services.clock import SystemClock
from services.health import Health
from services.metrics import Metrics
from services.settings import load_settings

pytestmark = [pytest.mark.stack]

USERS = {
    "anna": {"name": "Anna", "groups": ["oncall-engineers"], "email": "anna@example.com", "email_verified": True},
    "eve": {"name": "anna", "groups": [], "email": "anna@example.com", "email_verified": False},
    "security-admin": {"name": "S", "groups": []},
}
ROLES = """\
roles:
  - {name: viewer, permissions: [runbooks:list]}
  - {name: operator, inherits: viewer, permissions: [runbooks:execute]}
assignments:
  - {role: operator, subjects: [{group: oncall-engineers}], scope: {namespaces: [%s]}}
  - {role: viewer, subjects: [{group: oncall-engineers}, {user: security-admin}]}
"""


@pytest.fixture(scope="module")
async def provider(tmp_path_factory):
    async with run_provider(tmp_path_factory.mktemp("provider"), USERS, new_key("first")) as running:
        yield running


def settings_for(folder, provider, **oidc):
    """Settings that trust the provider."""
    (folder / "roles.yaml").write_text(ROLES % NAMESPACE)
    given = {"issuer": provider.issuer, "audience": ["rootmend", RESOURCE], **oidc}
    return load_settings(
        None, {"access": {"roles_file": str(folder / "roles.yaml"), "oidc": given}}, env={}, cwd=folder
    )


async def test_an_id_token_and_an_access_token_of_a_real_login_are_the_user_with_the_groups(tmp_path, provider):
    """Discovery, keys, signature, issuer and audience as a real provider has them."""
    async with open_authenticator(settings_for(tmp_path, provider), SystemClock()) as authenticator:
        for resource, name in (("", "id_token"), (RESOURCE, "access_token")):
            token = (await provider.tokens("anna", resource=resource))[name]
            actor = await authenticator.actor(token)
            assert (actor.kind, actor.id, actor.groups) == (ActorKind.USER, "anna", {"oncall-engineers"})
            assert actor.claims["iss"] == provider.issuer


async def test_a_token_for_another_service_and_one_without_a_verified_address_are_refused(tmp_path, provider):
    """The same provider, the same key, the same user: not for us, or not proven."""
    async with open_authenticator(settings_for(tmp_path, provider), SystemClock()) as authenticator:
        foreign = (await provider.tokens("anna", client="another-service"))["id_token"]
        with pytest.raises(Unauthenticated, match="Audience"):
            await authenticator.actor(foreign)
    by_mail = settings_for(tmp_path, provider, user_claim="email")
    async with open_authenticator(by_mail, SystemClock()) as authenticator:
        assert (await authenticator.actor((await provider.tokens("anna"))["id_token"])).id == "anna@example.com"
        with pytest.raises(Unauthenticated, match="verified"):
            await authenticator.actor((await provider.tokens("eve"))["id_token"])


async def test_the_rest_api_lets_people_do_what_their_groups_may_and_nothing_else(tmp_path, provider):
    """From the login to the refusal, over a real socket; a display name gives nothing."""
    rig = Rig(runbook())
    settings = settings_for(tmp_path, provider)
    async with open_authenticator(settings, SystemClock()) as authenticator:
        guard = Guard(authenticator, Door(open_access(settings), Scope(TENANT, "prod")))
        runs = RunsApi(
            runbooks=lambda: {one.runbook.id: one for one in rig.runbooks},
            publisher=rig.kafka,
            topic=TOPICS.run_requests,
            ledger=rig.store,
            executions=rig.store,
            clock=rig.clock,
            guard=guard,
            tenant=TENANT,
            cluster="prod",
        )
        server = ApiServer(create_app(Health(), Metrics(), None, runs), port=0)
        await server.start()
        try:
            async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:

                async def ask(login, namespace):
                    token = (await provider.tokens(login))["id_token"]
                    return await http.post(
                        "/api/v1/runbooks/raise-memory/execute",
                        headers={"Authorization": f"Bearer {token}"},
                        json={"target": {"kind": "Deployment", "namespace": namespace, "name": "app"}},
                    )

                assert (await ask("anna", NAMESPACE)).status_code == 202
                assert (await ask("anna", "elsewhere")).status_code == 403
                refused = await ask("eve", NAMESPACE)
                assert refused.status_code == 403
                assert "lacks the permission runbooks:" in refused.json()["detail"]
                assert (await ask("security-admin", NAMESPACE)).status_code == 403
        finally:
            await server.stop()
    (message,) = rig.kafka.messages
    assert b'"requested_by":"anna"' in message.value


async def test_after_the_provider_changed_its_key_new_tokens_hold_and_while_it_is_away_nobody_new_comes_in(tmp_path):
    """Rotation as it happens: another key at the same address."""
    before, after = new_key("before"), new_key("after")
    folder = tmp_path / "log"
    folder.mkdir()
    async with run_provider(folder, USERS, before) as provider:
        settings = settings_for(tmp_path, provider)
        port = int(provider.issuer.rpartition(":")[2])
        old = (await provider.tokens("anna"))["id_token"]
        async with open_authenticator(settings, SystemClock()) as authenticator:
            assert (await authenticator.actor(old)).id == "anna"
    async with open_authenticator(settings, SystemClock()) as authenticator:
        with pytest.raises(IdentityUnavailable):
            await authenticator.actor(old)
        async with run_provider(folder, USERS, after, port) as provider:
            assert (await authenticator.actor((await provider.tokens("anna"))["id_token"])).id == "anna"
            with pytest.raises(Unauthenticated, match="a key that its issuer does not have"):
                await authenticator.actor(old)
