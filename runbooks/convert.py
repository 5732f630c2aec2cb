"""Writing a runbook of any dialect in the canonical form, with the comments of the original and of the decisions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from runbooks.dialects.recognise import TOP, Canonical, Dialect
from runbooks.findings import RunbookError
from runbooks.formatting import formatted
from runbooks.json_source import looks_like_json
from runbooks.loader import read_canonical, validated
from runbooks.rules import finding
from runbooks.yaml_source import Path as Place
from runbooks.yaml_source import parse_yaml

_WIDTH = 110
_QUOTED = re.compile(r"[0-9][0-9:._-]*")
_TRAILING = re.compile(r"[\s,\]}]*\s(#.*)$")


@dataclass(frozen=True, slots=True)
class Conversion:
    """A runbook in the canonical form.

    Attributes:
        dialect: that it was written in.
        text: YAML.
        decided: what the form of the original left open, and what was decided, in words.
        lost: what the canonical form cannot say.
    """

    dialect: Dialect
    text: str
    decided: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def converted(text: str, path: Path | None = None) -> Conversion:
    """Write a runbook in the canonical form. The result loads as the same model, or nothing is given.

    Args:
        text: of any dialect, YAML or JSON.
        path: for messages.

    Raises:
        RunbookError: it is no runbook, or cannot be written without changing it.
    """
    try:
        read = read_canonical(text, path)
        wanted = validated(read.source)
        written = _written(text, read)
        again = validated(read_canonical(written).source)
    except RunbookError as error:
        raise RunbookError([found.at(path) for found in error.findings]) from error
    if again != wanted:
        raise RunbookError([finding("RB003", "writing it again would change what it says").at(path)])
    return Conversion(read.dialect, written, tuple(dict.fromkeys(read.report.notes.values())), tuple(read.report.lost))


def _written(text: str, read: Canonical) -> str:
    is_json = looks_like_json(text)
    if read.dialect is Dialect.CANONICAL and not is_json:
        return formatted(text)
    body = dict(read.source.value[TOP])
    if (version := read.source.bare.get((TOP, "version"))) is not None:
        body["version"] = version
    plain = yaml.dump({TOP: body}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    notes: dict[Place, list[str]] = {}
    for place, comment in () if is_json else _carried(text, read):
        notes.setdefault(place, []).append(comment)
    for place, note in read.report.notes.items():
        notes.setdefault((TOP, *place), []).append(f"# {note}")
    return formatted(_annotated(plain, notes))


class _Dumper(yaml.SafeDumper):
    """Block style; texts of several lines as blocks; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value out wherever it stands."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        """Items of lists are indented."""
        return super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else '"' if _QUOTED.fullmatch(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _annotated(text: str, notes: Mapping[Place, list[str]]) -> str:
    """The text with comments above the keys that they belong to."""
    places = parse_yaml(text).keys
    lines = text.splitlines()
    above: dict[int, list[str]] = {}
    for place, comments in notes.items():
        here = place
        while here not in places and here:
            here = here[:-1]
        line = places.get(here, (1, 1))[0]
        above.setdefault(line, []).extend(comments)
    result: list[str] = []
    for number, written in enumerate(lines, 1):
        indent = written[: len(written) - len(written.lstrip())]
        result += [indent + comment for comment in dict.fromkeys(above.get(number, ()))]
        result.append(written)
    return "\n".join(result) + "\n"


def _carried(text: str, read: Canonical) -> Iterator[tuple[Place, str]]:
    """The comments of the original, each with the part of the canonical form that it stands at."""
    at_line: dict[int, Place] = {}
    for place, (line, _) in read.source.keys.items():
        if line not in at_line or len(place) < len(at_line[line]):
            at_line[line] = place
    known = sorted(at_line)
    for line, comment in _comments(text):
        following = next((one for one in known if one >= line), None)
        yield (at_line[following] if following is not None else (TOP,)), comment


def _comments(text: str) -> list[tuple[int, str]]:
    """Every comment, with its line. What stands inside of texts is none."""
    inside, ends = _scalars(text)
    found: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if number in inside:
            continue
        if line.lstrip().startswith("#"):
            found.append((number, line.strip()))
        elif (trailing := _TRAILING.fullmatch(line[ends.get(number, len(line)) :])) is not None:
            found.append((number, trailing[1]))
    return found


def _scalars(text: str) -> tuple[set[int], dict[int, int]]:
    """Lines within texts of several lines, and where the last value of each other line ends."""
    inside: set[int] = set()
    ends: dict[int, int] = {}
    events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
    for event in events:
        start, end = event.start_mark, event.end_mark
        if isinstance(event, yaml.ScalarEvent) and end.line > start.line:
            last = end.line + 1 if end.column else end.line
            inside.update(range(start.line + 2, last + 1))
        elif isinstance(event, yaml.ScalarEvent | yaml.SequenceEndEvent | yaml.MappingEndEvent) and end.column:
            ends[end.line + 1] = max(end.column, ends.get(end.line + 1, 0))
    return inside, ends
