"""YAML as plain data that knows where each value stands in the file.

The text is read event by event, so that duplicate keys, tags, deep nesting and alias bombs are refused before any of
them can do harm. Dates stay texts. Everything else resolves as YAML 1.1 does, and its surprises are found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from yaml.resolver import Resolver

from runbooks.findings import Finding, RunbookError, errors_of
from runbooks.rules import finding

MAX_BYTES = 512 * 1024
MAX_DEPTH = 40
MAX_NODES = 20_000
_MAX_BITS = 1024

Path = tuple[str | int, ...]
"""Where a value stands in the data: keys and list indexes from the top."""

Position = tuple[int, int]
"""Line and column, from 1."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = Resolver()
_CONSTRUCTOR: Any = SafeConstructor()
_CORE = "tag:yaml.org,2002:"
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OTHER_BASE = re.compile(r"[-+]?0[0-7_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_WORDS = frozenset({"yes", "no", "on", "off"})


@dataclass(slots=True)
class Source:
    """A parsed text.

    Attributes:
        value: plain data.
        keys: position of each key (or list item) by its path.
        values: position of each value by its path.
        bare: what stood in the text, for unquoted words that became something else than text.
        findings: warnings.
    """

    value: Any = None
    keys: dict[Path, Position] = field(default_factory=dict)
    values: dict[Path, Position] = field(default_factory=dict)
    bare: dict[Path, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def key_at(self, path: Path) -> Position:
        """Position of the key, or of the nearest one above it."""
        return _nearest(self.keys, path)

    def value_at(self, path: Path) -> Position:
        """Position of the value, or of the nearest one above it."""
        return _nearest(self.values, path)


def _nearest(positions: dict[Path, Position], path: Path) -> Position:
    while path and path not in positions:
        path = path[:-1]
    return positions.get(path, (1, 1))


class _Refused(Exception):
    """Reading cannot go on."""

    def __init__(self, found: Finding) -> None:
        super().__init__(found.message)
        self.finding = found


def parse_yaml(text: str | bytes) -> Source:
    """Read one YAML document.

    Raises:
        RunbookError: it is not one plain document; every finding has its line and column.
    """
    source = Source()
    try:
        decoded = _decode(text)
        _Reader(decoded, source).read()
    except _Refused as refused:
        source.findings.append(refused.finding)
    if errors_of(source.findings):
        raise RunbookError(source.findings)
    return source


def _decode(text: str | bytes) -> str:
    if len(text) > MAX_BYTES:
        raise _Refused(finding("RB002", f"the file has {len(text)} bytes, at most {MAX_BYTES} are read"))
    if isinstance(text, bytes):
        encoded = text
        try:
            text = encoded.decode()
        except UnicodeDecodeError as error:
            before = encoded[: error.start].decode()
            message = f"byte 0x{encoded[error.start]:02x} is not UTF-8"
            raise _Refused(finding("RB001", message, _place(before, len(before)))) from error
    text = text.removeprefix("\ufeff")
    if control := _CONTROL.search(text):
        message = f"character U+{ord(control[0]):04X} is not allowed in YAML"
        raise _Refused(finding("RB016", message, _place(text, control.start())))
    return text


def _place(text: str, index: int) -> Position:
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1


def _position(event: Any) -> Position:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


class _Reader:
    """One pass over the events of a text."""

    def __init__(self, text: str, source: Source) -> None:
        self._text = text
        self._source = source
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self._events: Iterator[Any] = self._parse()

    def _parse(self) -> Iterator[Event]:
        try:
            yield from yaml.parse(self._text, Loader=_LOADER)
        except yaml.YAMLError as error:
            raise _Refused(_syntax_finding(error, self._text)) from error

    def read(self) -> None:
        """Fill the source."""
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused(finding("RB008", "a second document starts here", _position(event)))
            elif not isinstance(event, StreamStartEvent | StreamEndEvent | DocumentEndEvent):
                self._source.value = self._node(event, (), 0)
        if self._source.value is None:
            raise _Refused(finding("RB009", "the file holds nothing"))

    def _count(self, nodes: int, event: Event) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            message = f"the text expands to more than {MAX_NODES} values"
            raise _Refused(finding("RB007", message, _position(event)))

    def _node(self, event: Any, path: Path, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _Refused(finding("RB006", f"more than {MAX_DEPTH} levels", _position(event)))
        self._source.values[path] = _position(event)
        if isinstance(event, AliasEvent):
            return self._alias(event)
        self._count(1, event)
        self._check_tag(event)
        before = self._nodes - 1
        if isinstance(event, ScalarEvent):
            value = self._scalar(event, path)
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._nodes - before)
        return value

    def _alias(self, event: AliasEvent) -> Any:
        if event.anchor not in self._anchors:
            message = f"*{event.anchor} refers to no value above it"
            raise _Refused(finding("RB003", message, _position(event), advice=f"define it before with &{event.anchor}"))
        value, nodes = self._anchors[event.anchor]
        self._count(nodes, event)
        return value

    def _check_tag(self, event: Any) -> None:
        tag = event.tag
        if tag and tag != "!" and tag.removeprefix(_CORE) not in {"str", "int", "float", "bool", "null", "seq", "map"}:
            raise _Refused(finding("RB010", f"the tag {tag} is not allowed", _position(event)))

    def _sequence(self, path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                break
            here = (*path, len(items))
            self._source.keys[here] = _position(event)
            items.append(self._node(event, here, depth + 1))
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._key(event)
            if key in own:
                line = self._source.keys[(*path, key)][0]
                message = f"the key {key} is already in line {line}"
                self._source.findings.append(finding("RB005", message, _position(event)))
            here = (*path, key)
            self._source.keys[here] = _position(event)
            value = self._node(next(self._events), here, depth + 1)
            if key == "<<" and not event.style:
                merged = {**_merge(value, _position(event)), **merged}
            else:
                own[key] = value
        return {**merged, **own}

    def _key(self, event: Any) -> str:
        if not isinstance(event, ScalarEvent):
            advice = 'a template needs quotes around it: "{{ ... }}"' if self._text_at(event, "{") else ""
            raise _Refused(finding("RB011", "a key must be a word", _position(event), advice=advice))
        self._count(1, event)
        self._check_tag(event)
        tag = self._tag(event)
        if tag in {"str", "timestamp", "merge", "value"}:
            return str(event.value)
        message = f"the key {event.value or '(nothing)'} is read as {_KINDS.get(tag, tag)}"
        self._source.findings.append(finding("RB011", message, _position(event), advice=f'write "{event.value}":'))
        return str(event.value)

    def _text_at(self, event: Any, start: str) -> bool:
        return self._text.startswith(start, _index(self._text, event.start_mark.line, event.start_mark.column))

    def _tag(self, event: ScalarEvent) -> str:
        if event.tag == "!":
            return "str"
        tag = event.tag or _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
        return str(tag).removeprefix(_CORE)

    def _scalar(self, event: ScalarEvent, path: Path) -> Any:
        tag = self._tag(event)
        if tag not in {"int", "float", "bool", "null"}:
            return str(event.value)
        node = yaml.ScalarNode(_CORE + tag, event.value)
        try:
            value = getattr(_CONSTRUCTOR, f"construct_yaml_{tag}")(node)
        except (ValueError, KeyError, OverflowError) as error:
            message = f"{event.value[:40]!r} is not {_KINDS[tag]}"
            raise _Refused(finding("RB015", message, _position(event))) from error
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            raise _Refused(finding("RB015", f"{event.value[:40]}... is too large for a number", _position(event)))
        if isinstance(value, float) and not isfinite(value):
            raise _Refused(finding("RB015", f"{event.value[:40]} is not a finite number", _position(event)))
        self._source.bare[path] = str(event.value)
        self._surprises(event, value)
        return value

    def _surprises(self, event: ScalarEvent, value: Any) -> None:
        code = ""
        if isinstance(value, bool) and event.value.lower() in _WORDS:
            code, read = "RB012", "true" if value else "false"
        elif not isinstance(value, bool) and _OTHER_BASE.fullmatch(event.value) and event.value.strip("+-0"):
            code, read = "RB013", str(value)
        if code:
            self._source.findings.append(finding(code, f"{event.value} is read as {read}", _position(event)))


_KINDS = {"int": "a number", "float": "a number", "bool": "a boolean", "null": "nothing"}


def _merge(value: Any, position: Position) -> dict[str, Any]:
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, dict) for part in parts):
        raise _Refused(finding("RB003", "<< takes a mapping or a list of mappings", position))
    return {key: item for part in reversed(parts) for key, item in part.items()}


def _index(text: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line):
        start = text.find("\n", start) + 1
    return start + column


_HINTS = (
    ("mapping values are not allowed", "a text that holds `: ` needs quotes around it"),
    ("could not find expected ':'", "a `:` is missing, or this line is indented wrongly"),
    ("did not find expected key", "compare the indentation with the lines above"),
    ("did not find expected '-'", "compare the indentation with the other items"),
    ("did not find expected ',' or", "a bracket is not closed, or a template needs quotes around it"),
    ("unexpected end of stream", "a quote or bracket is not closed"),
    ("found unknown escape", "double the backslash, or use single quotes"),
    ("cannot start any token", "put the text in quotes"),
    ("block sequence entries are not allowed", "put the list on the next line"),
)


_NEVER_CLOSED = ("found unexpected end of stream", "did not find expected ',' or")


def _syntax_finding(error: yaml.YAMLError, text: str) -> Finding:
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    marks = ["problem_mark", "context_mark"]
    # What is never closed is noticed far below; the author looks for where it was opened.
    first = marks[::-1] if problem.startswith(_NEVER_CLOSED) else marks
    mark = next((mark for name in first if (mark := getattr(error, name, None)) is not None), None)
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    index = _index(text, line, column)
    if text[index : index + 1] == "\t" or "tab character" in problem:
        return finding("RB004", "a tab where YAML allows spaces only", (line + 1, column + 1))
    advice = next((hint for start, hint in _HINTS if start in problem), "")
    return finding("RB003", problem, (line + 1, column + 1), advice=advice)
