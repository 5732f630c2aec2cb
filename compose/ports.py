"""Ports on loopback: the usual one when it is free, else one that the system picks."""

import contextlib
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

HOST = "127.0.0.1"

_LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp."""


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Servers set this too, so a port in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return not _listens_elsewhere(port)


def _listens_elsewhere(port: int) -> bool:
    """Whether something on all addresses answers here already (a bind to loopback alone may still succeed)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((HOST, port)) == 0


def is_listened_to_by(pid: int, port: int) -> bool:
    """Whether this very process listens on a port, and not another one that answers there.

    Linux only (see proc_pid_net(5)); True where the system does not tell, so that an answer has to do as proof.
    """
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("tcp", "tcp6")]
    if not any(table.exists() for table in tables):
        return True
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    listening = {
        f"socket:[{row[9]}]" for row in rows if row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port
    }
    return not listening.isdisjoint(_open_files(pid))


def _open_files(pid: int) -> set[str]:
    """What the descriptors of a process lead to; none that cannot be read or that close meanwhile."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(descriptor.readlink()))
    return found


def choose(usual: Mapping[str, int], taken: Iterable[int] = ()) -> dict[str, int]:
    """Give each named port its usual number when that is free and not yet given away, else a free one."""
    given: dict[str, int] = {}
    used = set(taken)
    for name, port in usual.items():
        chosen = port if port not in used and is_free(port) else _any_free(used)
        used.add(chosen)
        given[name] = chosen
    return given


def _any_free(used: set[int]) -> int:
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in used:
            return port
