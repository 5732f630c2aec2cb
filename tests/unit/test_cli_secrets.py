"""``rb secrets``: names and whether each can be fetched, never a value."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from contextlib import contextmanager

import pytest
from fakes.secret_servers import FakeVault
from fakes.web import web

from services.cli import app

NAMES = """\
secrets:
  provider: vault
  mappings:
    - {name: adminToken, path: secret/data/admin, field: token}
    - {name: gone, path: secret/data/gone, field: token}
"""
VALUE = "the-value-of-the-admin-token"


@contextmanager
def running(server):
    """A web server in a thread of its own: the command has its own loop."""
    started, address = threading.Event(), []
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve():
        async with web(server) as one:
            address.append(one.url)
            started.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(60)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(60)
        loop.close()


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """A Vault with one of two secrets, and a variable."""
    server = FakeVault()
    server.put("admin", token=VALUE)
    (tmp_path / "names.yaml").write_text(NAMES)
    monkeypatch.setenv("ROOTMEND_SECRET_LOCAL_ONE", "the-value-of-a-variable")
    with running(server) as address:
        (tmp_path / "rootmend.yaml").write_text(
            "secrets: {file: names.yaml, vault: "
            f"{{address: '{address}', auth_method: approle, role_id: role-1, secret_id: {server.secret_id}}}}}"
        )
        yield server, ["--config", str(tmp_path / "rootmend.yaml")]


def test_names_are_listed_without_asking_anybody(installation, capsys):
    """Also while the provider is away."""
    server, options = installation
    server.sealed = True
    assert app.main([*options, "secrets", "list", "--json"]) == 0
    out = capsys.readouterr().out
    assert [(row["name"], row["provider"]) for row in json.loads(out)] == [
        ("adminToken", "vault"),
        ("gone", "vault"),
        ("local_one", "environment or folder"),
    ]
    assert server.logins == 0
    assert "the-value" not in out


def test_each_is_fetched_and_no_value_is_shown(installation, capsys):
    """Exit code 1 when one cannot be, with the reason."""
    _, options = installation
    assert app.main([*options, "secrets", "check", "--json"]) == 1
    out = capsys.readouterr().out
    rows = {row["name"]: row for row in json.loads(out)}
    assert {name: row["fetched"] for name, row in rows.items()} == {
        "adminToken": True,
        "gone": False,
        "local_one": True,
    }
    assert "nothing at secret/data/gone" in rows["gone"]["problem"]
    assert VALUE not in out
    assert app.main([*options, "secrets", "check"]) == 1
    assert VALUE not in capsys.readouterr().out


def test_a_key_that_is_none_is_told_by_the_check(tmp_path, monkeypatch, capsys):
    """Before the first prior state has to be encrypted with it."""
    monkeypatch.setenv("SEALING_KEY", base64.b64encode(b"short").decode())
    config = tmp_path / "rootmend.yaml"
    config.write_text("secrets: {encryption: {active: a, keys: {a: 'env:SEALING_KEY'}}}")
    assert app.main(["--config", str(config), "secrets", "check", "--json"]) == 1
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["provider"] == "keys"]
    assert "it has 5 bytes, and needs 32" in row["problem"]


def test_without_a_key_there_is_nothing_to_rotate(tmp_path, capsys):
    """Wrong use, and no server is asked."""
    config = tmp_path / "rootmend.yaml"
    config.write_text("kafka: {}")
    assert app.main(["--config", str(config), "secrets", "rotate-key"]) == 2
    assert "names no key" in capsys.readouterr().err


def test_mistakes_in_the_file_of_names_are_told_by_config_check(tmp_path, capsys):
    """As every mistake of the settings."""
    (tmp_path / "names.yaml").write_text(NAMES.replace("provider: vault", "provider: valut"))
    config = tmp_path / "rootmend.yaml"
    config.write_text("secrets: {file: names.yaml}")
    assert app.main(["--config", str(config), "config", "check"]) == 2
    assert "did you mean vault" in capsys.readouterr().err
