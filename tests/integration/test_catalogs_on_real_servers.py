"""rb catalog against a real Git server, a real web server and a real OCI registry."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from integration.fetched import NotFetched
from integration.git_server import web
from integration.registry_server import registry

from services.cli import app

NAME = "oomkilled-increase-memory"


@pytest.fixture
def rb(monkeypatch, tmp_path, capsys):
    """A user with nothing configured, in an empty folder."""
    for name in [name for name in os.environ if name.startswith("ROOTMEND_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rootmend.yaml").write_text("runbooks: {paths: [packaged]}\n")

    def run(*words, code=0):
        assert app.main([str(word) for word in words]) == code, capsys.readouterr()
        return capsys.readouterr()

    return run


@pytest.fixture
def key(rb, tmp_path):
    """A publisher's key; gives the public one."""
    return rb("catalog", "keygen", "-o", "catalog.key").out.strip()


@pytest.fixture
def packaged(tmp_path):
    """The product's own catalog, as a folder of somebody's."""
    from services.settings import Runbooks  # noqa: PLC0415 - its place only

    (folder,) = Runbooks().folders
    return folder


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "www"
    folder.mkdir()
    with web(folder) as url:
        yield folder, url


def git(folder, *words):
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def _published(kind, rb, packaged, server):
    folder, url = server
    if kind == "archive":
        rb("catalog", "publish", packaged, "-o", folder / "c.tar.gz", "--sign", "catalog.key")
        return f"{url}/c.tar.gz"
    rb("catalog", "publish", packaged, "-o", folder / "tree", "--sign", "catalog.key")
    if kind == "index":
        return f"{url}/tree/index.json"
    git(folder / "tree", "init", "--quiet")
    git(folder / "tree", "add", ".")
    git(folder / "tree", "commit", "--quiet", "-m", "a catalog")
    git(folder, "clone", "--quiet", "--bare", "tree", "runbooks.git")
    return f"{url}/git/runbooks.git"


@pytest.mark.parametrize("kind", ["archive", "index", "git"])
def test_a_runbook_is_found_installed_and_ready_to_run(kind, rb, key, packaged, server):
    """Publish, add, search, install, validate: the whole way, by every kind of server."""
    url = _published(kind, rb, packaged, server)
    rb("catalog", "add", "team", url, "--key", key)
    assert json.loads(rb("catalog", "list", "--json").out) == [{"name": "team", "url": url, "key": key}]
    found = json.loads(rb("catalog", "search", "oom", "--json").out)
    assert NAME in {entry["id"] for entry in found}
    done = json.loads(rb("catalog", "install", NAME, "--from", "team", "--into", "mine", "--json").out)
    assert (done["id"], done["signed_by"], "runbook.yaml" in done["written"]) == (NAME, key, True)
    text = (Path("mine") / NAME / "runbook.yaml").read_text()
    assert f"# from team {url}\n" in text
    assert text.endswith((packaged / NAME / "runbook.yaml").read_text())
    rb("validate", "mine")
    assert json.loads(rb("catalog", "install", NAME, "--into", "mine", "--json").out)["written"] == []


def test_what_is_not_signed_or_not_there_is_refused_with_what_to_do(rb, key, packaged, server):
    """The way out is in the message, and nothing is written."""
    folder, url = server
    rb("catalog", "publish", packaged, "-o", folder / "c.tar.gz")
    assert "is not signed" in rb("catalog", "add", "team", f"{url}/c.tar.gz", "--key", key, code=1).err
    assert "HTTP 404" in rb("catalog", "add", "team", f"{url}/d.tar.gz", code=1).err
    assert "expected a Git repository" in rb("catalog", "add", "team", f"{url}/page.html", code=1).err
    rb("catalog", "add", "team", f"{url}/c.tar.gz", "--allow-unsigned")
    assert "is not signed" in rb("catalog", "search", "oom", code=1).err
    assert "is not signed" in rb("catalog", "install", NAME, "--into", "mine", code=1).err
    told = rb("catalog", "install", NAME, "--into", "mine", "--allow-unsigned").out
    assert "signed by nobody who is trusted" in told
    assert "did you mean" in rb("catalog", "install", NAME[:-1], "--into", "x", "--allow-unsigned", code=1).err
    assert "there is no catalog 'tean'; did you mean team" in rb("catalog", "search", "--from", "tean", code=1).err


def test_a_key_of_the_settings_counts_for_every_catalog(rb, key, packaged, server, tmp_path):
    """An installation trusts its publishers once."""
    url = _published("archive", rb, packaged, server)
    (tmp_path / "rootmend.yaml").write_text(f"catalogs: {{trusted_keys: ['{key}']}}\n")
    assert f"signed by {key}" in rb("catalog", "add", "team", url).out
    (tmp_path / "rootmend.yaml").write_text("catalogs: {trusted_keys: ['ed25519:x']}\n")
    assert "is no public key" in rb("catalog", "search", "oom", code=2).err


def test_a_file_that_was_changed_on_the_server_is_refused(rb, key, packaged, server, tmp_path):
    """The signature covers the index, the index every file."""
    folder, _ = server
    url = _published("index", rb, packaged, server)
    rb("catalog", "add", "team", url, "--key", key)
    file = folder / "tree" / NAME / "runbook.yaml"
    file.write_text(file.read_text().replace("512", "513") + " ")
    assert "checksum" in (told := rb("catalog", "install", NAME, "--into", "mine", code=1).err) or "larger" in told
    assert not (tmp_path / "mine").exists()


def test_a_catalog_goes_through_a_real_registry(rb, key, packaged, tmp_path):
    """Pushed with a tag, added, installed, and pinned by its digest; an unknown tag is told."""
    (tmp_path / "registry").mkdir()
    try:
        with registry(tmp_path / "registry") as host:
            url = f"oci://{host}/sre/runbooks:stable"
            pushed = rb("catalog", "publish", packaged, "-o", url, "--sign", "catalog.key", "--json")
            digest = json.loads(pushed.out)["digest"]
            rb("catalog", "add", "tagged", url, "--key", key)
            rb("catalog", "add", "pinned", f"oci://{host}/sre/runbooks@{digest}", "--key", key)
            for name in ("tagged", "pinned"):
                rb("catalog", "install", NAME, "--from", name, "--into", name)
                assert (tmp_path / name / NAME / "runbook.yaml").exists()
            assert "HTTP 404" in rb("catalog", "add", "x", f"oci://{host}/sre/runbooks:none", code=1).err
            assert "no OCI address" in rb("catalog", "add", "x", f"oci://{host}/UPPER", code=1).err
    except NotFetched as error:
        pytest.skip(f"no registry: {error}")
