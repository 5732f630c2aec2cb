"""``rb login`` at a real OpenID provider: the terminal shows a code, a browser logs in, and ``rb`` is that person."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from integration.oidc_server import new_key, run_provider

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

USERS = {
    "anna": {"name": "Anna", "groups": ["oncall-engineers"]},
    "bert": {"name": "Bert", "groups": []},
}
ROLES = {
    "roles": [{"name": "operator", "permissions": ["runbooks:execute", "policies:read"]}],
    "assignments": [{"role": "operator", "subjects": [{"group": "oncall-engineers"}]}],
}
RB = Path(sys.executable).with_name("rb")


@pytest.fixture(scope="module")
async def provider(tmp_path_factory):
    async with run_provider(tmp_path_factory.mktemp("provider"), USERS, new_key("first")) as running:
        yield running


class Site:
    """The settings of a person, and their own configuration folder."""

    def __init__(self, folder, provider, **oidc):
        self.folder = folder
        self.provider = provider
        (folder / "roles.yaml").write_text(yaml.safe_dump(ROLES))
        given = {"issuer": provider.issuer, "audience": ["rootmend"], "login_client": "rootmend", **oidc}
        access = {"roles_file": str(folder / "roles.yaml"), "cli": "token", "oidc": given}
        self.file = folder / "rootmend.yaml"
        self.file.write_text(yaml.safe_dump({"access": access}))
        self.kept = folder / "config" / "rootmend" / "login.json"

    def environment(self):
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "NO_COLOR": "1",
        }

    async def start(self, *words):
        return await asyncio.create_subprocess_exec(
            RB, "--config", self.file, *words, cwd=self.folder, env=self.environment(),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def rb(self, *words):
        process = await self.start(*words)
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()

    @asynccontextmanager
    async def logging_in(self):
        """A terminal that waits, with the page and the code that it shows."""
        process = await self.start("login")
        try:
            said = ""
            while not (shown := re.search(r"open +(\S+)\nand type in +(\S+)\n", said)):
                line = await process.stderr.readline()
                assert line, said
                said += line.decode()
            yield process, shown[1], shown[2]
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def holds_login(self, login):
        """As after a login, without waiting for one: the token is the provider's own."""
        token = (await self.provider.tokens(login))["id_token"]
        self.keep({"issuer": self.provider.issuer, "client": "rootmend", "id_token": token, "expires_at": 4e9})
        return token

    def keep(self, told):
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        self.kept.touch(mode=0o600)
        self.kept.write_text(json.dumps(told))

    async def log_in(self, login):
        async with self.logging_in() as (process, page, code):
            assert "success" in (await self.provider.log_in_on_a_device(page, code, login)).lower()
            out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()


async def test_who_logs_in_with_a_browser_is_who_rb_acts_for(tmp_path, provider):
    """Before: nobody. Then the person with the groups of the provider, and after a logout nobody again."""
    site = Site(tmp_path, provider)
    code, _, err = await site.rb("whoami")
    assert (code, "rb login or ROOTMEND_TOKEN" in err) == (2, True)
    assert "anna" in await site.log_in("anna")
    code, out, err = await site.rb("whoami", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["person"], told["groups"], told["permissions"]) == (
        "anna", ["oncall-engineers"], ["automation:pause", "autonomy:demote", "policies:read", "runbooks:execute"]
    )  # fmt: skip
    assert told["through"] == f"rb login at {provider.issuer}"
    assert stat.S_IMODE(site.kept.stat().st_mode) == 0o600
    code, out, _ = await site.rb("logout")
    assert (code, out, site.kept.exists()) == (0, "logged out\n", False)
    assert (await site.rb("whoami"))[0] == 2


async def test_the_token_of_a_login_is_for_its_owners_eyes_only(tmp_path, provider):
    """Printed for calls of the REST API when asked for; where others could read its file, it counts for nothing."""
    site = Site(tmp_path, provider)
    token = await site.holds_login("anna")
    code, out, _ = await site.rb("login", "--token")
    assert (code, out.strip()) == (0, token)
    site.kept.chmod(0o644)
    code, _, err = await site.rb("whoami")
    assert (code, "can be read by others" in err) == (2, True)
    assert token not in err


async def test_without_a_right_a_login_is_refused_with_what_is_missing(tmp_path, provider):
    """Who somebody is says nothing of what they may do."""
    site = Site(tmp_path, provider)
    await site.holds_login("bert")
    code, _, err = await site.rb("policy", "explain", "--runbook", "x", "--namespace", "shop")
    assert code == 1
    assert "not allowed" in err
    assert "policies:read" in err


async def test_a_login_that_is_denied_is_none(tmp_path, provider):
    """The person at the browser did not begin it."""
    site = Site(tmp_path, provider)
    async with site.logging_in() as (process, page, code):
        await provider.log_in_on_a_device(page, code, "anna", deny=True)
        _, err = await process.communicate()
    assert process.returncode == 1
    assert "the login was denied" in err.decode()
    assert not site.kept.exists()


async def test_a_login_is_renewed_until_it_is_ended_at_the_provider(tmp_path, provider):
    """With offline_access: a token that has ended is replaced without a person; a logout ends that, too."""
    site = Site(tmp_path, provider, login_scopes=["openid", "groups", "offline_access"])
    await site.log_in("anna")
    before = json.loads(site.kept.read_text())
    site.keep({**before, "expires_at": 0})
    results = await asyncio.gather(*(site.rb("whoami", "--json") for _ in range(2)))
    assert [(code, json.loads(out)["person"]) for code, out, _ in results] == [(0, "anna")] * 2
    after = json.loads(site.kept.read_text())
    assert after["expires_at"] > 0
    assert (await site.rb("logout"))[:2] == (0, "logged out\n")
    async with httpx.AsyncClient(timeout=30) as http:
        form = {"grant_type": "refresh_token", "client_id": "rootmend", "refresh_token": after["refresh_token"]}
        answer = await http.post(f"{provider.issuer}/token", data=form)
    assert answer.json()["error"] == "invalid_grant"


async def test_a_login_that_has_ended_does_not_fall_back_to_the_user_of_the_machine(tmp_path, provider):
    """Somebody who was anna a moment ago is not quietly root now."""
    site = Site(tmp_path, provider)
    await site.holds_login("anna")
    settings = yaml.safe_load(site.file.read_text())
    settings["access"]["cli"] = "trusted"
    site.file.write_text(yaml.safe_dump(settings))
    site.keep({**json.loads(site.kept.read_text()), "expires_at": 0})
    code, _, err = await site.rb("whoami")
    assert (code, "your login has ended" in err) == (1, True)
    assert (await site.rb("logout"))[0] == 0
    assert (await site.rb("whoami"))[0] == 0
