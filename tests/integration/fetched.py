"""Server programs for tests: from the PATH, the cache of the user, Debian's package unpacked without root, or Go."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


class NotFetched(Exception):
    """None of the ways to get a program worked."""


@dataclass(frozen=True)
class Program:
    """A program and where it can come from."""

    name: str
    package: str
    go_module: str


def find_program(wanted: Program) -> Path:
    """The path of a program; fetched once and kept."""
    for name in (wanted.package, wanted.name):
        if found := shutil.which(name):
            return Path(found)
    cache = Path(os.environ.get("ROOTMEND_CACHE") or Path.home() / ".cache" / "rootmend")
    home = cache / wanted.package
    if not (home / wanted.name).exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            made = Path(folder) / "made"
            made.mkdir()
            if not (_from_debian(wanted, Path(folder), made) or _from_go(wanted, made)):
                raise NotFetched(f"neither apt-get download {wanted.package} nor go install {wanted.go_module} worked")
            with suppress(OSError):  # another run was quicker
                made.rename(home)
    return home / wanted.name


def _from_debian(wanted: Program, folder: Path, made: Path) -> bool:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return False
    with suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired, ValueError):
        subprocess.run(
            ["apt-get", "download", wanted.package], cwd=folder, check=True, capture_output=True, timeout=120
        )
        (package,) = folder.glob("*.deb")
        subprocess.run(["dpkg", "-x", package, folder / "root"], check=True, capture_output=True, timeout=60)
        shutil.copy2(folder / "root" / "usr" / "bin" / wanted.package, made / wanted.name)
        subprocess.run([made / wanted.name, "--version"], check=True, capture_output=True, timeout=30)
        return True
    return False


def _from_go(wanted: Program, made: Path) -> bool:
    if not shutil.which("go"):
        return False
    env = {**os.environ, "GOBIN": str(made), "GOFLAGS": "-buildvcs=false"}
    with suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
        subprocess.run(["go", "install", wanted.go_module], env=env, check=True, capture_output=True, timeout=1200)
        return True
    return False


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
