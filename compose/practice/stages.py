"""The stages that KWOK plays, checked before KWOK sees them.

KWOK silently ignores a misspelt field, and an error in an expression stops it when the first pod meets it. So the
files are read into models that know every field, and named predicates are put in their places.
"""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

_FOLDER = files("compose") / "practice" / "stages"
_PREDICATES = "predicates.yaml"
# In the format of a container runtime, which KWOK parses as a kubelet does.
POD_LOG = (
    "2026-01-01T00:00:00.000000000Z stdout F "
    "This is the practice cluster: KWOK plays the kubelet, and no container runs or writes a log.\n"
)
"""What every pod of the practice cluster logs."""
LAST_LOG = (
    "2025-12-31T23:59:59.000000000Z stderr F "
    "This is the run before: on the practice cluster it looks the same for every container.\n"
)
"""What the run of a container before the present one logged."""
EXEC_NAMESPACE = "practice-exec"
"""Commands can be run in pods of this namespace only: they run on this machine, in an empty folder."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ResourceRef(_Strict):
    """The kind of object that a stage moves."""

    apiGroup: Literal["v1"]  # noqa: N815 - the names are KWOK's
    kind: Literal["Pod", "Node"]


class MatchExpression(_Strict):
    """One condition: the answers of a jq expression compared with values."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _values_fit(self) -> "MatchExpression":
        if (self.operator in ("In", "NotIn")) != bool(self.values):
            raise ValueError(f"{self.operator} with values {self.values}")
        return self


class Selector(_Strict):
    """All conditions must hold. A stage without any would match every object."""

    matchExpressions: tuple[MatchExpression, ...] = Field(min_length=1)  # noqa: N815


class ExpressionFrom(_Strict):
    """A value computed from the object by jq."""

    expressionFrom: str  # noqa: N815


class Delay(_Strict):
    """How long an object waits before it moves."""

    durationMilliseconds: int = Field(ge=0)  # noqa: N815
    durationFrom: ExpressionFrom | None = None  # noqa: N815
    jitterDurationMilliseconds: int | None = Field(default=None, ge=0)  # noqa: N815


class Patch(_Strict):
    """A change of the object's status, as a Go template that gives YAML."""

    subresource: Literal["status"]
    root: Literal["status"]
    type: Literal["strategic"]
    template: str


class StageEvent(_Strict):
    """An event that is sent about the object."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


class Step(_Strict):
    """One thing that a stage does."""

    patch: Patch | None = None
    event: StageEvent | None = None
    delete: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> "Step":
        if len(self.model_fields_set) != 1:
            raise ValueError(f"a step does one thing, this one does {sorted(self.model_fields_set)}")
        return self


class StageSpec(_Strict):
    """When a stage applies, and what it does."""

    resourceRef: ResourceRef  # noqa: N815
    selector: Selector
    weight: int = Field(default=0, ge=0)
    delay: Delay | None = None
    steps: tuple[Step, ...] = Field(min_length=1)


class Metadata(_Strict):
    """The name of a stage."""

    name: str


class Stage(_Strict):
    """One stage, as KWOK reads it."""

    apiVersion: Literal["kwok.x-k8s.io/v1alpha1"]  # noqa: N815
    kind: Literal["Stage"]
    metadata: Metadata
    spec: StageSpec


def predicates() -> dict[str, str]:
    """The named jq expressions."""
    found: dict[str, str] = yaml.safe_load((_FOLDER / _PREDICATES).read_text(encoding="utf-8"))
    return {name: expression.strip() for name, expression in found.items()}


def load() -> list[Stage]:
    """Every stage, with its predicates resolved."""
    known = predicates()
    return [Stage.model_validate(_resolve(document, known)) for document in _documents()]


def _documents() -> Iterator[Any]:
    for path in sorted(_FOLDER.iterdir(), key=lambda each: each.name):
        if path.name.endswith(".yaml") and path.name != _PREDICATES:
            yield from yaml.safe_load_all(path.read_text(encoding="utf-8"))


def _resolve(node: Any, known: dict[str, str]) -> Any:
    """Put the expression in place of every "@name"; an unknown name is a KeyError."""
    if isinstance(node, dict):
        return {key: _resolve(value, known) for key, value in node.items()}
    if isinstance(node, list):
        return [_resolve(each, known) for each in node]
    return known[node[1:]] if isinstance(node, str) and node.startswith("@") else node


def text(*, log: Path, last_log: Path, exec_folder: Path) -> str:
    """All stages as the one file that KWOK is given, with the logs that pods show and where their commands run.

    Args:
        log: what every pod shows.
        last_log: what it shows of the run before.
        exec_folder: where the commands of ``EXEC_NAMESPACE`` run.
    """
    documents: list[dict[str, Any]] = [
        stage.model_dump(exclude_none=True, exclude_unset=True, mode="json") for stage in load()
    ]
    documents.append(
        _about("ClusterLogs", "every-pod", {"logs": [{"logsFile": str(log), "previousLogsFile": str(last_log)}]})
    )
    runs = {"local": {"workDir": str(exec_folder)}}
    chosen = {"matchNamespaces": [EXEC_NAMESPACE]}
    documents.append(_about("ClusterExec", EXEC_NAMESPACE, {"selector": chosen, "execs": [runs]}))
    return yaml.safe_dump_all(documents, sort_keys=False)


def _about(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
