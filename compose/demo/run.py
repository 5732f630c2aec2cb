"""One run of the demo: its names, its folder, and what earlier runs left."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from compose import processes
from compose.addresses import Addresses
from compose.processes import ProcessId
from compose.state import write_private

_INPUTS = {"alerts": "alerts", "events": "events.normalized", "enriched": "alerts.enriched", "rca": "rca.results"}
_ASKED = {"run_requests": "remediation.run-requests"}
_OUTPUTS = {name: f"remediation.{name}" for name in ("decisions", "requests", "executions", "approvals", "dlq")}


@dataclass(frozen=True, slots=True)
class Run:
    """The names of one run. All are fresh, so that it neither meets an earlier run nor a pipeline of yours.

    Attributes:
        mark: six hexadecimal digits that are part of every name.
        folder: settings, log and CA of this run.
    """

    mark: str
    folder: Path

    @property
    def tenant(self) -> str:
        """Whose signals and graph nodes these are. Rates and incidents are counted by tenant."""
        return f"demo-{self.mark}"

    @property
    def cluster(self) -> str:
        """The cluster's name in messages and records. A pipeline leaves what belongs to another one alone."""
        return f"practice-{self.mark}"

    @property
    def namespace(self) -> str:
        """Where the workloads live."""
        return f"demo-{self.mark}"

    @property
    def node(self) -> str:
        """The node that dies."""
        return f"demo-{self.mark}-node"

    @property
    def redis_prefix(self) -> str:
        """Begins every key of this run."""
        return f"demo-{self.mark}:"

    @property
    def topics(self) -> dict[str, str]:
        """The ten topics by their name in the settings: the usual names behind the run's own prefix."""
        return {key: f"{self.tenant}.{name}" for key, name in (_INPUTS | _ASKED | _OUTPUTS).items()}

    @property
    def settings_file(self) -> Path:
        """What `rb serve` reads."""
        return self.folder / "rootmend.yaml"

    @property
    def log(self) -> Path:
        """What `rb serve` says."""
        return self.folder / "serve.log"


def begin(addresses: Addresses) -> Run:
    """Names and a folder for a new run, which belongs to this process."""
    mark = secrets.token_hex(3)
    run = Run(mark, _home(addresses) / mark)
    run.folder.mkdir(parents=True, mode=0o700)
    _note(run.folder / "owner.json", processes.identify(os.getpid()))
    return run


def note_pipeline(run: Run, process: ProcessId | None) -> None:
    """Remember the `rb serve` of a run, so that a later one can end it."""
    _note(run.folder / "pipeline.json", process)


def left_behind(addresses: Addresses) -> Iterator[tuple[Run, ProcessId | None]]:
    """Earlier runs whose demo has ended, each with its `rb serve` if that still runs."""
    home = _home(addresses)
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        owner, pipeline = _noted(folder / "owner.json"), _noted(folder / "pipeline.json")
        if owner is None or not processes.alive(owner):
            yield Run(folder.name, folder), pipeline if pipeline and processes.alive(pipeline) else None


def in_progress(addresses: Addresses) -> set[str]:
    """Marks of runs whose demo is still at work."""
    home = _home(addresses)
    folders = home.iterdir() if home.is_dir() else ()
    return {each.name for each in folders if (owner := _noted(each / "owner.json")) and processes.alive(owner)}


def forget(run: Run) -> None:
    """Remove the folder of a run."""
    shutil.rmtree(run.folder, ignore_errors=True)


def _home(addresses: Addresses) -> Path:
    return addresses.state / "demo"


def _note(path: Path, process: ProcessId | None) -> None:
    if process is None:
        path.unlink(missing_ok=True)
    else:
        write_private(path, json.dumps({"pid": process.pid, "started": process.started}))


def _noted(path: Path) -> ProcessId | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return ProcessId(int(content["pid"]), str(content["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
