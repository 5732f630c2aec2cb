"""What a stack remembers between commands: its processes, its secrets, and a lock around changes."""

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from compose.errors import StackBusy
from compose.paths import Folders
from compose.processes import ProcessId


class ServerRecord(BaseModel):
    """One server as it was started."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str = Field(description="The mark that tells this process from a later one with the same pid")
    ports: dict[str, int]
    fingerprint: str = Field(description="Hash of command and configuration; another one means a restart")
    version: str = ""

    @property
    def process(self) -> ProcessId:
        """The process, to be asked whether it is still the same one."""
        return ProcessId(self.pid, self.started)


class StackState(BaseModel):
    """The whole state file."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    engine: Literal["process", "docker"] = "process"
    practice_id: str = ""
    ready: list[str] = Field(default_factory=list, description="Groups that answered at the last `up`")
    servers: dict[str, ServerRecord] = Field(default_factory=dict)
    docker_ports: dict[str, dict[str, int]] = Field(
        default_factory=dict, description="Published ports, when the engine is Docker"
    )

    model_config = ConfigDict(populate_by_name=True)


def _cluster_id() -> str:
    """16 bytes as Kafka writes them; never with a leading dash, which its tools would read as an option."""
    return next(
        text
        for _ in range(1_000)
        if not (text := urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-")
    )


class Secrets(BaseModel):
    """What only this stack knows. Made once, kept in a file that only its user can read."""

    model_config = ConfigDict(frozen=True)

    practice_id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    neo4j_password: str = Field(default_factory=lambda: secrets.token_hex(18))
    kafka_cluster_id: str = Field(default_factory=_cluster_id)
    admin_token: str = Field(default_factory=lambda: secrets.token_urlsafe(32))
    controller_manager_token: str = Field(default_factory=lambda: secrets.token_urlsafe(32))
    scheduler_token: str = Field(default_factory=lambda: secrets.token_urlsafe(32))
    kwok_token: str = Field(default_factory=lambda: secrets.token_urlsafe(32))


def write_private(path: Path, text: str) -> None:
    """Write a file at once and for the user only: a reader sees the old text or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    Path(temporary).replace(path)


def read_state(folders: Folders) -> StackState:
    """The remembered state; an unreadable file counts as none, its processes are found by their mark."""
    try:
        return StackState.model_validate_json((folders.stack / "state.json").read_bytes())
    except (OSError, ValidationError):
        return StackState()


def write_state(folders: Folders, state: StackState) -> None:
    """Remember the state."""
    write_private(folders.stack / "state.json", json.dumps(state.model_dump(by_alias=True), indent=2) + "\n")


def read_secrets(folders: Folders) -> Secrets:
    """The secrets of this stack, made on first use."""
    path = folders.stack / "secrets.json"
    try:
        return Secrets.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        made = Secrets()
        write_private(path, made.model_dump_json(indent=2) + "\n")
        return made


@contextlib.contextmanager
def exclusive(folders: Folders) -> Iterator[None]:
    """Hold the stack for a change. The system lets go when the holder dies, so a crash leaves no stale lock."""
    folders.create()
    with (folders.stack / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackBusy(
                f"Another rb command is changing the stack in {folders.stack}.",
                hint="Wait for it to end, or look for it with: ps -ef | grep 'rb '",
            ) from None
        yield
