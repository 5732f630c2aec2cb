"""Secrets by name: from their provider and from nowhere else, for a short time in memory, anew after a refusal."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.engine import bench, run, write
from fakes.secret_servers import FakeVault
from fakes.web import web
from fakes.world import FakeClock, FakeWorld
from structlog.testing import capture_logs

from executor.actions.calling import Call, call
from executor.errors import MissingSecret, NotConfigured, StepFailed, Unavailable
from executor.model import StepStatus
from services.config_files import ConfigError
from services.masking import Masker
from services.metrics import Metrics
from services.secrets.configured import configured_secrets
from services.secrets.local import SecretProvider
from services.secrets.make import make_secrets
from services.secrets.model import Fetched, Place
from services.secrets.naming import Rotation, read_secrets_file
from services.secrets.rotation import RotationWatch
from services.secrets.store import SecretStore
from services.secrets.vault import VaultAddress, VaultSecrets, approle_login, kubernetes_login
from services.settings import load_settings
from services.settings_secrets import SecretSources

EXAMPLE = """\
secrets:
  provider: vault
  vault: {address: "https://vault.example.com:8200", authMethod: kubernetes, role: runbooks}
  mappings:
    - {name: adminToken, path: secret/data/admin, field: token}
    - {name: database, path: secret/data/db, fields: [username, password]}
rotation: {enabled: true, checkInterval: 1h, alertOnExpiringSoon: 7d}
"""


class Shelf:
    """A provider in memory.

    Attributes:
        error: raised instead of an answer.
        gate: asked for before each answer, so that a test decides when it comes.
    """

    name = "vault"

    def __init__(self, **secrets):
        self.secrets = {path.replace("_", "/"): fields for path, fields in secrets.items()}
        self.asked = []
        self.versions = {}
        self.expires = None
        self.error = None
        self.gate = None

    async def fetch(self, path):
        self.asked.append(path)
        if self.gate:
            await self.gate.wait()
        if self.error:
            raise self.error
        return Fetched(self.secrets[path], str(self.versions.get(path, 1)), self.expires)

    async def close(self):
        """Nothing is open."""


def store_of(shelf, clock=None, ttl=30.0, environment=None, on_read=lambda _: None):
    places = [
        Place("adminToken", "vault", "secret/data/admin", "token"),
        Place("database.username", "vault", "secret/data/db", "username"),
        Place("database.password", "vault", "secret/data/db", "password"),
    ]
    local = SecretProvider(environment or {}, on_read=on_read)
    named = {place.name: place for place in places}
    return SecretStore(local, named, {"vault": shelf}, clock or FakeClock(), ttl_seconds=ttl, on_read=on_read)


def shelf_of(**more):
    shelf = Shelf(
        secret_data_admin={"token": "first-value"}, secret_data_db={"username": "app", "password": "pw-of-app"}
    )
    for name, value in more.items():
        setattr(shelf, name, value)
    return shelf


async def test_a_fetched_secret_is_kept_for_a_short_time_only():
    """Steps of one moment share an answer; a minute later it may be another."""
    shelf, clock = shelf_of(), FakeClock()
    store = store_of(shelf, clock)
    assert [await store.get("adminToken") for _ in range(3)] == ["first-value"] * 3
    assert len(shelf.asked) == 1
    shelf.secrets["secret/data/admin"] = {"token": "second-value"}
    await clock.sleep(31)
    assert await store.get("adminToken") == "second-value"


async def test_nothing_is_kept_when_the_settings_say_so():
    """``ttl: 0s``."""
    shelf = shelf_of()
    store = store_of(shelf, ttl=0)
    assert [await store.get("adminToken") for _ in range(2)] == ["first-value"] * 2
    assert len(shelf.asked) == 2


async def test_many_steps_at_once_ask_once_and_a_cancelled_one_takes_nothing_from_the_others():
    """A storm must not become one of the provider."""
    shelf = shelf_of(gate=asyncio.Event())
    store = store_of(shelf)
    steps = [asyncio.create_task(store.get(f"database.{field}")) for field in ("username", "password", "password")]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    steps[0].cancel()
    shelf.gate.set()
    results = await asyncio.gather(*steps, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == ["pw-of-app", "pw-of-app"]
    assert shelf.asked == ["secret/data/db"]


async def test_a_mapped_secret_comes_from_its_provider_and_from_nowhere_else():
    """An old variable of the same name must not stand in for a secret that was taken away."""
    shelf = shelf_of(error=MissingSecret("nothing at secret/data/admin"))
    store = store_of(shelf, environment={"ROOTMEND_SECRET_ADMINTOKEN": "stale", "ROOTMEND_SECRET_OTHER": "mine"})
    with pytest.raises(MissingSecret, match="'adminToken' cannot be fetched: nothing at"):
        await store.get("adminToken")
    assert await store.get("other") == "mine"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("adminTokn", "did you mean adminToken"),
        ("database", r"several fields: say database\.username, database\.password"),
        ("nothing-like-it", "there is no secret"),
    ],
)
async def test_a_name_that_means_nothing_is_told_with_the_nearest(name, told):
    """Typing errors are the usual cause."""
    with pytest.raises(MissingSecret, match=told):
        await store_of(shelf_of()).get(name)


async def test_a_missing_field_names_secret_and_provider_and_no_value():
    """The other fields of the secret are nobody's business."""
    shelf = shelf_of()
    shelf.secrets["secret/data/admin"] = {"tokn": "value-of-the-other-field"}
    with pytest.raises(
        MissingSecret, match=r"'adminToken' is missing: vault has no field 'token'.*did you mean tokn"
    ) as e:
        await store_of(shelf).get("adminToken")
    assert "value-of" not in str(e.value)


