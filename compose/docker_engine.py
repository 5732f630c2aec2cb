"""The same stack in containers, where a Docker engine answers.

The containers come from `docker-compose.yml`. Tokens, keys and stages of the practice cluster are the same files that
the plain processes read, and the same probes decide when a server is up.
"""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from compose import ports
from compose.errors import EngineUnavailable, ServerFailed, WrongUse
from compose.events import Event, OnEvent
from compose.paths import Folders
from compose.practice import keys, kubeconfig, stages
from compose.servers import GROUPS, SERVERS
from compose.servers.base import Server, Site
from compose.servers.kubernetes import authority
from compose.state import StackState, read_secrets, write_private, write_state

_IN_CONTAINER = "https://kubernetes:6443"
_PUBLISHED = {
    "ROOTMEND_REDIS_PORT": ("redis", "redis"),
    "ROOTMEND_KAFKA_PORT": ("kafka", "kafka"),
    "ROOTMEND_BOLT_PORT": ("neo4j", "bolt"),
    "ROOTMEND_HTTP_PORT": ("neo4j", "http"),
    "ROOTMEND_KUBE_PORT": ("kube-apiserver", "https"),
}
_PROBED = ("redis", "kafka", "neo4j", "kube-apiserver")
"""Servers that can be asked from outside; the rest of the practice cluster shows itself in nodes that become Ready."""
_PID_IN_CONTAINER = 1
_PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class DockerAnswer:
    """Whether Docker can be used, and why not."""

    usable: bool
    version: str = ""
    reason: str = ""


def find() -> DockerAnswer:
    """Ask the Docker engine and its compose plug-in, each with little patience."""
    program = shutil.which("docker")
    if program is None:
        return DockerAnswer(usable=False, reason="there is no docker command")
    code, version = _ask([program, "version", "--format", "{{.Server.Version}}"])
    if code:
        return DockerAnswer(usable=False, reason="the docker command is there, but no engine answers")
    code, _ = _ask([program, "compose", "version", "--short"])
    if code:
        return DockerAnswer(usable=False, version=version, reason="Docker answers, but has no compose plug-in")
    return DockerAnswer(usable=True, version=version)


def _ask(argv: Sequence[str]) -> tuple[int, str]:
    try:
        said = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=5)  # noqa: S603 - fixed commands
    except (OSError, subprocess.TimeoutExpired):
        return 1, ""
    return said.returncode, said.stdout.strip()


def choose(wanted: str, *, running: str | None, answer: DockerAnswer | None = None) -> Literal["process", "docker"]:
    """Decide what runs the servers: what was forced, else what runs already, else Docker where it answers.

    Args:
        wanted: `auto`, `process` or `docker`.
        running: The engine of servers that are up now, if there are any.
        answer: What Docker said; it is asked only when that matters.
    """
    if wanted not in ("auto", "process", "docker"):
        raise WrongUse(f"There is no engine {wanted}.", hint="Choose from: auto, process, docker.")
    if running and wanted not in ("auto", running):
        raise EngineUnavailable(f"The stack runs with the engine {running}, not {wanted}.", hint="Run `rb down` first.")
    if wanted == "process" or running == "process":
        return "process"
    docker = answer or find()
    if docker.usable:
        return "docker"
    if wanted == "docker" or running == "docker":
        raise EngineUnavailable(
            f"Docker cannot be used: {docker.reason}.", hint="Start Docker, or use --engine process."
        )
    return "process"


def command(folders: Folders, *arguments: str) -> list[str]:
    """A `docker compose` command for the project of this state folder."""
    compose_file = str(files("compose") / "docker-compose.yml")
    env_file = str(folders.stack / "docker.env")
    return [
        "docker",
        "compose",
        "--env-file",
        env_file,
        "--project-name",
        project(folders),
        "-f",
        compose_file,
        *arguments,
    ]


def project(folders: Folders) -> str:
    """The name of the project: two checkouts have two stacks."""
    return f"rootmend-{hashlib.sha256(str(folders.state).encode()).hexdigest()[:8]}"


def environment(site: Site) -> dict[str, str]:
    """What `docker-compose.yml` is filled with."""
    published = {variable: str(site.ports[server][port]) for variable, (server, port) in _PUBLISHED.items()}
    return published | {
        "ROOTMEND_PROJECT": project(site.folders),
        "ROOTMEND_CONF": str(site.folders.conf),
        "ROOTMEND_USER": f"{os.getuid()}:{os.getgid()}",
        "ROOTMEND_KAFKA_CLUSTER_ID": site.secrets.kafka_cluster_id,
        "ROOTMEND_NEO4J_PASSWORD": site.secrets.neo4j_password,
    }


def site_of(folders: Folders, known: StackState, *, nodes: int = 3, on_event: OnEvent | None = None) -> Site:
    """The stack as the probes see it. The certificate of the API server is made out to `localhost` here."""
    given = dict(known.docker_ports) or _choose_ports()
    site = Site(folders, read_secrets(folders), given, nodes=nodes, api_host="localhost")
    return site if on_event is None else Site(**{**vars(site), "on_event": on_event})


def _choose_ports() -> dict[str, dict[str, int]]:
    usual = {variable: SERVERS[server].usual_ports[port] for variable, (server, port) in _PUBLISHED.items()}
    chosen = ports.choose(usual)
    given: dict[str, dict[str, int]] = {}
    for variable, (server, port) in _PUBLISHED.items():
        given.setdefault(server, {})[port] = chosen[variable]
    return given


