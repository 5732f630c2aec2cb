"""Sets limits on itself and becomes the program: ``shell_launch.py LIMITS PROGRAM ARGUMENT...``.

A program of its own, started by path with nothing imported from us, so that it starts quickly and nothing happens
between fork and exec of a process with threads.
"""

from __future__ import annotations

import json
import os
import resource
import sys

_NO_NEW_PRIVILEGES = 38
_OPEN_FILES = 256


def main(argv: list[str]) -> None:
    """Limit and exec; what fails before is told on stderr with exit code 127."""
    limits = json.loads(argv[1])
    try:
        _limit(limits)
        os.umask(0o077)
        os.execv(argv[2], argv[2:])  # noqa: S606 - that is its purpose # nosec
    except (OSError, ValueError) as error:
        sys.stderr.write(f"rootmend-launch: {argv[2]} cannot be started: {error}\n")
        sys.stderr.flush()
        os._exit(127)


def _limit(limits: dict[str, int]) -> None:
    _no_new_privileges()
    wanted = {
        resource.RLIMIT_AS: limits["as"],
        resource.RLIMIT_CPU: limits["cpu"],
        resource.RLIMIT_FSIZE: limits["fsize"],
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
    }
    for name, value in wanted.items():
        hard = resource.getrlimit(name)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (bound, bound))


def _no_new_privileges() -> None:
    """A program with the setuid bit gains nothing (Linux only)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes  # noqa: PLC0415 - only where it works

    ctypes.CDLL(None, use_errno=True).prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


if __name__ == "__main__":
    main(sys.argv)
