"""Which dialect a file is written in, and its canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from runbooks.dialects.ops001 import translate_ops001
from runbooks.dialects.tree import Node, Report, canonical_source
from runbooks.dialects.v1 import translate_v1
from runbooks.findings import RunbookError, did_you_mean, errors_of
from runbooks.rules import finding
from runbooks.yaml_source import Source

TOP = "runbook"
V1_API = "runbooks/v1"
_OPS_001 = frozenset({"legal_basis", "assumptions", "kpis"})
_OTHERS: Mapping[str, str] = {
    "mappings": "a list of alerts and their runbooks: name it under runbooks.mappings in the settings",
    "scenarios": "an acceptance pack: it belongs beside a runbook, and rb test reads it",
    "secrets": "a list of secrets: they come from the environment or a folder, see secrets in the settings",
    "assignments": "a list of roles: access is given in the settings",
    "catalog": "the index of a catalog: rb catalog reads it",
}
"""Documents that stand beside runbooks, by the key that shows what they are."""


class Dialect(StrEnum):
    """How a runbook is written."""

    CANONICAL = "canonical"
    V1 = "runbooks/v1"
    OPS_001 = "ops-001"


class OtherDocument(RunbookError):
    """The file is no runbook, but another document that has its place beside runbooks.

    Attributes:
        key: that shows what it is (``mappings``, ``scenarios``, ``secrets``, ``assignments``, ``catalog``).
    """

    def __init__(self, key: str, error: RunbookError) -> None:
        super().__init__(error.findings)
        self.key = key


@dataclass(frozen=True, slots=True)
class Canonical:
    """A file in its canonical form.

    Attributes:
        source: with the places of the original.
        report: what was decided on the way.
    """

    dialect: Dialect
    source: Source
    report: Report = field(default_factory=Report)


def canonical(source: Source, *, bare: bool = False) -> Canonical:
    """The canonical form of a parsed file.

    Args:
        source: of any dialect.
        bare: the body may stand without the key ``runbook`` (JSON, as programs send it).

    Raises:
        RunbookError: it is no runbook of any dialect, or cannot be translated.
        OtherDocument: it is another document that is known.
    """
    value = source.value
    if not isinstance(value, Mapping):
        raise RunbookError([finding("RB101", "the file is not a mapping", source.value_at(()))])
    if TOP in value:
        return Canonical(Dialect.CANONICAL, source)
    if "apiVersion" in value:
        return _translated(Dialect.V1, _checked_v1(source, value))
    if "steps" in value and (_OPS_001 & value.keys() or _typed(value["steps"])):
        return _translated(Dialect.OPS_001, source)
    if bare and {"id", "steps"} <= value.keys():
        return Canonical(Dialect.CANONICAL, _wrapped(source))
    raise _not_a_runbook(source, value)


def _typed(steps: Any) -> bool:
    """Steps that say their type and no action."""
    first = steps[0] if isinstance(steps, list) and steps else None
    return isinstance(first, Mapping) and "type" in first and "action" not in first


def _checked_v1(source: Source, value: Mapping[str, Any]) -> Source:
    api, kind = value["apiVersion"], value.get("kind")
    if api != V1_API:
        message, advice = f"apiVersion {api!s:.60} is unknown", did_you_mean(str(api), [V1_API])
        raise RunbookError([finding("RB101", message, source.value_at(("apiVersion",)), advice=advice)])
    if kind != "Runbook":
        message = f"kind {kind!s:.60} is not Runbook" if kind is not None else "the file has no kind"
        raise RunbookError([finding("RB101", message, source.value_at(("kind",)), advice="write kind: Runbook")])
    return source


def _translated(dialect: Dialect, source: Source) -> Canonical:
    report = Report()
    top = Node(source, report, (), source.value)
    body = translate_v1(top) if dialect is Dialect.V1 else translate_ops001(top)
    if errors_of(report.findings):
        raise RunbookError([*source.findings, *report.findings])
    made = canonical_source(source, body, TOP)
    made.findings += report.findings
    return Canonical(dialect, made, report)


def _wrapped(source: Source) -> Source:
    """The body below the key that it was sent without."""
    wrapped = Source({TOP: source.value}, findings=list(source.findings))
    wrapped.keys = {(TOP,): (1, 1), **{(TOP, *path): at for path, at in source.keys.items()}}
    wrapped.values = {(): (1, 1), **{(TOP, *path): at for path, at in source.values.items()}}
    wrapped.bare = {(TOP, *path): text for path, text in source.bare.items()}
    return wrapped


def _not_a_runbook(source: Source, value: Mapping[str, Any]) -> RunbookError:
    keys = ", ".join(map(str, list(value)[:5]))
    message = f"the file has no key runbook, but {keys}"[:200] if keys else "the file has no key runbook"
    for key, what in _OTHERS.items():
        if key in value and "steps" not in value:
            found = finding("RB101", message, source.key_at((key,)), advice=f"this is {what}")
            return OtherDocument(key, RunbookError([*source.findings, found]))
    return RunbookError([*source.findings, finding("RB101", message, source.value_at(()))])
