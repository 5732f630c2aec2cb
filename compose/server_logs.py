"""The logs of the servers, for people."""

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from compose import docker_engine, paths
from compose.errors import StackError, WrongUse
from compose.servers import SERVERS
from compose.state import read_state


def read(name: str, *, lines: int = 50, follow: bool = False, state: Path | None = None) -> Iterator[str]:
    """The last lines of a server's log, and with `follow` every line after them."""
    folders = paths.folders(state)
    if name not in SERVERS:
        raise WrongUse(f"There is no server {name}.", hint=f"Choose from: {', '.join(SERVERS)}.")
    if read_state(folders).engine == "docker":
        return docker_engine.logs(folders, name, lines=lines, follow=follow)
    path = folders.log(name)
    if not path.is_file():
        raise StackError(f"{name} has no log in {folders.logs}.", hint="Start it with `rb up`.")
    return _lines(path, lines, follow=follow)


def _lines(path: Path, count: int, *, follow: bool) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as log:
        yield from (line.rstrip("\n") for line in deque(log, maxlen=count))
        while follow:
            line = log.readline()
            if line:
                yield line.rstrip("\n")
            else:
                time.sleep(0.2)
