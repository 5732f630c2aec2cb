"""Programs on this machine: a list of what may run, a clean environment, limits, and an end for the whole group."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from executor.data_ports import Command, CommandResult
from executor.errors import Forbidden, NotConfigured, StepFailed
from runbooks.findings import did_you_mean

_LAUNCHER = Path(__file__).with_name("shell_launch.py")
_PATH = "/usr/local/bin:/usr/bin:/bin"
_MIB = 1024 * 1024
_CHUNK = 64 * 1024
_END_SECONDS = 2.0
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use."""

    seconds: float = 120.0
    memory_bytes: int = 512 * _MIB
    cpu_seconds: int = 60
    file_bytes: int = 64 * _MIB
    output_bytes: int = 256 * 1024
    concurrent: int = 4


class LocalShell:
    """Implements ``executor.data_ports.Shell``.

    Args:
        enabled: False: nothing runs.
        allow: absolute paths of the programs that may run.
        limits: for each of them.
    """

    def __init__(self, *, enabled: bool, allow: Sequence[str], limits: Limits | None = None) -> None:
        self._enabled = enabled
        self._allow = tuple(allow)
        self._limits = limits or Limits()
        self._places = asyncio.Semaphore(self._limits.concurrent)

    def check(self, program: str) -> str:
        """The path of a program.

        Raises:
            NotConfigured: running programs is off.
            Forbidden: it is not on the list.
        """
        if not self._enabled:
            raise NotConfigured("running programs is off: actions.shell.enabled in the settings")
        for path in self._allow:
            if program == path or (os.sep not in program and program == Path(path).name):
                return path
        names = {Path(path).name for path in self._allow}
        advice = did_you_mean(program, {*self._allow, *names}) or "actions.shell.allow in the settings lists them"
        raise Forbidden(f"{program} is not a program that may be run; {advice}")

    async def run(self, command: Command, *, timeout_seconds: float) -> CommandResult:
        """Run a program in a folder of its own, and end its whole process group at the end.

        Raises:
            StepFailed: it could not be started.
        """
        program = self.check(command.argv[0])
        async with self._places:
            folder = await asyncio.to_thread(_prepared, command)
            try:
                return await self._started(program, command, folder, min(timeout_seconds, self._limits.seconds))
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _started(self, program: str, command: Command, folder: Path, seconds: float) -> CommandResult:
        # Limits are set by a launcher and not between fork and exec: other threads may hold locks there.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(_LAUNCHER),
            self._asked(),
            program,
            *command.argv[1:],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            env=_environment(command, folder),
            start_new_session=True,
        )
        try:
            return await self._ended(process, command.stdin, seconds)
        finally:
            # Also what it left in the background, and also when this was cancelled.
            _kill(process.pid)
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await asyncio.shield(_exited(process))

    async def _ended(self, process: asyncio.subprocess.Process, stdin: str, seconds: float) -> CommandResult:
        limit = self._limits.output_bytes
        reads = [asyncio.create_task(_read(stream, limit)) for stream in (process.stdout, process.stderr)]
        feed = asyncio.create_task(_feed(process.stdin, stdin))
        timed_out = False
        try:
            async with asyncio.timeout(seconds):
                await _exited(process)
        except TimeoutError:
            timed_out = True
            _kill(process.pid)
            await _exited(process)
        finally:
            # A child in the background may hold the pipes open: it ends with the group.
            _kill(process.pid)
            feed.cancel()
            done, _ = await asyncio.wait(reads, timeout=_END_SECONDS)
            for task in reads:
                task.cancel()
        (out, more_out), (err, more_err) = (task.result() if task in done else (b"", True) for task in reads)
        code = process.returncode if process.returncode is not None else -signal.SIGKILL
        if code == LAUNCH_FAILED and err.startswith(LAUNCH_MARK):
            raise StepFailed(err.removeprefix(LAUNCH_MARK).decode(errors="replace").strip())
        said, wrong = out.decode(errors="replace"), err.decode(errors="replace")
        return CommandResult(code, said, wrong, truncated=more_out or more_err, timed_out=timed_out)

    def _asked(self) -> str:
        limits = self._limits
        return json.dumps({"as": limits.memory_bytes, "cpu": limits.cpu_seconds, "fsize": limits.file_bytes})


LAUNCH_FAILED = 127
LAUNCH_MARK = b"rootmend-launch: "


def _prepared(command: Command) -> Path:
    """A folder for one run that nobody else can read, with the command's files."""
    folder = Path(tempfile.mkdtemp(prefix="rootmend-run-"))
    for name, text in command.files.items():
        path = folder / Path(name).name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
    return folder


def _environment(command: Command, folder: Path) -> dict[str, str]:
    own = {"PATH": _PATH, "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"}
    return {**command.env, **own}


async def _exited(process: asyncio.subprocess.Process) -> None:
    """Wait for the program alone: asyncio's own wait lasts until its children in the background close the pipes too."""
    while process.returncode is None:  # noqa: ASYNC110 - neither loop has an event for it
        await asyncio.sleep(_LOOK_SECONDS)


async def _feed(stream: asyncio.StreamWriter | None, text: str) -> None:
    if stream is None:
        return
    with suppress(BrokenPipeError, ConnectionResetError):
        stream.write(text.encode())
        await stream.drain()
        stream.close()


async def _read(stream: asyncio.StreamReader | None, limit: int) -> tuple[bytes, bool]:
    """The beginning of what a stream gives. The rest is read too, or the program would stop at a full pipe."""
    kept = bytearray()
    total = 0
    while stream is not None and (chunk := await stream.read(_CHUNK)):
        total += len(chunk)
        kept += chunk[: max(0, limit - len(kept))]
    return bytes(kept), total > limit


def _kill(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
