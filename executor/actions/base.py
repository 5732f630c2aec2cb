"""What an action is: its declaration, and the five moments of its life.

    plan       before the gate: check the parameters, read what is there, say what will change and how it is undone
    prepare    just before the intent is written: read again under the lease, compare with the plan, save what is undone
    perform    the side effect, stamped
    recover    after a crash between intent and outcome: ask the target what happened
    undo       the automatic inverse

Reads have ``plan`` (which already gives the result) and ``perform``; the rest keeps its default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from executor.accounts import Impersonates
from executor.actions.needs import Right
from executor.data_ports import Files, Metrics, MetricsSink, NotSetUp, Shell, Sql
from executor.errors import StepFailed
from executor.exec_rules import ExecRules
from executor.model import Access, Change, ObjectRef, PlannedStep
from executor.people_ports import People
from executor.ports import Chat, Clock, Cluster, GraphReader, Http, Secrets
from executor.screen_ports import NoScreens, Screens


class Params(BaseModel):
    """Base of all action parameters: unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, coerce_numbers_to_str=True)


@dataclass(frozen=True, slots=True)
class World:
    """The ports that actions act through.

    Attributes:
        http_base: where addresses that are only a path belong to.
        impersonates: gives the cluster as another account sees it; None where nobody can act as another.
    """

    cluster: Cluster
    http: Http
    chat: Chat
    graph: GraphReader
    secrets: Secrets
    clock: Clock
    metrics: Metrics = field(default_factory=NotSetUp)
    metrics_sink: MetricsSink = field(default_factory=NotSetUp)
    sql: Sql = field(default_factory=NotSetUp)
    shell: Shell = field(default_factory=NotSetUp)
    files: Files = field(default_factory=NotSetUp)
    exec_rules: ExecRules = field(default_factory=ExecRules)
    people: People = field(default_factory=People)
    screens: Screens = field(default_factory=NoScreens)
    impersonates: Impersonates | None = None
    http_base: str = ""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What a step may leave out because the incident says it.

    Attributes:
        target: the owning workload or the node.
        pod: the pod that the cause is about, if any; it may be gone.
        parameters: for ``check_neo4j``: incident_id, incident_time, resource_rid, tenant, ...
        folder: of the runbook's file, for files beside it; empty when it came from elsewhere.
        runbook: its id.
    """

    target: ObjectRef
    namespace: str
    pod: str = ""
    container: str = ""
    node: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    folder: str = ""
    runbook: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Goes on every mutation, so that the target can be asked later who changed it."""

    execution: str
    step: str
    epoch: int

    def annotations(self) -> dict[str, str]:
        """As Kubernetes annotations."""
        return {
            "rootmend.dev/execution": self.execution,
            "rootmend.dev/step": self.step,
            "rootmend.dev/epoch": str(self.epoch),
        }


@dataclass(frozen=True, slots=True)
class Planned:
    """What planning a step gave.

    Attributes:
        params: the parameters as they will be used (defaults and targets filled in), JSON.
        changes: one for each mutation.
        result: of a read or a calculation.
        approval_reasons: why this step needs a human (irreversible, ...).
    """

    params: Mapping[str, Any]
    changes: tuple[Change, ...] = ()
    result: Any = None
    approval_reasons: tuple[str, ...] = ()


class Found(StrEnum):
    """What the target says of a step with an intent and no outcome."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Recovery:
    """The answer to "what happened?"."""

    found: Found
    output: Any = None
    detail: str = ""


P = TypeVar("P", bound=Params)


class Action(ABC, Generic[P]):
    """An action. Subclasses set the class attributes and override what differs from a plain read.

    Attributes:
        name: canonical name (``kubectl_patch``).
        aliases: other names that runbooks may use.
        access: what it does to the world.
        idempotent: whether it may simply be repeated after a crash.
        params_model: the typed parameters.
        example: YAML that shows its use.
        simulated: how a dry run treats it, in words; left empty, it is told from what the class overrides.
        undone: how it is undone, in words; as above.
        targets: what it touches, for the blast radius, in words; as above.
        rights: what it needs of the API server, reads, dry runs and the way back included; None: nobody has said.
        quoting: by parameter that holds another language: how a value is written between its quotes.
    """

    name: str
    aliases: tuple[str, ...] = ()
    access: Access = Access.READ
    idempotent: bool = True
    params_model: type[P]
    example: str = ""
    simulated: str = ""
    undone: str = ""
    targets: str = ""
    rights: tuple[Right, ...] | None = None
    quoting: ClassVar[Mapping[str, Callable[[str], str]]] = {}

    def access_of(self, params: Mapping[str, Any]) -> Access:
        """What a step with these parameters does to the world; they may still hold templates, which permit nothing."""
        return self.access

    def rights_for(self, params: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Right, ...] | None:
        """``rights`` of a step.

        Args:
            params: as its author wrote them, or as they were planned; they may hold templates.
            kinds: of the object that it names; several where only an incident can tell.
        """
        return self.rights

    def repeatable(self, params: Mapping[str, Any]) -> bool:
        """Whether a step with these parameters may simply be repeated after a crash."""
        return self.idempotent

    @abstractmethod
    async def plan(self, params: P, facts: TargetFacts, world: World) -> Planned:
        """Say what will happen. Reads give their result. Raises PlanError when it cannot be planned."""

    async def dry_run(self, step: PlannedStep, world: World) -> None:
        """Ask the server whether it would accept the changes; raises Invalid, Forbidden, ... when not."""

    async def prepare(self, step: PlannedStep, stamp: Stamp, world: World) -> Mapping[str, Any]:
        """Read the live objects, compare with the plan (Drifted), give what must be saved with the intent (JSON)."""
        return {}

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Do it; give the output (JSON). Must be cancellable: the runner enforces the timeout."""
        raise StepFailed(f"{self.name} is done while planning; there is nothing left to perform")

    async def recover(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Recovery:
        """Ask the target what happened to a step with an intent and no outcome. ``stamp`` is the crashed one's."""
        return Recovery(Found.NOT_DONE if self.idempotent else Found.UNKNOWN)

    async def undo(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> str:
        """Undo what ``perform`` did, from what was saved; one line for people. Safe to repeat."""
        return "nothing to undo"


ActionTable = Mapping[str, Action[Any]]
"""Actions by canonical name and by alias."""

Redact = Callable[[str], str]
"""Takes secrets out of a text."""
