"""Who may do what, on the real servers: tokens in the graph, service accounts, commands, and the trail."""

from __future__ import annotations

import json
import os
import pwd
from uuid import uuid4

import httpx
import pytest
import yaml
from fakes.served import mark, runbook, served

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

ADA = f"ada-{uuid4().hex[:8]}@example.com"
ROLES = {
    "roles": [
        {"name": "viewer", "permissions": ["runbooks:list", "executions:*"]},
        {"name": "operator", "inherits": "viewer", "permissions": ["runbooks:execute", "runbooks:dry-run"]},
        {"name": "responder", "inherits": "viewer", "permissions": ["approvals:respond"]},
        {"name": "lead", "inherits": ["operator", "responder"], "permissions": ["tokens:manage"]},
    ]
}


class Installation:
    """One with roles: the user of this machine is Ada, whose role is chosen by each test."""

    def __init__(self, one):
        self.one = one

    def assign(self, *assignments):
        """Write the roles file anew; commands that start later see it."""
        (self.one.folder / "roles.yaml").write_text(yaml.safe_dump({**ROLES, "assignments": list(assignments)}))

    async def rb(self, *words, token=""):
        """Run a command, as Ada or with a token."""
        self.one.environment = {"ROOTMEND_TOKEN": token} if token else {}
        return await self.one.rb(*words)

    async def ask(self, url, token, namespace="", **more):
        """Ask for the runbook over REST."""
        target = {"kind": "Deployment", "namespace": namespace, "name": "cart"} if namespace else None
        async with httpx.AsyncClient(base_url=url, timeout=60) as http:
            return await http.post(
                "/api/v1/runbooks/annotate/execute",
                headers={"Authorization": f"Bearer {token}"},
                json={"target": target, **more},
            )

    async def account_token(self, namespace, audience):
        """A token of the namespace's own service account, for an audience."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/bot/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [audience]}}
        answer = await self.one.admin._send("POST", path, "ask for a token", {}, request)
        return answer["status"]["token"]


def ada(role, **scope):
    """An assignment to Ada."""
    return {"role": role, "subjects": [{"user": ADA}], **({"scope": scope} if scope else {})}


@pytest.fixture
async def installed(stack, tmp_path):
    login = pwd.getpwuid(os.geteuid()).pw_name
    settings = {
        "access": {
            "roles_file": str(tmp_path / "roles.yaml"),
            "people": {ADA: {"os_user": login}},
            "service_accounts": {"enabled": True, "cache": "0s"},
        },
        "api": {"enabled": True, "port": 0},
    }
    async with served(stack, tmp_path, settings=settings) as one:
        one.runbook("annotate", runbook("NeverByItself", mark("touched"), id="annotate", type="maintenance"))
        yield Installation(one)
        await one.query("MATCH (t:ApiToken {scope: $name + ':'}) DELETE t")


@pytest.fixture
async def reviewing(installed):
    """The pipeline may ask the API server about tokens, for as long as the test runs."""
    name = f"reviews-{uuid4().hex[:8]}"
    group = "rbac.authorization.k8s.io"
    admin = installed.one.admin
    rules = [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]
    await admin.create({"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
    account = {"kind": "ServiceAccount", "name": "rootmend", "namespace": "rootmend-system"}
    made = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [account],
    }
    await admin.create(made)
    yield
    for kind in ("clusterrolebindings", "clusterroles"):
        await admin._send("DELETE", f"/apis/{group}/v1/{kind}/{name}", "tidy up", {}, None)


async def test_an_api_token_does_what_it_was_given_until_it_is_revoked(installed, reviewing):
    """Made once, kept as a hash, limited, ended; and a service account beside it: the API server says who it is."""
    one = installed.one
    here, elsewhere = await one.namespace(), await one.namespace()
    await one.admin.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bot", "namespace": here}}
    )
    installed.assign(ada("lead"), {"role": "viewer", "subjects": [{"service_account": f"{here}/bot"}]})
    made = await installed.rb(
        "tokens", "create", "--name", "ci", "--machine", "--role", "operator", "--namespace", here, "--json"
    )
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)
    text = token.pop("token")
    (kept,) = await one.query("MATCH (t:ApiToken {id: $id}) RETURN properties(t) AS t", id=token["id"])
    assert text not in json.dumps(kept["t"], default=str)
    assert (kept["t"]["owner"], kept["t"]["created_by"]) == ("", f"user:{ADA}")

    process = await one.serve("--role", "api")
    url = process.log("service.ready")[0]["url"]
    assert not process.log("access.open")
    taken = await installed.ask(url, text, here, dry_run=True)
    assert taken.status_code == 202, taken.text
    (request,) = await one.read("run_requests")
    assert request["requested_by"] == f"token:{token['id']}"
    for namespace in (elsewhere, ""):
        refused = await installed.ask(url, text, namespace, dry_run=True)
        assert refused.status_code == 403
        assert "lacks the permission runbooks:dry-run" in refused.json()["detail"]

    bot, foreign = await installed.account_token(here, "rootmend"), await installed.account_token(here, "somebody-else")
    async with httpx.AsyncClient(base_url=url, timeout=60) as http:
        listed = await http.get("/api/v1/runbooks", headers={"Authorization": f"Bearer {bot}"})
        assert listed.status_code == 200, listed.text
        assert (await http.get("/api/v1/runbooks", headers={"Authorization": f"Bearer {foreign}"})).status_code == 401
    assert (await installed.ask(url, bot, here, dry_run=True)).status_code == 403

    listed = json.loads((await installed.rb("tokens", "list", "--json")).stdout)
    assert [(each["id"], each["status"]) for each in listed] == [(token["id"], "active")]
    assert listed[0]["last_used_at"]
    assert (await installed.rb("tokens", "revoke", token["id"][:8], "--reason", "a test")).returncode == 0
    assert (await installed.ask(url, text, here, dry_run=True)).status_code == 401
    told = await one.query("MATCH (a:AuditEntry {subject: $id}) RETURN a.kind AS kind ORDER BY a.at", id=token["id"])
    assert {row["kind"] for row in told} == {"token.created", "token.revoked"}
    logins = await one.query(
        "MATCH (a:AuditEntry {kind: 'access.login'}) WHERE a.actor IN $actors "
        "RETURN a.actor AS actor, a.tenant AS tenant, a.facts AS facts ORDER BY a.at",
        actors=[f"token:{token['id']}", f"service_account:system:serviceaccount:{here}:bot"],
    )
    ways = [(json.loads(row["facts"])["way"], row["tenant"]) for row in logins]
    assert ways == [("API token", "_system"), ("service account", "_system")], "once for each token, not for each call"
    assert text not in json.dumps(logins)
    assert bot not in json.dumps(logins)
    denied = await one.query(
        "MATCH (a:AuditEntry {kind: 'access.denied', actor: $actor}) RETURN a.subject AS entry, a.reason AS reason",
        actor=f"token:{token['id']}",
    )
    assert [row["entry"] for row in denied] == ["POST /api/v1/runbooks/{id}/execute"] * 2
    assert all("runbooks:dry-run" in row["reason"] for row in denied)


async def test_commands_do_what_their_caller_may_and_say_what_is_missing(installed):
    """Roles of the user of this machine and of tokens; a denied try is on record, and nothing was done."""
    one = installed.one
    installed.assign(ada("viewer"))
    done = await installed.rb("pause", "--reason", "mine")
    assert done.returncode == 1
    assert f"user:{ADA} lacks the permission automation:pause" in done.stderr
    assert "roles that have it: operator, lead" in done.stderr
    assert await one.query("MATCH (p:PauseSwitch {scope: $name + ':'}) RETURN p") == []
    assert (await installed.rb("tokens", "create", "--name", "x", "--role", "viewer")).returncode == 1
    denied = await one.query(
        "MATCH (a:AuditEntry {kind: 'access.denied', actor: $actor}) RETURN a.subject AS entry", actor=f"user:{ADA}"
    )
    assert {row["entry"] for row in denied} == {"rb pause", "rb tokens create"}

    installed.assign(ada("lead", namespaces=["shop"]))
    more = await installed.rb("tokens", "create", "--name", "more", "--role", "operator")
    assert more.returncode == 1, more.stdout
    own = await installed.rb("tokens", "create", "--name", "own", "--role", "responder", "--namespace", "shop")
    assert own.returncode == 0, own.stderr
    text = own.stdout.strip()
    whoami = json.loads((await installed.rb("access", "whoami", "--json", token=text)).stdout)
    assert whoami["person"] == ADA
    assert [(role["role"], role["where"]) for role in whoami["roles"]] == [("responder", "namespaces shop")]
    assert (await installed.rb("access", "whoami", "--json", token=text)).returncode == 0
    logins = await one.query(
        "MATCH (a:AuditEntry {kind: 'access.login', actor: $actor}) RETURN a.facts AS facts", actor=whoami["actor"]
    )
    assert len(logins) == 1, "two commands within the hour are one login"
    refused = await installed.rb("pause", "--reason", "with a token", token=text)
    assert refused.returncode == 1
    assert "it is shown" not in refused.stderr
    assert text not in refused.stderr + refused.stdout
    wrong = await installed.rb("pause", "--reason", "x", token=f"{text[:-1]}_")
    assert (wrong.returncode, "not known" in wrong.stderr) == (1, True)

    installed.assign(ada("operator"))
    done = await installed.rb("pause", "--reason", "a test of roles", "--cluster", one.name, "--tenant", one.name)
    assert done.returncode == 0, done.stderr
    (row,) = await one.query("MATCH (p:PauseSwitch {scope: $name + ':'}) RETURN p.by AS by")
    assert row["by"] == ADA
    assert (await installed.rb("resume", "--cluster", one.name, "--tenant", one.name)).returncode == 1