async def test_every_field_is_masked_from_the_moment_it_is_fetched():
    """Also those that nobody asked for: a server may repeat them."""
    masker = Masker()
    await store_of(shelf_of(), on_read=masker.register).get("database.username")
    assert masker.text("FATAL: pw-of-app") == "FATAL: ***"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_target_that_refuses_a_secret_has_it_fetched_anew(status):
    """It was rotated while it was kept; the next try must not fail for the same reason."""
    shelf, fake = shelf_of(), FakeWorld()
    store = store_of(shelf)
    fake.secrets = store
    fake.http.answers = [(status, "no"), (200, "yes")]
    wanted = Call("GET", "https://api.example/x", {"Authorization": "Bearer __secret:adminToken__"})
    with pytest.raises(StepFailed, match=str(status)):
        await call(wanted, "", fake.ports)
    shelf.secrets["secret/data/admin"] = {"token": "second-value"}
    assert (await call(wanted, "", fake.ports)).status == 200
    assert fake.http.requests[-1].headers["Authorization"] == "Bearer second-value"


# The step


class Failing:
    """Secrets whose provider has a problem for the first so many questions."""

    def __init__(self, error, times=1000):
        self.error = error
        self.left = times

    async def get(self, name):
        if self.left > 0:
            self.left -= 1
            raise self.error
        return "the-value"

    def forget(self, names):
        """Nothing is kept."""


async def run_with(secrets):
    made = bench()
    made.world = replace(made.world, secrets=secrets)
    return made, await run(made, {"steps": [write("memory", "{{ secrets.adminToken }}")]})


async def test_a_missing_secret_fails_the_step_before_anything_is_sent():
    """Not half of the calls, and the error names the secret and its provider."""
    error = MissingSecret("the secret 'adminToken' cannot be fetched: Vault has nothing at secret/data/admin")
    made, done = await run_with(Failing(error))
    assert made.tiny.values == bench().tiny.values
    (step,) = [one for one in done.steps if one.phase == "step"]
    assert (step.status, step.before) == (StepStatus.FAILED, None)
    assert "'adminToken'" in step.error
    assert "Vault" in step.error


async def test_a_provider_that_is_away_leaves_nothing_in_doubt():
    """It is met before the intent: the step fails for sure, and no human has to find out what happened."""
    made, done = await run_with(Failing(Unavailable("Vault is sealed")))
    (step,) = [one for one in done.steps if one.phase == "step"]
    assert step.status is StepStatus.FAILED
    assert made.tiny.values == bench().tiny.values
    assert "Vault is sealed" in step.error


async def test_a_provider_that_comes_back_is_asked_again():
    """By the step's own retries."""
    _, done = await run_with(Failing(Unavailable("Vault is sealed"), times=1))
    assert [one.status for one in done.steps if one.phase == "step"] == [StepStatus.SUCCEEDED]


# The watch


def watch_of(shelf, clock):
    metrics = Metrics()
    rotation = Rotation(enabled=True, check_interval=timedelta(hours=1), alert_on_expiring_soon=timedelta(days=7))
    return RotationWatch(store_of(shelf, clock), rotation, clock, metrics.event), metrics


