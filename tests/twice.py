"""Run the tests on real servers; the files in which some failed once more, from their beginning.

    python -m tests.twice [what pytest takes]

A test on real servers can meet a machine that is too busy for it. Tests of one file share processes and namespaces, so
a second try of a single test would find what the first one left: the whole file runs again, on a stack of its own.
What needed that is named at the end, each is a bug to look at. Where much failed, nothing is tried again.
"""

from __future__ import annotations

import json
import subprocess  # nosec B404 - pytest itself
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import typer

_STACK = ("-m", "stack")
_TESTS_FAILED = 1
_MOST_FILES = 6
"""More is no coincidence."""


def main(arguments: Sequence[str]) -> int:
    """The exit code of pytest: that of the second try where there was one."""
    with tempfile.TemporaryDirectory() as kept:
        code = _pytest(kept, arguments)
        failed = _failed(Path(kept)) if code == _TESTS_FAILED else []
        files = sorted({test.partition("::")[0] for test in failed})
        if not files or len(files) > _MOST_FILES:
            return code
        typer.echo(f"\n{len(failed)} failed; once more from the beginning: {' '.join(files)}\n")
        code = _pytest(kept, files)
        for test in failed:
            typer.echo(f"TRIED AGAIN {test}")
        return code


def _pytest(kept: str, arguments: Sequence[str]) -> int:
    command = [sys.executable, "-m", "pytest", *_STACK, "-o", f"cache_dir={kept}", "--cache-clear", *arguments]
    return subprocess.run(command, check=False).returncode  # nosec B603 - no shell


def _failed(kept: Path) -> list[str]:
    """What pytest's cache says that failed in the last run."""
    try:
        return sorted(json.loads((kept / "v" / "cache" / "lastfailed").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
