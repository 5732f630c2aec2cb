"""Reading and checking files of mappings, and putting several of them in force together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runbooks.findings import Finding, RunbookError, did_you_mean, errors_of
from runbooks.kept_files import KeptFiles, content_of
from runbooks.mappings import COMPARED, REFERENCE, Defaults, Entry, Mapped, Mappings, MappingsFile, number_of
from runbooks.model import LoadedRunbook
from runbooks.rules import finding
from runbooks.shape import shape_findings
from runbooks.yaml_source import Source, parse_yaml


@dataclass(frozen=True, slots=True)
class LoadedMappings:
    """A file of mappings with where it came from.

    Attributes:
        sha: SHA-256 of its bytes, hex.
        findings: warnings; what is an error does not load.
    """

    content: MappingsFile
    path: Path | None = None
    sha: str = ""
    lines: Mapping[tuple[str | int, ...], tuple[int, int]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def found(self, code: str, message: str, path: tuple[str | int, ...], advice: str = "") -> Finding:
        """A finding at a part of the file."""
        here = path
        while here and here not in self.lines:
            here = here[:-1]
        return finding(code, message, self.lines.get(here, (1, 1)), advice=advice).at(self.path)


def load_mappings(text: str | bytes, path: Path | None = None) -> LoadedMappings:
    """Read a file of mappings.

    Raises:
        RunbookError: it cannot be used; holds every finding.
    """
    try:
        source = parse_yaml(text)
        content = _validated(source)
    except RunbookError as error:
        raise RunbookError([found.at(path) for found in error.findings]) from error
    encoded = text.encode() if isinstance(text, str) else text
    loaded = LoadedMappings(content, path, hashlib.sha256(encoded).hexdigest(), source.keys)
    found = (*(one.at(path) for one in source.findings), *_own_findings(loaded))
    if errors_of(found):
        raise RunbookError(found)
    return LoadedMappings(content, path, loaded.sha, loaded.lines, found)


def _validated(source: Source) -> MappingsFile:
    if not isinstance(source.value, dict):
        raise RunbookError([finding("RB101", "the file is not a mapping", advice="start with mappings:")])
    try:
        return MappingsFile.model_validate(source.value)
    except ValidationError as error:
        raise RunbookError([*source.findings, *shape_findings(error, source, (), MappingsFile)]) from error


def load_mappings_file(path: Path) -> LoadedMappings:
    """Read a file of mappings.

    Raises:
        RunbookError: it cannot be read or used.
    """
    return load_mappings(content_of(path), path)


def _own_findings(loaded: LoadedMappings) -> Iterator[Finding]:
    """What is wrong with a file by itself."""
    for index, mapped in enumerate(loaded.content.mappings):
        path: tuple[str | int, ...] = ("mappings", index)
        for name, value in mapped.parameters.items():
            rest = REFERENCE.sub("", str(value))
            if "{{" in rest or "$" in rest:
                advice = "write {{ $labels.NAME }}, {{ $annotations.NAME }} or {{ $value }}"
                yield loaded.found(
                    "RB301", f"{name}: {value!r:.60} cannot be filled in", (*path, "parameters", name), advice
                )
        for number, condition in enumerate(mapped.conditions):
            if not condition:
                yield loaded.found("RB110", "the condition is empty", (*path, "conditions", number))
            for name, test in condition.items():
                if problem := _problem(test):
                    yield loaded.found("RB111", f"{name}: {problem}", (*path, "conditions", number, name))


def _problem(test: Any) -> str:
    if isinstance(test, list | tuple):
        return next(filter(None, map(_problem, test)), "" if test else "an empty list holds never")
    if isinstance(test, Mapping) or test is None:
        return "expected a text, a number or a list"
    found = COMPARED.match(test) if isinstance(test, str) else None
    if found and not found["value"]:
        return f"{test!r} compares with nothing"
    if found and found["operator"] in {"<", ">", "<=", ">="} and number_of(found["value"]) is None:
        return f"{found['value']!r} is not a number"
    return ""


def check_mappings(files: Iterable[LoadedMappings], runbooks: Mapping[str, LoadedRunbook]) -> Iterator[Finding]:
    """Mappings against the runbooks that there are."""
    seen: dict[tuple[str, str], bool] = {}
    for loaded in files:
        for index, mapped in enumerate(loaded.content.mappings):
            path: tuple[str | int, ...] = ("mappings", index)
            runbook = runbooks.get(mapped.runbook)
            if runbook is None:
                advice = did_you_mean(mapped.runbook, runbooks) or "it is left out until there is one"
                yield loaded.found("RB230", f"there is no runbook {mapped.runbook}", (*path, "runbook"), advice)
            else:
                yield from _parameters(loaded, (*path, "parameters"), mapped, runbook)
            for alert in mapped.alert:
                key = (alert.lower(), mapped.runbook)
                if seen.get(key) is True:
                    message = f"{alert} has that runbook already, without conditions"
                    yield loaded.found("RB231", message, (*path, "alert"))
                seen[key] = seen.get(key, False) or not mapped.conditions


def _parameters(
    loaded: LoadedMappings, path: tuple[str | int, ...], mapped: Mapped, runbook: LoadedRunbook
) -> Iterator[Finding]:
    declared = {parameter.name: parameter for parameter in runbook.runbook.parameters}
    for name in mapped.parameters:
        if name not in declared:
            message = f"{mapped.runbook} declares no parameter {name}"
            yield loaded.found("RB232", message, (*path, name), did_you_mean(name, declared))
    for name, parameter in declared.items():
        if parameter.required and parameter.default is None and name not in mapped.parameters:
            message = f"{mapped.runbook} needs {name}"
            yield loaded.found("RB233", message, path, "give it here or in the settings under runbooks.parameters")


def in_force(files: Sequence[LoadedMappings], *, unusable: bool = False) -> Mappings:
    """Several files as one: entries in order, of the defaults the stricter."""
    defaults = [loaded.content.defaults for loaded in files]
    autos = [one.auto_trigger for one in defaults if one.auto_trigger is not None]
    merged = Defaults.model_construct(
        auto_trigger=all(autos) if autos else None,
        notify_channel=next((one.notify_channel for one in defaults if one.notify_channel), ""),
        suggest_runbook=any(one.suggest_runbook for one in defaults),
    )
    entries: list[Entry] = []
    for loaded in files:
        own = loaded.content.defaults.auto_trigger is True
        for index, mapped in enumerate(loaded.content.mappings):
            auto = own if mapped.auto_trigger is None else mapped.auto_trigger
            line = loaded.lines.get(("mappings", index), (1, 1))[0]
            entries.append(Entry(mapped, auto, f"{loaded.path.name if loaded.path else 'mappings'}:{line}"))
    return Mappings(tuple(entries), merged, unusable)


class MappingFiles:
    """Files of mappings that may change while they are used: a bad one keeps its last good version.

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._kept = KeptFiles(load_mappings_file)

    def reload(self) -> bool:
        """Read what changed; gives whether anything did."""
        return self._kept.reload(self._paths)

    @property
    def loaded(self) -> tuple[LoadedMappings, ...]:
        """The files that can be used, each in its last good version."""
        return self._kept.good

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What is wrong with the files as they are now."""
        return self._kept.errors

    @property
    def current(self) -> Mappings:
        """The mappings in force. A file that was never good leaves unmapped alerts to humans."""
        return in_force(self.loaded, unusable=self._kept.never_good)