async def test_a_rotation_is_noticed_at_the_next_look_and_used_at_once():
    """Logged and counted by name; what was kept is dropped."""
    shelf, clock = shelf_of(), FakeClock()
    watch, metrics = watch_of(shelf, clock)
    await watch.sweep()
    shelf.versions["secret/data/admin"], shelf.secrets["secret/data/admin"] = 2, {"token": "second-value"}
    await watch.sweep()
    assert len(shelf.asked) == 3  # it is not time yet
    await clock.sleep(3601)
    with capture_logs() as lines:
        await watch.sweep()
    assert [line["secret_name"] for line in lines if line["event"] == "secret.rotated"] == ["adminToken"]
    page = metrics.render().decode()
    assert 'rootmend_secret_rotations_total{secret="adminToken"} 1.0' in page
    assert 'rootmend_secret_rotations_total{secret="database.password"} 0.0' in page
    assert "second-value" not in page + str(lines)
    assert await watch._store.get("adminToken") == "second-value"


@pytest.mark.parametrize(("days", "told"), [(6, True), (8, False), (-1, True)])
async def test_a_secret_that_runs_out_soon_is_told_of(days, told):
    """A week before, as the file says; one that has run out as well."""
    clock = FakeClock()
    shelf = shelf_of(expires=clock.now() + timedelta(days=days))
    watch, metrics = watch_of(shelf, clock)
    with capture_logs() as lines:
        await watch.sweep()
    assert any(line["event"] == "secret.expiring" for line in lines) is told
    assert f'rootmend_secret_expires_seconds{{secret="adminToken"}} {days * 86_400.0}' in metrics.render().decode()


async def test_a_secret_that_cannot_be_fetched_is_told_of_and_the_others_are_looked_at():
    """Before a step needs it at night."""
    shelf = shelf_of(error=Unavailable("sealed"))
    watch, metrics = watch_of(shelf, FakeClock())
    with capture_logs() as lines:
        await watch.sweep()
    assert len([line for line in lines if line["event"] == "secret.unreadable"]) == 3
    assert 'rootmend_secret_readable{secret="adminToken"} 0.0' in metrics.render().decode()


# Vault


async def test_a_revoked_token_of_vault_is_renewed_without_the_step_noticing():
    """One new login, and the token of before is asked for no more."""
    server = FakeVault()
    server.put("admin", token="the-value")
    async with web(server) as address:
        login = approle_login(server.role_id, server.secret_id)
        vault = VaultSecrets(VaultAddress(address.url), login, FakeClock())
        await asyncio.gather(*(vault.fetch("secret/data/admin") for _ in range(5)))
        assert server.logins == 1
        server.revoke()
        assert (await vault.fetch("secret/data/admin")).values == {"token": "the-value"}
        assert server.logins == 2
        await vault.close()


async def test_a_token_of_vault_is_renewed_before_it_ends():
    """One that ends under way would cost a step."""
    server, clock = FakeVault(life=100), FakeClock()
    server.put("admin", token="the-value")
    async with web(server) as address:
        vault = VaultSecrets(VaultAddress(address.url), approle_login(server.role_id, server.secret_id), clock)
        await vault.fetch("secret/data/admin")
        await clock.sleep(91)
        await vault.fetch("secret/data/admin")
        assert server.logins == 2
        await vault.close()


async def test_credentials_of_the_login_and_the_token_are_masked(tmp_path):
    """They open more than any one secret."""
    server, masker = FakeVault(), Masker()
    server.put("admin", token="the-value")
    (tmp_path / "jwt").write_text(server.jwt)
    async with web(server) as address:
        login = kubernetes_login(server.role, tmp_path / "jwt")
        vault = VaultSecrets(VaultAddress(address.url), login, FakeClock(), masker.register)
        await vault.fetch("secret/data/admin")
        await vault.close()
    assert masker.text(f"{server.jwt} {next(iter(server.tokens))}") == "*** ***"


@pytest.mark.parametrize("wrong", [{"role": "another"}, {"jwt": "another"}])
async def test_a_login_that_vault_refuses_is_a_matter_of_configuration(wrong, tmp_path):
    """Trying again would lock the account."""
    server = FakeVault()
    given = {"role": server.role, "jwt": server.jwt, **wrong}
    (tmp_path / "jwt").write_text(given["jwt"])
    async with web(server) as address:
        vault = VaultSecrets(VaultAddress(address.url), kubernetes_login(given["role"], tmp_path / "jwt"), FakeClock())
        with pytest.raises(NotConfigured, match=r"refuses the login at auth/kubernetes/login.*secrets\.vault"):
            await vault.fetch("secret/data/admin")
        await vault.close()


async def test_vault_says_when_a_version_ends():
    """By ``delete_version_after``, or by what its owners noted."""
    server = FakeVault()
    server.put("admin", token="the-value")
    server.metadata["admin"] = {
        "deletion_time": "2026-12-01T10:00:00.123456789Z",
        "custom_metadata": {"expires_at": "2026-11-30"},
    }
    async with web(server) as address:
        vault = VaultSecrets(VaultAddress(address.url), approle_login(server.role_id, server.secret_id), FakeClock())
        fetched = await vault.fetch("secret/data/admin")
        await vault.close()
    assert fetched.expires_at == datetime(2026, 11, 30, tzinfo=UTC)


