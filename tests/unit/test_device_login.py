"""Logging in from a terminal: what a provider may answer, in any order, and what becomes of it."""

from __future__ import annotations

import os

import pytest
from fakes.world import FakeClock

from services.access.errors import IdentityUnavailable, Unauthenticated
from services.access.kept_login import BadLogin, KeptLogin, forget_login, keep_login, read_login
from services.access.login import DeviceLogin, Tokens
from services.settings_access import Oidc

ISSUER = "https://idp.example.com"
CODE = {"device_code": "d", "user_code": "WDJB", "verification_uri": f"{ISSUER}/device", "expires_in": 600}
LOGIN = KeptLogin(issuer=ISSUER, client="rb", id_token="very-id", refresh_token="very-again", expires_at=1.0)


class Provider:
    """Answers forms in order; a text is the name of an error."""

    def __init__(self, *answers, **documents):
        self.answers = list(answers)
        self.found = {
            "issuer": ISSUER,
            "device_authorization_endpoint": f"{ISSUER}/device/auth",
            "token_endpoint": f"{ISSUER}/token",
            **documents,
        }
        self.asked = []

    async def __call__(self, url):
        assert url == f"{ISSUER}/.well-known/openid-configuration"
        return self.found

    async def post(self, url, form):
        self.asked.append((url, dict(form)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return (400, {"error": answer}) if isinstance(answer, str) else answer


def device(provider, clock, scopes=("openid",)):
    return DeviceLogin(ISSUER, "rb", scopes, provider, clock)


async def test_it_waits_as_long_and_as_slowly_as_the_provider_asks_for():
    """Pending: again; slow down: five seconds more each time; away: longer; then the tokens."""
    clock, shown = FakeClock(), []
    away = IdentityUnavailable("no answer")
    given = (200, {"id_token": "i", "refresh_token": "r"})
    answers = [(200, CODE | {"interval": 3}), "authorization_pending", "slow_down", away, (502, {}), given]
    provider = Provider(*answers)
    begun = clock.monotonic()
    assert await device(provider, clock).run(shown.append) == Tokens("i", "r")
    assert clock.monotonic() - begun == 3 + 3 + 8 + 16 + 32
    assert [one.code for one in shown] == ["WDJB"]
    assert {form["device_code"] for _, form in provider.asked[1:]} == {"d"}
    assert {form["client_id"] for _, form in provider.asked} == {"rb"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("access_denied", "denied"),
        ("expired_token", "in time"),
        ("invalid_client", "login_client"),
        ("something_else", "something_else"),
    ],
)
async def test_a_no_of_the_provider_is_told_in_words(error, said):
    """Each with what to do."""
    with pytest.raises(Unauthenticated, match=said):
        await device(Provider((200, CODE), error), FakeClock()).run(lambda _: None)


async def test_a_code_that_nobody_uses_ends():
    """The terminal does not wait for ever, whatever the provider says."""
    provider = Provider((200, CODE | {"expires_in": 10**9, "interval": 10**9}), *["authorization_pending"] * 1_000)
    with pytest.raises(Unauthenticated, match="nobody logged in in time"):
        await device(provider, FakeClock()).run(lambda _: None)


@pytest.mark.parametrize(
    ("documents", "answer", "said"),
    [
        ({"issuer": "https://evil.example.com"}, (200, CODE), "calls itself"),
        ({"token_endpoint": "http://idp.example.com/token"}, (200, CODE), "token_endpoint is no https"),
        ({"device_authorization_endpoint": ""}, (200, CODE), "RFC 8628"),
        ({}, (200, CODE | {"verification_uri": "javascript:alert(1)"}), "page for the login is no https"),
        ({}, (200, CODE | {"verification_uri_complete": "file:///etc/passwd"}), "no https"),
        ({}, (200, {}), "lacks device_code"),
        ({}, (503, {}), "does not log anybody in now"),
    ],
)
async def test_a_provider_that_answers_wrongly_is_not_believed(documents, answer, said):
    """Neither is a person sent to an address of another kind, nor a code to one in clear text."""
    provider = Provider(answer, **documents)
    with pytest.raises(IdentityUnavailable, match=said):
        await device(provider, FakeClock()).run(lambda _: None)


async def test_a_login_without_an_id_token_is_none():
    """An access token says nothing of who somebody is."""
    with pytest.raises(Unauthenticated, match="openid"):
        await device(Provider((200, CODE), (200, {"access_token": "a"})), FakeClock()).run(lambda _: None)


async def test_a_renewal_keeps_the_refresh_token_where_the_provider_gives_no_other():
    """And says so when the login has ended."""
    assert await device(Provider((200, {"id_token": "n"})), FakeClock()).renew("r") == Tokens("n", "r")
    with pytest.raises(Unauthenticated, match="has ended"):
        await device(Provider("invalid_grant"), FakeClock()).renew("r")


def test_the_file_is_its_owners_and_holds_what_was_kept(tmp_path):
    """Also where another mode would be the habit of the user, and where it is written again."""
    path, habit = tmp_path / "config" / "login.json", os.umask(0)
    try:
        for _ in range(2):
            keep_login(path, LOGIN)
    finally:
        os.umask(habit)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]
    assert read_login(path) == LOGIN
    assert "very" not in repr(LOGIN)
    assert (forget_login(path), forget_login(path), read_login(path)) == (True, False, None)


def test_a_file_that_is_damaged_open_to_others_or_a_link_is_no_login(tmp_path):
    """Whoever could write it could be anybody; nothing of it is repeated."""
    path = tmp_path / "login.json"
    keep_login(path, LOGIN)
    path.chmod(0o640)
    with pytest.raises(BadLogin, match="read by others"):
        read_login(path)
    path.chmod(0o600)
    path.write_text('{"id_token": "very-secret"}')
    with pytest.raises(BadLogin, match="damaged") as caught:
        read_login(path)
    assert "very-secret" not in str(caught.value)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    with pytest.raises(BadLogin, match="cannot be read"):
        read_login(link)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"login_client": "rb"}, "audience must name login_client 'rb'"),
        ({"login_scopes": ["groups"]}, "needs openid"),
    ],
)
def test_settings_of_a_login_that_cannot_work_stop_the_start(given, said):
    """Found when the settings are read, and not by the first person who logs in."""
    with pytest.raises(ValueError, match=said):
        Oidc(issuer=ISSUER, audience=["rootmend"], **given)
