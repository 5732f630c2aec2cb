"""The local stack as a Python API: `up`, `down`, `addresses`, `status`."""

import contextlib
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from compose import docker_engine, paths, processes
from compose.addresses import (
    Addresses,
    KafkaAddress,
    KubernetesAddress,
    Neo4jAddress,
    RedisAddress,
    write_settings,
)
from compose.errors import StackError, WrongUse
from compose.events import Event, OnEvent, ignore
from compose.paths import Folders
from compose.ports import HOST
from compose.practice import kubeconfig
from compose.servers import GROUPS, SERVERS, kubernetes, neo4j
from compose.servers.base import Site
from compose.state import StackState, exclusive, read_secrets, read_state, write_state
from compose.supervisor import Supervisor

ALL: tuple[str, ...] = tuple(GROUPS)
Engine = Literal["auto", "process", "docker"]


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """How one server is."""

    name: str
    group: str
    state: Literal["up", "silent", "down"]
    pid: int | None = None
    ports: dict[str, int] | None = None
    version: str = ""
    detail: str = ""
    wanted: bool = False
    """Whether the last `up` brought it up, so that it should be up now."""


def up(
    names: Sequence[str] = ALL,
    *,
    state: Path | None = None,
    engine: Engine = "auto",
    nodes: int = 3,
    on_event: OnEvent = ignore,
) -> Addresses:
    """Bring servers up and wait until each answers its protocol. What runs already is adopted.

    Args:
        names: Groups to bring up: redis, kafka, neo4j, cluster. The others are left as they are.
        state: The state folder; by default the nearest `.rootmend` upward from here.
        engine: `process` starts plain processes, `docker` containers; `auto` takes Docker where it answers.
        nodes: How many nodes the practice cluster has.
        on_event: Told about progress, from several threads but one at a time.

    Raises:
        StackError: Something did not come up. What did is left running, and the next `up` adopts it.
    """
    wanted = _check_names(names)
    if nodes < 1:
        raise WrongUse("A practice cluster has at least one node.", hint="Use --nodes 1 or more.")
    folders = paths.folders(state)
    listener = _Listener(on_event)
    with exclusive(folders):
        known = read_state(folders)
        chosen = docker_engine.choose(engine, running=known.engine if _anything_alive(known) else None)
        if chosen == "docker":
            try:
                return _up_containers(folders, known, wanted, nodes, listener)
            except StackError as error:
                if engine != "auto":
                    raise
                # Nobody asked for containers: an engine that cannot run them must not stand in the way.
                listener(Event("note", "docker", f"no containers ({error}): plain processes instead"))
                with contextlib.suppress(StackError):
                    docker_engine.down(folders, wipe=False, on_event=listener)
                known = StackState()
        return _up_processes(folders, known, wanted, nodes, listener)


def _up_containers(
    folders: Folders, known: StackState, wanted: Sequence[str], nodes: int, listener: "_Listener"
) -> Addresses:
    docker_engine.up(folders, known, wanted, nodes=nodes, on_event=listener)
    found = _addresses(folders, known)
    write_settings(folders, found)
    return found


def _up_processes(
    folders: Folders, known: StackState, wanted: Sequence[str], nodes: int, listener: "_Listener"
) -> Addresses:
    secrets = read_secrets(folders)
    known.engine, known.practice_id, known.docker_ports = "process", secrets.practice_id, {}
    site = Site(folders, secrets, _alive_ports(known), nodes=nodes, on_event=listener)
    failed = Supervisor(site, known, on_interrupt=listener.cancel).up(wanted)
    known.ready = [
        group
        for group in GROUPS
        if group not in failed and (group in wanted or group in known.ready) and _group_alive(known, group)
    ]
    write_state(folders, known)
    found = _addresses(folders, known)
    write_settings(folders, found)
    if failed:
        raise _combined(failed)
    return found


def down(state: Path | None = None, *, wipe: bool = False, on_event: OnEvent = ignore) -> int:
    """End every process (or container) of the stack. Returns how many there were.

    Args:
        state: The state folder.
        wipe: Also remove data, logs, passwords and the practice cluster's objects.
        on_event: Told about progress.
    """
    folders = paths.folders(state)
    if not folders.stack.is_dir():
        return 0
    with exclusive(folders):
        known = read_state(folders)
        if known.engine == "docker":
            ended = docker_engine.down(folders, wipe=wipe, on_event=on_event)
            known.engine = "process"
        else:
            site = Site(folders, read_secrets(folders), {}, on_event=on_event)
            ended = Supervisor(site, known).down()
        known.ready = []
        write_state(folders, known)
        folders.settings_file.unlink(missing_ok=True)
        if wipe:
            _wipe(folders)
    return ended


