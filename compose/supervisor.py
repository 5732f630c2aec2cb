"""Bring servers up and down: adopt what runs and answers, restart what is dead, clean what is broken."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from compose import ports, processes
from compose.errors import ServerFailed, StackError
from compose.events import Event
from compose.processes import ProcessId
from compose.servers import GROUPS, SERVERS
from compose.servers.base import Launch, Server, Site
from compose.state import ServerRecord, StackState, write_state

_TRIES = 3
_GRACE = {"kube-apiserver": 3.0}
"""Seconds to end in, where fewer than usual do: the API server waits for watches that its clients never close."""


class Supervisor:
    """Works on the servers of one stack. The caller holds the lock of the stack."""

    def __init__(self, site: Site, state: StackState, *, on_interrupt: Callable[[], None] = lambda: None) -> None:
        self._site = site
        self._state = state
        self._guard = threading.Lock()
        self._interrupted = threading.Event()
        self._on_interrupt = on_interrupt

    def up(self, groups: Sequence[str]) -> dict[str, StackError]:
        """Bring groups up side by side. Returns what went wrong, by group; the others are up."""
        self.clean_strays()
        self._choose_ports(groups)
        failed: dict[str, StackError] = {}
        with ThreadPoolExecutor(len(groups), thread_name_prefix="up") as pool:
            running = {group: pool.submit(self._bring_group, group) for group in groups}
            try:
                for group, future in running.items():
                    try:
                        future.result()
                    except StackError as error:
                        failed[group] = error
            except KeyboardInterrupt:
                # Before the pool is left, which waits for its threads: they must hear of it to end.
                self._interrupted.set()
                self._on_interrupt()
                raise
        return failed

    def _bring_group(self, group: str) -> None:
        for names in GROUPS[group]:
            # Builds and downloads first and one after the other: they share a lock and the network anyway.
            for name in names:
                SERVERS[name].prepare(self._site)
        for names in GROUPS[group]:
            with ThreadPoolExecutor(len(names)) as pool:
                for done in [pool.submit(self._bring, SERVERS[name]) for name in names]:
                    done.result()

    def _bring(self, server: Server) -> None:
        launch = server.launch(self._site)
        if not self._adopt(server, launch):
            if not self._ports_free(server):
                # Chosen before programs were built or downloaded, which takes minutes; somebody else came first.
                launch = self._elsewhere(server)
            self._start(server, launch)
        server.settle(self._site)

    def _adopt(self, server: Server, launch: Launch) -> bool:
        record = self._state.servers.get(server.name)
        if record is None or not processes.alive(record.process):
            return False
        why = "was started with other settings, starts again"
        if record.fingerprint == launch.fingerprint():
            why = "ran but did not answer, starts again"
            try:
                self._await_answer(server, record.process, min(server.patience, 15))
            except ServerFailed:
                pass
            else:
                self._tell("adopted", server.name, f"pid {record.pid}")
                return True
        self._tell("cleaned", server.name, why)
        processes.stop([record.process], grace=_GRACE.get(server.name, 20.0))
        return False

    def _start(self, server: Server, launch: Launch) -> None:
        for attempt in range(1, _TRIES + 1):
            process = self._spawn(server, launch)
            try:
                self._await_answer(server, process, server.patience)
            except ServerFailed:
                processes.stop([process], grace=5)
                # Somebody may have taken a port between its choice and its use: choose again. Else it is broken.
                if attempt == _TRIES or self._ports_free(server):
                    raise
                launch = self._elsewhere(server)
            else:
                self._tell("ready", server.name, _addresses(self._site.ports[server.name]))
                return

    def _ports_free(self, server: Server) -> bool:
        return all(map(ports.is_free, self._site.ports[server.name].values()))

    def _elsewhere(self, server: Server) -> Launch:
        """The server, to be started on other ports."""
        self._site.ports[server.name] = ports.choose(server.usual_ports, self._used_ports())
        return server.launch(self._site)

    def _spawn(self, server: Server, launch: Launch) -> ProcessId:
        self._tell("start", server.name)
        process = processes.spawn(
            launch.argv,
            log=self._site.folders.log(server.name),
            cwd=self._site.folders.stack,
            stack=self._site.folders.stack,
            server=server.name,
            env=launch.env,
        )
        record = ServerRecord(
            pid=process.pid,
            started=process.started,
            ports=self._site.ports[server.name],
            fingerprint=launch.fingerprint(),
            version=server.version,
        )
        with self._guard:
            self._state.servers[server.name] = record
            write_state(self._site.folders, self._state)
        return process

    def _await_answer(self, server: Server, process: ProcessId, patience: float) -> None:
        deadline, pause, reason = time.monotonic() + patience, 0.05, "it was not asked"
        while True:
            try:
                server.probe(self._site, process.pid)
            except Exception as error:  # noqa: BLE001 - every client has its own errors; all mean "not yet"
                reason = f"{type(error).__name__}: {error}"
            else:
                # Another server of its kind may answer on a port that this one is just about to be refused.
                reason = "something else answers on its port"
                if processes.alive(process) and self._listens(server, process):
                    return
            if not processes.alive(process):
                raise self._failed(server, "ended right after its start")
            if self._interrupted.is_set() or time.monotonic() > deadline:
                raise self._failed(server, f"did not answer within {patience:.0f} s ({reason[:300]})")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def _listens(self, server: Server, process: ProcessId) -> bool:
        return all(ports.is_listened_to_by(process.pid, port) for port in self._site.ports[server.name].values())

    def _failed(self, server: Server, what: str) -> ServerFailed:
        log = self._site.folders.log(server.name)
        return ServerFailed(
            f"{server.name} {what}.",
            log=tail(log.read_text(encoding="utf-8", errors="replace").splitlines()) if log.is_file() else (),
            hint=f"See `rb logs {server.name}`. If its data is damaged: `rb down --wipe`, then `rb up`.",
        )

    def _choose_ports(self, groups: Iterable[str]) -> None:
        """Running servers keep their ports, stopped ones get theirs back if they are free, new ones the usual."""
        for group in groups:
            for names in GROUPS[group]:
                for name in names:
                    self._site.ports.setdefault(name, self._ports_of(name))

    def _ports_of(self, name: str) -> dict[str, int]:
        record, usual = self._state.servers.get(name), SERVERS[name].usual_ports
        if record and set(record.ports) == set(usual):
            if processes.alive(record.process):
                return record.ports
            usual = record.ports
        return ports.choose(usual, self._used_ports())

    def _used_ports(self) -> set[int]:
        """Ports that this stack has given away, whether or not their servers listen already."""
        running = (record.ports for record in self._state.servers.values() if processes.alive(record.process))
        return {port for given in (*self._site.ports.values(), *running) for port in given.values()}

    def down(self) -> int:
        """End every server, the ones that others need last. Returns how many processes were ended."""
        ended = 0
        for names in _STOP_ORDER:
            records = [self._state.servers[name] for name in names if name in self._state.servers]
            running = [record.process for record in records if processes.alive(record.process)]
            processes.stop(running)
            ended += len(running)
            for name in names:
                if name in self._state.servers:
                    self._tell("stopped", name)
        return ended + self.clean_strays(everything=True)

    def clean_strays(self, *, everything: bool = False) -> int:
        """End processes of this stack that nobody wrote down: their `rb up` died between start and note."""
        known = set() if everything else {record.pid for record in self._state.servers.values()}
        strays = [
            (name, process)
            for name, process in processes.marked(self._site.folders.stack)
            if process.pid not in known and _leader(process.pid) not in known
        ]
        for name, process in strays:
            self._tell("cleaned", name, f"stray process {process.pid}")
        processes.stop([process for _, process in strays])
        return len(strays)

    def _tell(self, phase: str, name: str, text: str = "") -> None:
        self._site.on_event(Event(phase, name, text))  # type: ignore[arg-type]


_STOP_ORDER = (
    ("kwok", "kube-scheduler", "kube-controller-manager", "redis", "kafka", "neo4j"),
    ("kube-apiserver",),
    ("etcd",),
)


def tail(lines: Iterable[str], count: int = 15) -> list[str]:
    """The last lines."""
    return list(deque(lines, maxlen=count))


def _addresses(given: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {ports.HOST}:{port}" for name, port in given.items())


def _leader(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0
