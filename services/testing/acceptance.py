"""Acceptance packs: what a runbook must do, written down beside it.

my-runbook/
  runbook.yaml
  acceptance.yml        scenarios: fixture, fakes, and what is expected
  fixtures/ expected/ screenshots/
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runbooks.findings import RunbookError, did_you_mean
from runbooks.loader import SUFFIXES, load_file
from runbooks.model import LoadedRunbook
from runbooks.subject import Actions
from runbooks.yaml_source import parse_yaml

NAMES = ("acceptance.yml", "acceptance.yaml")
RUNBOOKS = ("runbook.yaml", "runbook.yml", "runbook.json")
"""What the runbook of a pack is called, unless it is the only YAML file beside it or the pack names it."""


class PackError(Exception):
    """An acceptance pack cannot be used; the text names file, line and what is expected."""


class Part(BaseModel):
    """Base: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | Mapping) else value


class Answered(Part):
    """The declared answer of an HTTP server. The first one that fits is given; it may be given any number of times."""

    method: str = Field("*", description="GET, POST, ...; * for any")
    url: str = Field("*", description="Address or path; globs allowed")
    contains: str = Field("", description="Text that the body of the request must hold")
    status: int = Field(200, ge=100, le=599, description="Status of the answer")
    body: Any = Field("", description="Text, or data that is sent as JSON")
    fixture: bool = Field(False, description="The scenario's fixture is the body")


class Rows(Part):
    """The declared answer of a database or of the graph."""

    contains: str = Field("", description="Text that the statement must hold")
    rows: tuple[Mapping[str, Any], ...] = Field((), description="What it gives")
    changed: int = Field(-1, description="How many rows a write touched")


class Measured(Part):
    """The declared answer of Prometheus."""

    contains: str = Field("", description="Text that the query must hold")
    values: tuple[float, ...] = Field(description="Value of each series")


class Sick(Part):
    """Pods that do not get ready."""

    why: str = Field(description="As the kubelet says it: OOMKilled, ImagePullBackOff, CrashLoopBackOff")
    labels: Mapping[str, str] = Field({}, description="Which pods; left out, all")
    unless: str = Field("false", description="Expression about `pod`; where it holds the pod is well")


class StepAnswer(Part):
    """The declared answer of one step, whatever its action would do. It changes nothing in the cluster."""

    output: Any = Field(None, description="What the step gives")
    error: str = Field("", description="The step fails with this text")


class Fakes(Part):
    """The world of a scenario."""

    cluster: tuple[Mapping[str, Any], ...] = Field((), description="Kubernetes objects that are there")
    manifests: Annotated[tuple[str, ...], BeforeValidator(_as_list)] = Field((), description="Files of such objects")
    sick: tuple[Sick, ...] = Field((), description="Pods that do not get ready")
    http: tuple[Answered, ...] = Field((), description="Answers of HTTP servers")
    sql: tuple[Rows, ...] = Field((), description="Answers of databases")
    graph: tuple[Rows, ...] = Field((), description="Answers of the graph (check_neo4j)")
    metrics: tuple[Measured, ...] = Field((), description="Answers of Prometheus")
    steps: Mapping[str, StepAnswer] = Field({}, description="Answers of single steps, by their ids")


class Happening(Part):
    """The incident that the runbook answers."""

    reason: str = Field("", description="Reason of the root cause; left out, the first that the runbook names")
    symptom: str = Field("", description="Reason of the alert")
    severity: str = Field("critical", description="Of the alert")
    confidence: float = Field(0.95, ge=0, le=1, description="Of the diagnosis")
    target: str = Field(description="KIND/NAMESPACE/NAME of the workload, or Node/NAME")
    about: str = Field(
        "", description="KIND/NAME of what the cause is about, in its namespace; left out, one of its pods"
    )
    container: str = Field("", description="The container that it is about")
    labels: Mapping[str, str] = Field({}, description="Of the alert")
    message: str = Field("", description="Of the alert")


class ExpectedErrors(Part):
    """What went wrong on the way."""

    count: int | str = Field("> 0", description="How many: a number or a comparison")
    type: str = Field("", description="At least one is of this type: schema_validation, or the name of an action")
    contains: str = Field("", description="At least one holds this text")


class ExpectedCall(Part):
    """Something that was sent to the world."""

    verb: str = Field(description="patch, create, delete, evict, replace, or an HTTP method")
    object: str = Field("*", description="Object or address; globs allowed")
    contains: str = Field("", description="Text that was sent with it")
    times: int | str = Field(">= 1", description="How often: a number or a comparison; 0 for never")


class Expected(Part):
    """What must come of a scenario; what is left out is not looked at."""

    status: str | None = Field(
        None, description="success, failure, partial, rollback, aborted, refused, approval, plan_failed"
    )
    verdict: str | None = Field(None, description="verified, not_fixed, inconclusive")
    check: str | None = Field(None, description="The gate's check that refused")
    message: str | None = Field(None, description="Text that the error or refusal holds")
    kpis: Mapping[str, Any] = Field({}, description="Published or measured numbers: a value or a comparison")
    steps: Mapping[str, Any] = Field({}, description="By id: a status, or {status, output, error}")
    errors: ExpectedErrors | None = Field(None, description="What went wrong on the way")
    screenshots: Mapping[str, str] = Field({}, description="By name of the picture: its baseline file")
    calls: tuple[ExpectedCall, ...] = Field((), description="What was sent to the world")
    files: Mapping[str, str] = Field({}, description="By step id: file with the expected output, JSON")


