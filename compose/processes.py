"""Server processes that outlive the command, and are never mistaken for others.

A pid alone is not an identity: it is used again after its process ends. A process is known by its pid together with
its start time, and every process of a stack carries a mark in its environment, so that one whose pid was never
written down (the command died in between) is still found and ended.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK_STACK = "ROOTMEND_STACK_MARK"
MARK_SERVER = "ROOTMEND_SERVER_MARK"
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart from later ones with the same pid."""

    pid: int
    started: str


def started_at(pid: int) -> str | None:
    """When a process started, as an opaque mark; None when it does not run (a zombie has ended)."""
    return _started_linux(pid) if _PROC.is_dir() else _started_ps(pid)


def _started_linux(pid: int) -> str | None:
    try:
        # The name may hold spaces and brackets; the fields after the last bracket do not.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    state, ticks = fields[0], fields[19]
    if state in ("Z", "X"):
        return None
    return f"{_boot_id()}:{ticks}"


def _boot_id() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return "boot"


def _started_ps(pid: int) -> str | None:
    answer = subprocess.run(  # noqa: S603 - fixed program, a number as argument
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    stat, _, when = answer.stdout.strip().partition(" ")
    return when.strip() if answer.returncode == 0 and not stat.startswith("Z") else None


def identify(pid: int) -> ProcessId | None:
    """The identity of a running process."""
    started = started_at(pid)
    return ProcessId(pid, started) if started else None


def alive(process: ProcessId) -> bool:
    """Whether this very process still runs."""
    _reap(process.pid)
    return started_at(process.pid) == process.started


def _reap(pid: int) -> None:
    # A child that ended stays a zombie until its parent, perhaps us, asks for it.
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)


def spawn(
    argv: Sequence[str], *, log: Path, cwd: Path, stack: Path, server: str, env: Mapping[str, str] | None = None
) -> ProcessId:
    """Start a server in a session of its own, with its output appended to a log file."""
    with log.open("ab") as out:
        child = subprocess.Popen(  # noqa: S603 - the commands are built by this package
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env={**os.environ, **(env or {}), MARK_STACK: str(stack), MARK_SERVER: server},
            start_new_session=True,
        )
    # The child is waited for by pid (see _reap); without this, Popen would warn when it is collected.
    child.returncode = 0
    return identify(child.pid) or ProcessId(child.pid, "ended at once")


def stop(processes: Iterable[ProcessId], *, grace: float = 20.0) -> None:
    """End processes and their groups: first asked, then, after the grace, forced."""
    running = [process for process in processes if alive(process)]
    for process in running:
        _signal_group(process, signal.SIGTERM)
        # A process that was stopped hears the request only once it goes on.
        _signal_group(process, signal.SIGCONT)
    if _all_ended(running, grace):
        return
    for process in running:
        if alive(process):
            _signal_group(process, signal.SIGKILL)
    _all_ended(running, 5.0)


def _all_ended(processes: Sequence[ProcessId], within: float) -> bool:
    deadline = time.monotonic() + within
    while any(alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _signal_group(process: ProcessId, number: int) -> None:
    # Checked again right before the signal: the pid may have gone to somebody else.
    if not alive(process):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)


def marked(stack: Path) -> Iterator[tuple[str, ProcessId]]:
    """Every running process that carries the mark of this stack, with the name of its server."""
    if not _PROC.is_dir():
        return
    wanted = f"{MARK_STACK}={stack}".encode()
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in variables and (process := identify(int(entry.name))):
            yield _server_of(variables), process


def _server_of(variables: Sequence[bytes]) -> str:
    prefix = f"{MARK_SERVER}=".encode()
    return next((entry[len(prefix) :].decode() for entry in variables if entry.startswith(prefix)), "unknown")
