"""The pipeline, run and asked as anybody would: `rb serve`, `rb approvals approve`, `rb explain`."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from compose import processes
from compose.addresses import Addresses
from compose.demo.errors import DemoFailed
from compose.demo.patience import until
from compose.demo.run import Run, note_pipeline
from compose.processes import ProcessId
from compose.state import write_private

RUNBOOKS = Path(__file__).parent / "runbooks"
EARNS = "imagepullbackoff-registry-credentials"
AUTONOMY: Mapping[str, Any] = {
    "start": "auto",
    "runbooks": {EARNS: "approve"},
    "to_approve": {"lower_bound": 0.1},
    "to_auto": {"executions": 1, "lower_bound": 0.2, "needs_human": False},
}
"""Most of what is shown has earned its rung; one runbook is seen earning it, on less than anybody should ask for."""
STORM_LIMIT = 6
BREAKER = {
    "causes": {"reason": STORM_LIMIT, "runbook": 1000, "namespace": 1000, "cluster": 1000},
    "causes_window": "30s",
    "quiet": "5s",
}
"""A small storm is enough to be seen, its calm is short enough to be waited for, and it stops no other incident."""
_START = 90.0
_STOP = 30.0


def write_settings(run: Run, addresses: Addresses, extra: Mapping[str, Any] | None = None) -> None:
    """Write the settings of a run: those of the stack, with names of its own, and a free port for the API.

    Args:
        run: whose names.
        addresses: of the stack.
        extra: groups that are added.
    """
    settings = addresses.settings()
    settings["kafka"] |= {"group_id": run.tenant, "topics": run.topics}
    settings["redis"] |= {"prefix": run.redis_prefix}
    settings["kubernetes"] |= {"cluster_name": run.cluster}
    settings["matching"] = {"default_tenant": run.tenant}
    settings["runbooks"] = {"paths": ["packaged", str(RUNBOOKS)]}
    settings["api"] = {"port": 0}
    # The runbooks of the demo have earned to run by themselves, but for the one that is shown earning it.
    settings["autonomy"] = AUTONOMY
    settings["logging"] = {"format": "json"}
    settings["breaker"] = BREAKER
    write_private(run.settings_file, yaml.safe_dump(settings | dict(extra or {}), sort_keys=False))


class Pipeline:
    """One `rb serve`, and the other commands of `rb` with its settings.

    Args:
        run: names and folder.
        secrets: by the name that runbooks use; given by variable, as an operator would.
    """

    def __init__(self, run: Run, secrets: Mapping[str, str]) -> None:
        self._run = run
        self._secrets = {f"ROOTMEND_SECRET_{name.upper()}": value for name, value in secrets.items()}
        self._process: ProcessId | None = None
        self._log_from = 0
        self.url = ""

    async def start(self) -> None:
        """Start it and wait until it reads its topics."""
        self._log_from = self._run.log.stat().st_size if self._run.log.is_file() else 0
        self._process = self._spawn()
        note_pipeline(self._run, self._process)
        self.url = await until("rb serve to be ready", self._ready, seconds=_START, alarm=self.check_alive)

    def _spawn(self) -> ProcessId:
        with self._run.log.open("ab") as out:
            child = subprocess.Popen(  # noqa: S603 - our own command
                self._command("serve"),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=_environment() | self._secrets,
                start_new_session=True,
            )
        # It is watched and waited for by its id; without this, Popen would warn when it is collected.
        child.returncode = 0
        return processes.identify(child.pid) or ProcessId(child.pid, "ended at once")

    async def _ready(self) -> tuple[str | None, object]:
        ready = [line for line in self._lines() if line.get("event") == "service.ready"]
        return (str(ready[-1]["url"]) if ready else None), "no ready line in its log"

    def check_alive(self) -> None:
        """Raise when it has ended: nothing will come any more."""
        if self._process is None or not processes.alive(self._process):
            raise DemoFailed("rb serve has ended", log=self.tail(), hint=f"Its whole log: {self._run.log}")

    async def stop(self) -> None:
        """End it: asked first, then forced."""
        if self._process is not None:
            await asyncio.to_thread(processes.stop, [self._process], grace=_STOP)
            note_pipeline(self._run, None)

    async def kill(self) -> None:
        """End it as a crash would, with no chance to say goodbye."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            await until("rb serve to be dead", self._dead, seconds=10, every=0.02)

    async def _dead(self) -> tuple[bool | None, object]:
        return (True if self._process and not processes.alive(self._process) else None), "it runs"

    async def rb(self, *arguments: str) -> tuple[int, str]:
        """Run another command of `rb`; gives its exit code and all that it said."""
        child = await asyncio.create_subprocess_exec(
            *self._command(*arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment() | {"NO_COLOR": "1", "COLUMNS": "200"},
        )
        said, _ = await child.communicate()
        return child.returncode or 0, said.decode("utf-8", "replace")

    async def metrics(self) -> str:
        """The page that Prometheus would scrape."""
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            return (await client.get(f"{self.url}/metrics")).raise_for_status().text

    def tail(self, count: int = 15) -> list[str]:
        """The last lines of its log."""
        text = self._run.log.read_text(encoding="utf-8", errors="replace") if self._run.log.is_file() else ""
        return text.splitlines()[-count:]

    @property
    def pid(self) -> int | None:
        """Its process id."""
        return self._process.pid if self._process else None

    def _lines(self) -> list[dict[str, Any]]:
        """What this start of it has logged; lines that are no JSON (a trace) are left out."""
        with self._run.log.open("rb") as log:
            log.seek(self._log_from)
            lines = log.read().decode("utf-8", "replace").splitlines()
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return [line for line in found if isinstance(line, dict)]

    def _command(self, *arguments: str) -> tuple[str, ...]:
        return (*_rb(), "--config", str(self._run.settings_file), *arguments)


def _rb() -> tuple[str, ...]:
    """The `rb` of this very environment, else the one on the PATH."""
    beside = Path(sys.executable).with_name("rb")
    found = str(beside) if beside.is_file() else shutil.which("rb")
    if found is None:
        raise DemoFailed("The command rb is not installed.", hint="Install the project, or run `make demo`.")
    return (found,)


def _environment() -> dict[str, str]:
    """Ours, without settings of yours, which would change what the demo shows."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ROOTMEND_")}
