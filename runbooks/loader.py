"""From files to runbooks. Whatever is wrong is found with its place; nothing else than ``RunbookError`` is raised."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from runbooks.dialects.recognise import TOP, Canonical, OtherDocument, canonical
from runbooks.findings import Finding, RunbookError, Severity, errors_of
from runbooks.json_source import json_error, looks_like_json, parse_json
from runbooks.kept_files import content_of
from runbooks.lint import lint
from runbooks.lint_calls import check_calls
from runbooks.model import LoadedRunbook, Runbook
from runbooks.rules import finding
from runbooks.shape import shape_findings
from runbooks.subject import Actions
from runbooks.yaml_source import Path as Place
from runbooks.yaml_source import Position, Source, parse_yaml

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
BESIDE = frozenset({"fixtures", "expected", "screenshots"})
"""Folders of an acceptance pack; no runbooks are looked for in them."""


def load_text(text: str | bytes, path: Path | None = None, *, actions: Actions | None = None) -> LoadedRunbook:
    """Read a runbook of any dialect.

    Args:
        text: YAML or JSON.
        path: the file it came from, for messages.
        actions: JSON Schema of each action's parameters by name and alias; without it actions are not checked.

    Returns:
        The runbook in its canonical form, with its warnings and the places of the original.

    Raises:
        RunbookError: it cannot be used; holds every finding.
        OtherDocument: it is no runbook, but a document that has its place beside runbooks.
    """
    try:
        return _load(text, path, actions)
    except RunbookError as error:
        raise _at(error, path) from error


def _at(error: RunbookError, path: Path | None) -> RunbookError:
    placed = RunbookError([found.at(path) for found in error.findings])
    return OtherDocument(error.key, placed) if isinstance(error, OtherDocument) else placed


def _load(text: str | bytes, path: Path | None, actions: Actions | None) -> LoadedRunbook:
    source = read_canonical(text, path).source
    runbook = validated(source)
    lines = {_shared_place(place[1:]): _shared_position(at) for place, at in source.keys.items() if len(place) > 1}
    found = [*source.findings, *lint(runbook, lines, actions)]
    if errors_of(found):
        raise RunbookError(found)
    encoded = text.encode() if isinstance(text, str) else text
    # Everything is checked already: validating the positions again would copy them.
    return LoadedRunbook.model_construct(
        runbook=runbook,
        sha=hashlib.sha256(encoded).hexdigest(),
        path=path,
        lines=lines,
        findings=tuple(warning.at(path) for warning in found),
        text=encoded.decode("utf-8", "replace"),
    )


def read_canonical(text: str | bytes, path: Path | None = None) -> Canonical:
    """The canonical form of a text, not yet checked.

    Raises:
        RunbookError: it is no runbook of any dialect.
    """
    named_json = path is not None and path.suffix == ".json"
    if named_json or looks_like_json(text):
        source = parse_json(text)
        if source is not None:
            return canonical(source, bare=True)
        if named_json:
            raise json_error(text)
    return canonical(parse_yaml(text))


@lru_cache(maxsize=8192)
def _shared_place(place: Place) -> Place:
    """One object for places that many runbooks have, such as ``("steps", 0, "action")``: a thousand stay small."""
    return place


@lru_cache(maxsize=8192)
def _shared_position(position: Position) -> Position:
    return position


def validated(source: Source) -> Runbook:
    """The runbook of a canonical source.

    Raises:
        RunbookError: it does not have the right shape.
    """
    body = _body(source)
    version: Place = (TOP, "version")
    if version in source.bare and _is_number(body.get("version")):
        body = {**body, "version": source.bare[version]}
    try:
        return Runbook.model_validate(body)
    except ValidationError as error:
        raise RunbookError([*source.findings, *shape_findings(error, source, (TOP,))]) from error


def _is_number(value: object) -> bool:
    """Whether a version was read as a number, and not as a word that YAML takes for true or false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _body(source: Source) -> dict[str, Any]:
    value = source.value
    extra = [
        finding("RB102", f"{key} stands beside runbook:", source.key_at((key,)), advice="indent it below runbook:")
        for key in value
        if key != TOP
    ]
    body = value[TOP]
    if not isinstance(body, dict):
        extra.append(finding("RB104", "runbook: holds no mapping", source.key_at((TOP,))))
    if extra:
        raise RunbookError([*source.findings, *extra])
    checked: dict[str, Any] = body
    return checked


def load_file(path: Path, *, actions: Actions | None = None) -> LoadedRunbook:
    """Read a runbook from a file.

    Raises:
        RunbookError: the file cannot be read, or the runbook cannot be used.
    """
    return load_text(content_of(path), path, actions=actions)


def runbook_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The runbook files under these paths, in order; hidden files and folders are left out.

    A path that does not exist is given too, so that reading it says so.
    """
    seen: set[Path] = set()
    for path in paths:
        files = sorted(_in_folder(path)) if path.is_dir() else [path]
        for file in files:
            if file not in seen:
                seen.add(file)
                yield file


def _in_folder(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        parts = file.relative_to(folder).parts
        left_out = any(part.startswith(".") for part in parts) or BESIDE.intersection(parts[:-1])
        if file.suffix in SUFFIXES and not left_out and not file.is_dir():
            yield file


def stands_beside(file: Path) -> bool:
    """Whether a file is no runbook, but another document that has its place beside runbooks."""
    try:
        read_canonical(file.read_bytes(), file)
    except OtherDocument:
        return True
    except (OSError, RunbookError):
        return False
    return False


def load_folder(*paths: Path, actions: Actions | None = None) -> tuple[dict[str, LoadedRunbook], tuple[Finding, ...]]:
    """Read every runbook under some folders or files.

    Returns:
        The usable runbooks by id, and every finding. Other documents of a folder (mappings, acceptance packs) are left
        to those who read them. Of two runbooks with one id the first stays; that is an error
        in a folder, and a warning for a file that is named by itself.
    """
    loaded: dict[str, LoadedRunbook] = {}
    found: list[Finding] = []
    for file in runbook_files(paths):
        try:
            runbook = load_file(file, actions=actions)
        except OtherDocument as error:
            found.extend(error.findings if file in paths else ())
            continue
        except RunbookError as error:
            found.extend(error.findings)
            continue
        found.extend(runbook.findings)
        first = loaded.setdefault(runbook.runbook.id, runbook)
        if first is not runbook:
            # Files that are named one by one need not be meant for one folder.
            severity = Severity.WARNING if file in paths else Severity.ERROR
            found.append(duplicate_id(runbook, first, severity))
    # A file that is named by itself may call what stands elsewhere.
    alone = any(runbook.path in paths for runbook in loaded.values())
    return loaded, (*found, *check_calls(loaded, complete=not alone))


def duplicate_id(second: LoadedRunbook, first: LoadedRunbook, severity: Severity = Severity.ERROR) -> Finding:
    """The finding that a runbook has the id of another one."""
    same = first.runbook.version == second.runbook.version
    version = f"also in version {first.runbook.version}" if same else f"there in version {first.runbook.version}"
    message = f"the id {second.runbook.id} is taken by {first.path}, {version}"
    return finding("RB414", message, second.lines.get(("id",), (1, 1)), severity=severity).at(second.path)