class Scenario(Part):
    """One course of events."""

    name: str = Field(min_length=1, description="For people; unique in the pack")
    fixture: str = Field("", description="File with input data, JSON or YAML")
    incident: Happening | None = Field(None, description="What happened; runbooks without a target need none")
    params: Mapping[str, Any] = Field({}, description="Parameters of the runbook")
    secrets: Mapping[str, str] = Field({}, description="Values of secrets, made up")
    approve: bool = Field(True, description="Whether the human who is asked says yes")
    fakes: Fakes = Field(Fakes(), description="The world; what is declared nowhere does not answer")
    expected: Expected = Field(Expected(status="success"), description="What must come of it")


class Pack(Part):
    """An acceptance file."""

    runbook: str = Field("", description="The runbook's file; left out, the only one in the folder")
    scenarios: tuple[Scenario, ...] = Field(min_length=1, description="What is tried")


@dataclass(frozen=True, slots=True)
class LoadedPack:
    """A pack with its runbook and its folder."""

    path: Path
    pack: Pack
    runbook: LoadedRunbook

    def file(self, name: str) -> Path:
        """A file of the pack.

        Raises:
            PackError: it is not there, or outside of the folder.
        """
        home = self.path.parent.resolve()
        found = (home / name).resolve()
        if not found.is_relative_to(home):
            raise PackError(f"{self.path}: {name} is not in the folder of the pack")
        if not found.is_file():
            there = [str(one.relative_to(home)) for one in sorted(home.rglob("*")) if one.is_file()][:200]
            raise PackError(f"{self.path}: there is no file {name}; {did_you_mean(name, there)}")
        return found

    def data(self, name: str) -> Any:
        """The data of a JSON or YAML file of the pack."""
        path = self.file(name)
        try:
            text = path.read_text("utf-8")
            return parse_yaml(text).value if path.suffix in SUFFIXES else json.loads(text)
        except (ValueError, RunbookError) as error:
            raise PackError(f"{path} cannot be read: {error}") from error


def find_packs(paths: Sequence[Path]) -> list[Path]:
    """The acceptance files under these paths, in order.

    Raises:
        PackError: a path does not exist.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise PackError(f"{path} does not exist")
        if path.is_file():
            found.append(path if path.name in NAMES else _beside(path))
        else:
            found += sorted(one for name in NAMES for one in path.rglob(name))
    return list(dict.fromkeys(found))


def _beside(runbook: Path) -> Path:
    for name in NAMES:
        if (runbook.parent / name).is_file():
            return runbook.parent / name
    raise PackError(f"{runbook}: there is no {NAMES[0]} beside it")


def load_pack(path: Path, actions: Actions | None = None) -> LoadedPack:
    """Read an acceptance file with its runbook.

    Raises:
        PackError: it cannot be used; the text names every problem with its line.
    """
    try:
        source = parse_yaml(path.read_bytes())
    except (OSError, RunbookError) as error:
        raise PackError(f"{path}: {error}") from error
    try:
        pack = Pack.model_validate(source.value)
    except ValidationError as error:
        told = "\n".join(_told(path, source, dict(problem)) for problem in error.errors(include_url=False))
        raise PackError(told) from error
    names = [one.name for one in pack.scenarios]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PackError(f"{path}: two scenarios have the name {twice[0]!r}")
    return LoadedPack(path, pack, _runbook(path, pack, actions))


def _told(path: Path, source: Any, problem: Mapping[str, Any]) -> str:
    place = tuple(problem["loc"])
    line, column = source.value_at(place)
    where = ".".join(str(part) for part in place)
    if problem["type"] == "extra_forbidden":
        return f"{path}:{line}:{column}: there is no key {where}; {did_you_mean(str(place[-1]), _keys_of(place))}"
    return f"{path}:{line}:{column}: {where}: {problem['msg']}"


def _keys_of(place: Sequence[Any]) -> list[str]:
    """The keys that the pack knows at a place."""
    owner: dict[str, type[Part]] = {
        "scenarios": Scenario, "expected": Expected, "fakes": Fakes, "incident": Happening, "errors": ExpectedErrors,
        "calls": ExpectedCall, "http": Answered, "sql": Rows, "graph": Rows, "metrics": Measured, "sick": Sick,
    }  # fmt: skip
    found = next((owner[part] for part in reversed(place[:-1]) if part in owner), Pack)
    return list(found.model_fields)


def _runbook(path: Path, pack: Pack, actions: Actions | None) -> LoadedRunbook:
    if pack.runbook:
        chosen = path.parent / pack.runbook
    else:
        there = [path.parent / name for name in RUNBOOKS if (path.parent / name).is_file()][:1]
        there = there or [one for one in sorted(path.parent.glob("*.y*ml")) if one.name not in NAMES]
        if len(there) != 1:
            found = "there are several runbooks" if there else "there is no runbook"
            raise PackError(f"{path}: {found} in its folder; say which one with the key runbook")
        chosen = there[0]
    try:
        return load_file(chosen, actions=actions)
    except RunbookError as error:
        raise PackError(f"the runbook cannot be used:\n{error}") from error


def acceptance_schema() -> dict[str, Any]:
    """JSON Schema of acceptance files, for editors."""
    schema = Pack.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Rootmend acceptance pack"}
