"""A real PostgreSQL for the tests, as a process of its own in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.fetched import NotFetched, free_port

VERSIONS = ("18", "17", "16", "15", "14")
_NOBODY = 65534


def find_postgres() -> Path:
    """The folder of ``initdb`` and ``postgres``: where Debian puts them, the PATH, or Debian's package unpacked."""
    cache = Path(os.environ.get("ROOTMEND_CACHE") or Path.home() / ".cache" / "rootmend") / "postgresql"
    for root in (Path("/"), cache):
        for version in VERSIONS:
            folder = root / "usr" / "lib" / "postgresql" / version / "bin"
            if (folder / "initdb").exists():
                return folder
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    return _from_debian(cache)


def _from_debian(cache: Path) -> Path:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise NotFetched("there is no PostgreSQL on this machine")
    cache.parent.mkdir(parents=True, exist_ok=True)
    for version in VERSIONS:
        with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
            packages = [f"postgresql-{version}", f"postgresql-client-{version}", "libpq5"]
            got = subprocess.run(["apt-get", "download", *packages], cwd=folder, capture_output=True, check=False)
            if got.returncode:
                continue
            for package in Path(folder).glob("*.deb"):
                subprocess.run(["dpkg", "-x", package, cache], check=True, capture_output=True)
            return cache / "usr" / "lib" / "postgresql" / version / "bin"
    raise NotFetched("neither this machine nor apt-get has a PostgreSQL")


@contextmanager
def run_postgres() -> Iterator[str]:
    """Start one, give its URL, and end it. Its folder is not pytest's: the server refuses root, and runs as nobody."""
    programs, port = find_postgres(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="rootmend-postgres-", dir="/tmp"))
    other = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    if other:
        os.chown(folder, _NOBODY, _NOBODY)
    library = programs.parents[3] / "lib" / f"{os.uname().machine}-linux-gnu"
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "LD_LIBRARY_PATH": str(library)}
    data = folder / "data"
    try:
        made = [programs / "initdb", "-D", data, "-U", "rootmend", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, env=env, cwd=folder, **other)
        options = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, *options], stdout=log, stderr=log, env=env, cwd=folder, **other
            )
        try:
            url = f"postgresql://rootmend@127.0.0.1:{port}/postgres"
            _until_ready(url, server, folder / "log")
            yield url
        finally:
            server.terminate()
            server.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _until_ready(url: str, server: subprocess.Popen, log: Path) -> None:
    import time  # noqa: PLC0415 - only while it starts

    import psycopg  # noqa: PLC0415 - only with a server

    for _ in range(200):
        if server.poll() is not None:
            raise NotFetched(log.read_text())
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise NotFetched(log.read_text())