# The file and the settings


def test_the_example_of_the_guide_names_its_secrets(tmp_path):
    """One with a field, several with fields."""
    (tmp_path / "s.yaml").write_text(EXAMPLE)
    places = read_secrets_file(tmp_path / "s.yaml").places
    assert {name: (place.path, place.field) for name, place in places.items()} == {
        "adminToken": ("secret/data/admin", "token"),
        "database.username": ("secret/data/db", "username"),
        "database.password": ("secret/data/db", "password"),
    }


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("provider: vault", "provider: valut", r"s\.yaml:2:3.*'valut' is not known; did you mean vault"),
        ("authMethod", "authMetod", "unknown key secrets.vault.authMetod; did you mean authMethod"),
        ("checkInterval: 1h", "checkInterval: soon", r"s\.yaml:7:.*rotation\.checkInterval"),
        ("secret/data/admin", "secret/admin", r"s\.yaml:5:.*MOUNT/data/PATH; did you mean secret/data/admin"),
        ("secret/data/admin", "secret/data/../../sys", "is no path"),
        ("name: database", "name: adminToken", r"s\.yaml:6:.*adminToken is mapped twice"),
        ("https:", "http:", "secrets are not sent in clear text"),
        (", field: token", "", "adminToken: expected field or fields"),
        ("name: adminToken", "name: 'admin token'", "is not the name of a secret"),
    ],
)
def test_mistakes_in_the_file_are_told_with_their_place(tmp_path, old, new, told):
    """And stop the start, instead of the first step that needs the secret."""
    (tmp_path / "s.yaml").write_text(EXAMPLE.replace(old, new, 1))
    with pytest.raises(ConfigError, match=told):
        read_secrets_file(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("role: runbooks", "role: ''", r"needs secrets\.vault\.role"),
        ("authMethod: kubernetes", "authMethod: approle", "approle needs secrets.vault.role_id"),
        ('address: "https://vault.example.com:8200", ', "", "vault needs an address"),
        ("provider: vault", "provider: aws-secrets-manager", r"needs secrets\.aws\.region"),
    ],
)
def test_what_the_file_lacks_and_the_settings_do_not_give_stops_the_start(tmp_path, old, new, told):
    """Each provider is complete, or nothing begins."""
    (tmp_path / "s.yaml").write_text(EXAMPLE.replace(old, new, 1))
    with pytest.raises(ConfigError, match=told):
        make_secrets(SecretSources(file=tmp_path / "s.yaml"), {}, FakeClock(), lambda _: None)


async def test_settings_win_over_the_file_and_paths_are_relative_to_the_settings(tmp_path):
    """One file of names serves several installations."""
    server = FakeVault()
    server.put("admin", token="the-value")
    (tmp_path / "s.yaml").write_text(EXAMPLE)
    (tmp_path / "id").write_text(server.secret_id)
    async with web(server) as address:
        config = tmp_path / "rootmend.yaml"
        config.write_text(
            f"secrets: {{file: s.yaml, vault: {{address: '{address.url}', auth_method: approle, role_id: role-1, "
            "secret_id_file: id}}"
        )
        settings = load_settings(config, env={}, cwd=Path("/"))
        store = make_secrets(settings.secrets, {}, FakeClock(), lambda _: None).store
        assert await store.get("adminToken") == "the-value"
        await store.close()


def test_every_secret_of_the_settings_is_known_to_the_masker():
    """Declared ones, and those in settings that are passed on as they are."""
    settings = load_settings(
        env={
            "ROOTMEND_NEO4J__PASSWORD": "neo4j-password",
            "ROOTMEND_KAFKA__CLIENT": '{"sasl.password": "kafka-password", "sasl.username": "me"}',
            "ROOTMEND_TEAMS__WEBHOOKS": '{"default": "https://teams.example/hook"}',
        },
        cwd=Path("/"),
    )
    found = set(configured_secrets(settings))
    assert {"neo4j-password", "kafka-password", "https://teams.example/hook"} <= found
    assert "me" not in found


def test_a_word_to_choose_is_no_secret_whatever_it_stands_beside():
    """The first rung of a runbook named ...-credentials: masked, the word `approve` would be gone from everything."""
    rungs = '{"renew-credentials": "approve", "rotate-token": "auto"}'
    settings = load_settings(env={"ROOTMEND_AUTONOMY__RUNBOOKS": rungs}, cwd=Path("/"))
    assert not {"approve", "auto"} & set(configured_secrets(settings))
