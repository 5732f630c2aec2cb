"""Processes that can be made to die at a failpoint: ``rb`` itself, in a composition root of the tests' own.

Everything is imported once; each process is a fork of that, so that one that was killed is back in a moment. Commands
come as lines of JSON on standard input, answers go to standard output. This is the only place that arms failpoints.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executor.failpoints import Failpoint, arm

_LOOK_SECONDS = 0.05
_PARENT = os.getpid()


class Deaths:
    """Where a process dies: at each of the named failpoints, once for each subject, so many times in all.

    Args:
        points: where.
        most: deaths at each point.
        book: one line for each death, written before it; a process that follows does not die of the same again.
    """

    def __init__(self, points: list[str], most: int, book: Path) -> None:
        self._points = frozenset(Failpoint(point) for point in points)
        self._most = most
        self._book = book
        lines = [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []
        self._died = [(Failpoint(line["point"]), line["subject"]) for line in lines]

    def __call__(self, point: Failpoint, subject: str) -> None:
        if point not in self._points or (point, subject) in self._died:
            return
        if sum(died is point for died, _ in self._died) >= self._most:
            return
        with self._book.open("a") as book:
            book.write(json.dumps({"point": point, "subject": subject, "pid": os.getpid()}) + "\n")
            book.flush()
            os.fsync(book.fileno())
        os.kill(os.getpid(), signal.SIGKILL)


def become(order: Mapping[str, Any]) -> None:
    """Run ``rb`` in this process, which is a fork, to its end."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    out = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(order["folder"])
    os.environ.update(order["environment"])
    import services.serve  # noqa: PLC0415 - imported before the fork, by ``main``
    from services.cli.app import main  # noqa: PLC0415 - as above

    # Compiling queries ahead makes the first decisions quick, and nothing else: a restart need not wait for it.
    services.serve.warm = _nothing_to_warm  # type: ignore[attr-defined]

    if order["points"]:
        arm(Deaths(order["points"], order["most"], Path(order["book"])))
    if order["broken"]:
        from tests.chaos.broken import BREAKS  # noqa: PLC0415 - only for tests of the checker

        BREAKS[order["broken"]]()
    sys.argv = ["rb", "--config", order["config"], *order["words"]]
    os._exit(main())


async def _nothing_to_warm(_: object) -> int:
    return 0


def _imported() -> None:
    """What ``rb serve`` imports: a fork has it already."""
    import services.bootstrap  # noqa: PLC0415 - before the first fork
    import services.cli.app  # noqa: PLC0415 - as above
    import services.cli.serve  # noqa: PLC0415 - as above
    import services.serve  # noqa: F401, PLC0415 - as above


def main() -> None:
    """Fork a process for each order, and tell of each end, until standard input is closed or it is told to end."""
    _imported()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    children: set[int] = set()
    try:
        _serve(children)
    finally:
        if os.getpid() == _PARENT:
            for child in children:
                os.kill(child, signal.SIGKILL)


def _serve(children: set[int]) -> None:
    buffer = b""
    while True:
        ready, _, _ = select.select([0], [], [], _LOOK_SECONDS)
        if ready:
            read = os.read(0, 65536)
            if not read:
                break
            *lines, buffer = (buffer + read).split(b"\n")
            for line in lines:
                child = os.fork()
                if child == 0:
                    become(json.loads(line))
                children.add(child)
                _say(began=child)
        for child in list(children):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                children.discard(child)
                _say(ended=child, status=os.waitstatus_to_exitcode(status))


def _say(**told: int) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