def addresses(state: Path | None = None) -> Addresses | None:
    """Where the servers of a running stack are; None when nothing is up."""
    folders = paths.folders(state)
    known = read_state(folders)
    return _addresses(folders, known) if any(_group_alive(known, group) for group in known.ready) else None


def status(state: Path | None = None) -> list[ServerStatus]:
    """Ask every server how it is, in its own protocol."""
    folders = paths.folders(state)
    known = read_state(folders)
    if known.engine == "docker":
        return [ServerStatus(**row) for row in docker_engine.status(folders, known)]
    site = Site(folders, read_secrets(folders), _alive_ports(known)) if folders.stack.is_dir() else None
    return [_status_of(site, known, group, name) for group in GROUPS for names in GROUPS[group] for name in names]


def _status_of(site: Site | None, known: StackState, group: str, name: str) -> ServerStatus:
    record, wanted = known.servers.get(name), group in known.ready
    if site is None or record is None or not processes.alive(record.process):
        return ServerStatus(name, group, "down", wanted=wanted)
    base = ServerStatus(name, group, "up", record.pid, record.ports, record.version, wanted=wanted)
    try:
        SERVERS[name].probe(site, record.pid)
    except Exception as error:  # noqa: BLE001 - every client has its own errors; all mean "no answer"
        return replace(base, state="silent", detail=f"{type(error).__name__}: {error}"[:200])
    return base


def _check_names(names: Sequence[str]) -> tuple[str, ...]:
    unknown = sorted(set(names) - set(ALL))
    if unknown:
        raise WrongUse(f"There is no {', '.join(unknown)}.", hint=f"Choose from: {', '.join(ALL)}.")
    return tuple(group for group in ALL if group in names) or ALL


def _alive_ports(known: StackState) -> dict[str, dict[str, int]]:
    return {name: record.ports for name, record in known.servers.items() if processes.alive(record.process)}


def _anything_alive(known: StackState) -> bool:
    return known.engine == "docker" or bool(_alive_ports(known))


def _group_alive(known: StackState, group: str) -> bool:
    if known.engine == "docker":
        return group in known.ready
    names = [name for line in GROUPS[group] for name in line]
    return all(name in known.servers and processes.alive(known.servers[name].process) for name in names)


def _addresses(folders: Folders, known: StackState) -> Addresses:
    secrets = read_secrets(folders)
    ports = known.docker_ports or {name: record.ports for name, record in known.servers.items()}
    site = Site(folders, secrets, ports)
    up_now = {group for group in known.ready if _group_alive(known, group)}
    return Addresses(
        state=folders.state,
        kafka=KafkaAddress(bootstrap_servers=f"{HOST}:{ports['kafka']['kafka']}") if "kafka" in up_now else None,
        neo4j=Neo4jAddress(
            uri=f"bolt://{HOST}:{ports['neo4j']['bolt']}",
            user=neo4j.USER,
            password=secrets.neo4j_password,
            browser_url=f"http://{HOST}:{ports['neo4j']['http']}{neo4j.BROWSER_PATH}",
        )
        if "neo4j" in up_now
        else None,
        redis=RedisAddress(url=f"redis://{HOST}:{ports['redis']['redis']}/0") if "redis" in up_now else None,
        kubernetes=KubernetesAddress(
            kubeconfig=kubernetes.pipeline_kubeconfig(site),
            context=kubeconfig.CONTEXT,
            practice_id=secrets.practice_id,
        )
        if "cluster" in up_now
        else None,
        admin_kubeconfig=kubernetes.admin_kubeconfig(site) if "cluster" in up_now else None,
    )


def _combined(failed: dict[str, StackError]) -> StackError:
    """One error for all that failed: the first one, naming the others."""
    first, *rest = failed.values()
    if not rest:
        return first
    others = " ".join(error.what for error in rest)
    return type(first)(f"{first.what} Also: {others}", log=first.log, hint=first.hint)


def _wipe(folders: Folders) -> None:
    for entry in folders.stack.iterdir():
        if entry.name == "lock":
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


class _Listener:
    """Passes events on one at a time, and ends the work of all threads when the command was interrupted."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._guard = threading.Lock()
        self._cancelled = False

    def cancel(self) -> None:
        """From now on whoever reports is stopped."""
        self._cancelled = True

    def __call__(self, event: Event) -> None:
        if self._cancelled:
            raise StackError("Interrupted.")
        with self._guard:
            self._on_event(event)
