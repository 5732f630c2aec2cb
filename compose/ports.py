"""Ports on loopback: the usual one when it is free, else one that the system picks."""

import socket
from collections.abc import Iterable, Mapping

HOST = "127.0.0.1"


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
