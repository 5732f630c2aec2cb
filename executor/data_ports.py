"""What actions need beside the cluster: metrics, databases, programs, files. Values in, values out.

A ``World`` that is made without them holds ``NotSetUp``, which says so when a step asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn, Protocol

from executor.errors import NotConfigured


@dataclass(frozen=True, slots=True)
class Sample:
    """One series at one moment. The value may be NaN or infinite: Prometheus says so."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """One series over a time: pairs of Unix time and value, oldest first."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


class Metrics(Protocol):
    """A server that speaks PromQL.

    Errors: ``NotConfigured``, ``Invalid`` (the query is wrong), ``Unavailable``.
    """

    async def instant(self, query: str, *, timeout_seconds: float) -> Sequence[Sample]:
        """The value of each series now; a scalar is one sample without labels."""
        ...

    async def window(
        self, query: str, start: datetime, end: datetime, *, step_seconds: float, timeout_seconds: float
    ) -> Sequence[Series]:
        """The values of each series over a time."""
        ...

    def named(self, name: str) -> str:
        """The PromQL template that the settings know as ``metrics.NAME``. ``NotConfigured`` names the nearest."""
        ...


class MetricsSink(Protocol):
    """Where runbooks publish numbers."""

    async def publish(self, group: Mapping[str, str], values: Mapping[str, float]) -> str:
        """Publish gauges under the labels of their group; says where to. Publishing again replaces them.

        Errors: ``Unavailable``, ``Invalid`` (a name that Prometheus does not take).
        """
        ...


@dataclass(frozen=True, slots=True)
class SqlAnswer:
    """What a statement gave.

    Attributes:
        rows: JSON, by column name.
        more: there were more rows than asked for.
        changed: rows that a write touched; -1 where the database does not say.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    more: bool = False
    changed: int = -1


class Sql(Protocol):
    """Databases by the names that the settings give them.

    Errors: ``NotConfigured`` (no such connection), ``Forbidden`` (a write where only reading is allowed), ``Invalid``
    (the statement is wrong), ``Unavailable`` (it took too long, or no answer came).
    """

    async def read(
        self, connection: str, statement: str, parameters: Mapping[str, Any], *, max_rows: int, timeout_seconds: float
    ) -> SqlAnswer:
        """Run one statement in a transaction that the database itself keeps from writing."""
        ...

    async def write(
        self, connection: str, statement: str, parameters: Mapping[str, Any], *, max_rows: int, timeout_seconds: float
    ) -> SqlAnswer:
        """Run one statement and commit; rolled back as ``Invalid`` when it touches more than ``max_rows`` rows.

        ``Unavailable`` means that nobody knows whether it was committed; ``NotDone`` that it certainly was not.
        """
        ...

    def check(self, connection: str, *, write: bool) -> None:
        """Raise what ``read`` or ``write`` would raise for this connection, without asking the database."""
        ...


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run. Nothing of it passes through a shell.

    Attributes:
        argv: the program, and its arguments one by one.
        files: put into the working folder before the start, by name.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a program ended. A negative exit code is the signal that ended it."""

    exit_code: int
    stdout: str
    stderr: str
    truncated: bool = False
    timed_out: bool = False


class Shell(Protocol):
    """Runs programs on this machine, limited by the settings."""

    def check(self, program: str) -> str:
        """The path of a program that may be run.

        Errors: ``NotConfigured`` (running programs is off), ``Forbidden`` (it is not on the list).
        """
        ...

    async def run(self, command: Command, *, timeout_seconds: float) -> CommandResult:
        """Run it; when time is up or the caller is cancelled, its whole process group is killed."""
        ...


class Files(Protocol):
    """Files beside a runbook."""

    async def text(self, folder: str, name: str, *, max_bytes: int) -> str:
        """The text of a file in the runbook's folder or below.

        Errors: ``NotFound`` (names the nearest), ``Forbidden`` (outside of it), ``Invalid`` (too long, no text).
        """
        ...


class NotSetUp:
    """Stands for every port that this process was made without."""

    def _no(self, what: str) -> NoReturn:
        raise NotConfigured(f"this process was started without {what}")

    def named(self, name: str) -> str:
        """No metrics."""
        self._no(f"metrics, so metrics.{name} has no meaning")

    def check(self, *_: object, **__: object) -> Any:
        """Nothing may be used."""
        self._no("databases and programs")

    async def instant(self, *_: object, **__: object) -> Any:
        """No metrics."""
        self._no("metrics")

    async def window(self, *_: object, **__: object) -> Any:
        """No metrics."""
        self._no("metrics")

    async def publish(self, *_: object, **__: object) -> Any:
        """No metrics."""
        self._no("a place for metrics")

    async def read(self, *_: object, **__: object) -> Any:
        """No databases."""
        self._no("databases")

    async def write(self, *_: object, **__: object) -> Any:
        """No databases."""
        self._no("databases")

    async def run(self, *_: object, **__: object) -> Any:
        """No programs."""
        self._no("programs")

    async def text(self, *_: object, **__: object) -> Any:
        """No files."""
        self._no("files beside runbooks")
