"""A denied try is on record; when the record is away the answer stays no."""

from __future__ import annotations

import httpx
import pytest
from fakes.recording_publisher import RecordingPublisher

from safety.access import Access, Actor, ActorKind, Denied, Scope
from safety.permissions import Permission
from safety.trail import SYSTEM, EntryKind
from services.access.authenticator import Authenticator, StaticToken
from services.access.denials import tell_denial
from services.access.door import Door
from services.api.app import create_app
from services.api.guard import Guard
from services.api.receiver import Receiver
from services.cli import app, identity
from services.health import Health
from services.metrics import Metrics

EVE = Actor(ActorKind.USER, "eve", "Eve")


class Trail:
    """A trail in memory, which can be away."""

    def __init__(self):
        self.entries = []
        self.error = None

    async def append(self, tenant, entries):
        if self.error:
            raise self.error
        self.entries += [(tenant, entry) for entry in entries]


async def test_a_denied_try_says_who_where_and_what_was_missing():
    """One entry, without any token."""
    trail = Trail()
    denied = Denied(Permission.BREAKER_RESET, Scope("acme", "prod"), str(EVE), ("lead",))
    await tell_denial(trail, "rb breaker reset", EVE, denied)
    ((tenant, entry),) = trail.entries
    assert (tenant, entry.kind, entry.subject, entry.actor) == (
        SYSTEM,
        EntryKind.DENIED,
        "rb breaker reset",
        "user:eve",
    )
    assert entry.facts == {"permission": "breaker:reset", "scope": "tenant acme, cluster prod", "person": "eve"}
    assert "roles that have it: lead" in entry.reason


@pytest.mark.parametrize("error", [None, ConnectionError("away"), TimeoutError()])
async def test_over_http_the_refusal_is_told_and_stands_also_when_the_trail_is_away(error):
    """Nobody is let in because nobody could write it down; nobody unknown fills the trail."""
    trail, publisher = Trail(), RecordingPublisher()
    trail.error = error
    guard = Guard(Authenticator([StaticToken("hers", EVE)]), Door(Access()), trail)
    application = create_app(Health(), Metrics(), Receiver(publisher, "alerts", guard))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://rootmend") as http:
        for token, status in (("hers", 403), ("nobody's", 401)):
            headers = {"Authorization": f"Bearer {token}"}
            answer = await http.post("/api/v1/alertmanager", headers=headers, json={"alerts": []})
            assert answer.status_code == status
    assert len(trail.entries) == (error is None)
    assert publisher.asked == 0


def test_on_the_command_line_the_refusal_is_told_once(monkeypatch, tmp_path, capsys):
    """Also where the command itself found out what is acted on."""
    told = []
    monkeypatch.chdir(tmp_path)
    for name in ("ROOTMEND_CONFIG", "ROOTMEND_STATE", "ROOTMEND_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "roles.yaml").write_text("roles: [{name: viewer, permissions: [runbooks:read]}]\n")
    (tmp_path / "rootmend.yaml").write_text("access: {roles_file: roles.yaml}\n")
    monkeypatch.setattr(identity, "login", lambda: "eve")
    monkeypatch.setattr(identity, "tell", told.append)
    assert app.main(["resume"]) == 1
    assert "not allowed: user:eve lacks the permission automation:resume" in capsys.readouterr().err
    (refused,) = told
    assert (refused.why.entry, refused.why.actor.key) == ("rb resume", "user:eve")
