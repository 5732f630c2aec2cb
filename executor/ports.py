"""What the executor needs from outside. Each port has a working fake and a real adapter under one contract suite."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from executor.model import Evidence, ExecutionRecord, ObjectRef, Outcome, Status, StepRun, Verdict

KubeObject = Mapping[str, Any]
PatchKind = Literal["strategic", "merge", "json", "apply"]


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a program in a container ended.

    Attributes:
        stdout: what it wrote, cut at the limit.
        stderr: as above.
        truncated: whether either was cut.
    """

    exit_code: int
    stdout: str
    stderr: str
    truncated: bool = False


class Cluster(Protocol):
    """A Kubernetes API server.

    Errors: ``NotFound``, ``Conflict``, ``Invalid``, ``Forbidden``, ``Blocked`` (429 of an
    eviction), ``Unavailable`` (worth retrying); all from ``executor.errors``.
    """

    async def get(self, kind: str, name: str, namespace: str = "") -> KubeObject | None:
        """One object, or None."""
        ...

    async def list(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> Sequence[KubeObject]:
        """All objects of a kind, narrowed by selectors."""
        ...

    async def patch(
        self,
        ref: ObjectRef,
        body: Any,
        *,
        how: PatchKind,
        subresource: str = "",
        dry_run: bool = False,
        force: bool = False,
        manager: str = "",
    ) -> KubeObject:
        """Patch. A ``metadata.uid``/``resourceVersion`` in the body makes it conditional.

        ``apply`` is the server's own merge of a manifest: fields that others manage are refused as ``Invalid`` unless
        ``force`` takes them over. ``manager`` is who owns the fields then; empty for Rootmend.
        """
        ...

    async def replace(self, ref: ObjectRef, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Replace the whole object; conditional on its ``resourceVersion``."""
        ...

    async def create(self, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        """Create; Conflict when it exists."""
        ...

    async def delete(self, ref: ObjectRef, *, grace_seconds: int | None = None, dry_run: bool = False) -> None:
        """Delete, with the uid as precondition when ``ref`` has one."""
        ...

    async def evict(self, ref: ObjectRef, *, grace_seconds: int | None = None, dry_run: bool = False) -> None:
        """Evict a pod through the eviction API, uid as precondition; Blocked when a budget forbids it now."""
        ...

    async def allowed(self, verb: str, ref: ObjectRef, subresource: str = "") -> bool:
        """Whether we have the right to do this to the object."""
        ...

    async def exec(
        self, ref: ObjectRef, command: Sequence[str], *, container: str, timeout_seconds: float, limit: int
    ) -> ExecResult:
        """Run a program in a container, without a shell in between and without input.

        Args:
            ref: the pod.
            command: program and arguments, as they are.
            container: its name.
            timeout_seconds: the connection is cut then; what the program does afterwards nobody knows.
            limit: most bytes of each stream that are kept; the rest is read and dropped.

        Raises:
            Unavailable: the connection broke, or time was up; the program may have run.
        """
        ...

    async def logs(
        self,
        ref: ObjectRef,
        *,
        container: str,
        limit: int,
        tail: int | None = None,
        since_seconds: int | None = None,
        previous: bool = False,
    ) -> str:
        """What a container wrote, at most ``limit`` bytes of it; NotFound or Invalid when there is none."""
        ...


class Journal(Protocol):
    """The durable memory of executions. Every write carries the epoch and raises ``Fenced`` when it is old."""

    async def load(self, execution_id: str) -> ExecutionRecord | None:
        """The execution with its steps so far."""
        ...

    async def intend(self, execution_id: str, epoch: int, step: StepRun) -> None:
        """Make the intent durable; returns only when it is."""
        ...

    async def outcome(self, execution_id: str, epoch: int, step: StepRun) -> None:
        """Make the step's outcome durable."""
        ...

    async def advance(self, execution_id: str, epoch: int, status: Status, **facts: Any) -> None:
        """Move the execution on (``verifying``, ``rolling_back``), with facts such as ``verify_from``."""
        ...

    async def finish(
        self,
        execution_id: str,
        epoch: int,
        outcome: Outcome,
        verdict: Verdict | None,
        *,
        error: str = "",
        evidence: Sequence[Evidence] = (),
        actions_taken: Sequence[str] = (),
    ) -> None:
        """End the execution and free its claim."""
        ...


class Guard(Protocol):
    """Asked before each step of an execution."""

    async def check(self, execution_id: str, target_key: str, epoch: int) -> None:
        """Raise ``Paused`` or ``LeaseLost`` when no further step may start."""
        ...


class Http(Protocol):
    """Outgoing HTTP."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: str | bytes,
        timeout_seconds: float,
        max_bytes: int = 0,
    ) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and text (bounded). Raises ``Unavailable`` when no answer came.

        With ``max_bytes`` a longer answer is refused as ``StepFailed`` instead of cut.
        """
        ...


class Chat(Protocol):
    """Messages to people."""

    async def post(self, channel: str, text: str) -> str:
        """Post; returns the message's id. Raises ``NotConfigured`` or ``Unavailable``."""
        ...


class GraphReader(Protocol):
    """Read-only Cypher for ``check_neo4j``."""

    async def read(self, query: str, parameters: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Rows of a read transaction; bounded in time and number. Writes are refused."""
        ...


class Secrets(Protocol):
    """Secret values, fetched at the moment of use, never stored."""

    async def get(self, name: str) -> str:
        """The value. Raises ``MissingSecret``, ``NotConfigured``, ``Unavailable``."""
        ...

    def forget(self, names: Collection[str]) -> None:
        """A target refused these: whoever keeps them in memory asks for them anew."""
        ...


class FreshSignals(Protocol):
    """Signals about a target that came after a moment."""

    async def since(
        self, tenant: str, target_key: str, subjects: Sequence[ObjectRef], moment: datetime
    ) -> Sequence[str]:
        """One line for each failing signal about these subjects (or the target) whose event time is later."""
        ...


class Clock(Protocol):
    """Time is a port."""

    def now(self) -> datetime:
        """Wall clock, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Hooks(Protocol):
    """Where metrics and logs hang on. Must not raise and must be quick."""

    def event(self, name: str, **facts: Any) -> None:
        """Something happened: ``execution.started``, ``step.finished``, ``execution.finished``, ..."""
        ...