def up(folders: Folders, known: StackState, wanted: Sequence[str], *, nodes: int, on_event: OnEvent) -> None:
    """Start containers and wait until each answers its protocol."""
    site = site_of(folders, known, nodes=nodes, on_event=on_event)
    known.engine, known.practice_id, known.docker_ports = "docker", site.secrets.practice_id, site.ports
    write_state(folders, known)
    write_private(folders.stack / "docker.env", "".join(f"{key}={value}\n" for key, value in environment(site).items()))
    _write_conf(site)
    names = [name for group in wanted for line in GROUPS[group] for name in line]
    # The API server makes its certificate first: the others need it in their kubeconfigs.
    early = [name for name in names if name not in ("kube-controller-manager", "kube-scheduler", "kwok")]
    _compose(folders, "up", "--detach", *early, on_event=on_event)
    for name in (name for name in early if name in _PROBED):
        _await(SERVERS[name], site)
        SERVERS[name].settle(site)
    if "cluster" in wanted:
        _write_access(site)
        _compose(folders, "up", "--detach", "kube-controller-manager", "kube-scheduler", "kwok", on_event=on_event)
        SERVERS["kwok"].settle(site)
    known.ready = sorted({*known.ready, *wanted})
    write_state(folders, known)


def _write_conf(site: Site) -> None:
    write_private(site.conf("tokens.csv"), keys.token_file(site.secrets))
    keys.ensure_signing_key(site.conf("service-account.key"))
    write_private(site.conf("pod.log"), stages.POD_LOG)
    write_private(site.conf("pod-last.log"), stages.LAST_LOG)
    # The paths are those inside the container.
    inside = Path("/conf")
    text = stages.text(log=inside / "pod.log", last_log=inside / "pod-last.log", exec_folder=Path("/tmp"))  # noqa: S108 # nosec
    write_private(site.conf("kwok-stages.yaml"), text)
    site.conf("pki").mkdir(exist_ok=True)


def _write_access(site: Site) -> None:
    tokens = {
        "kube-controller-manager": site.secrets.controller_manager_token,
        "kube-scheduler": site.secrets.scheduler_token,
        "kwok": site.secrets.kwok_token,
    }
    for name, token in tokens.items():
        path = site.conf(f"{name}.kubeconfig")
        kubeconfig.write(path, server=_IN_CONTAINER, authority=authority(site), token=token, context=name)


def _await(server: Server, site: Site) -> None:
    deadline, reason = time.monotonic() + _PATIENCE, ""
    while time.monotonic() < deadline:
        try:
            server.probe(site, _PID_IN_CONTAINER)
        except Exception as error:  # noqa: BLE001 - every client has its own errors; all mean "not yet"
            reason = f"{type(error).__name__}: {error}"
            time.sleep(0.5)
        else:
            site.on_event(Event("ready", server.name, "container"))
            return
    log = list(logs(site.folders, server.name, lines=15))
    raise ServerFailed(
        f"{server.name} did not answer within {_PATIENCE:.0f} s ({reason[:300]}).",
        log=log,
        hint=f"See `rb logs {server.name}`.",
    )


def _compose(folders: Folders, *arguments: str, on_event: OnEvent) -> None:
    on_event(Event("start", "docker", " ".join(arguments)))
    said = subprocess.run(command(folders, *arguments), capture_output=True, text=True, check=False)  # noqa: S603 - built above
    if said.returncode:
        raise ServerFailed(
            f"`docker compose {arguments[0]}` failed.",
            log=said.stderr.splitlines()[-15:],
            hint="If an image could not be pulled, check the network; else use --engine process.",
        )


def down(folders: Folders, *, wipe: bool, on_event: OnEvent) -> int:
    """Remove the containers, and with `wipe` their volumes. Returns how many containers ran."""
    code, running = _ask(command(folders, "ps", "--quiet"))
    if code:
        raise EngineUnavailable("Docker does not answer.", hint="Start Docker, then run `rb down` again.")
    _compose(folders, "down", *(["--volumes"] if wipe else []), on_event=on_event)
    return len(running.split())


def status(folders: Folders, known: StackState) -> Iterator[dict[str, Any]]:
    """How each container is; the probed ones are asked in their own protocol."""
    site = site_of(folders, known)
    code, running = _ask(command(folders, "ps", "--services", "--status", "running"))
    there = set(running.split()) if code == 0 else set()
    for group, lines in GROUPS.items():
        for name in (name for line in lines for name in line):
            row: dict[str, Any] = {"name": name, "group": group, "wanted": group in known.ready}
            yield row | _state_of(SERVERS[name], site, there)


def _state_of(server: Server, site: Site, there: set[str]) -> dict[str, Any]:
    if server.name not in there:
        return {"state": "down"}
    found = {"ports": site.ports.get(server.name), "version": server.version}
    if server.name in _PROBED:
        try:
            server.probe(site, _PID_IN_CONTAINER)
        except Exception as error:  # noqa: BLE001 - every client has its own errors; all mean "no answer"
            return {"state": "silent", "detail": f"{type(error).__name__}: {error}"[:200]} | found
    return {"state": "up"} | found


def logs(folders: Folders, name: str, *, lines: int, follow: bool = False) -> Iterator[str]:
    """The log of a container."""
    argv = command(folders, "logs", "--no-log-prefix", "--tail", str(lines), *(["--follow"] if follow else []), name)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:  # noqa: S603 - built above
        for line in child.stdout or ():
            yield line.rstrip("\n")
