"""One way to lay out a runbook: keys in the order of the language, even indentation, every comment kept.

Keys are moved as blocks of lines, with the comments above them: what stands in a block is not read, so that nothing in
it can be lost. Indentation is then made even by a YAML library that keeps comments. The result must read as the same
data, or the file is left alone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise

import yaml as pyyaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from runbooks.findings import RunbookError
from runbooks.rules import finding
from runbooks.shape import fields_at
from runbooks.yaml_source import Path, Source, parse_yaml

_TOP = "runbook"
_FREE = frozenset({"params", "labels", "protected_labels", "outputs", "save_state", "default", "body"})
"""Below these keys stands the author's own data; its order is left alone."""
_UNFOLDED = 10_000


def formatted(text: str) -> str:
    """The text of a runbook, laid out. Laid out again it stays the same.

    Args:
        text: YAML in the canonical form.

    Raises:
        RunbookError: it is not YAML, not in the canonical form, or cannot be laid out without changing what it says.
    """
    source = parse_yaml(text)
    if not isinstance(source.value, dict) or _TOP not in source.value:
        advice = "write it in the canonical form first: rb convert"
        raise RunbookError([finding("RB101", "only the canonical form can be laid out", advice=advice)])
    result = _even(_in_order(text))
    if not _same(source, parse_yaml(result)):
        raise RunbookError([finding("RB003", "laying it out would change what it says, so it is left alone")])
    return result


def _same(one: Source, other: Source) -> bool:
    return bool(one.value == other.value) and one.bare == other.bare


def _in_order(text: str) -> str:
    """With the keys of each mapping of the language in the order in which its reference lists them."""
    for path in _mappings(parse_yaml(text).value, ()):
        text = _reordered(text, path)
    return text


def _mappings(value: object, path: Path) -> list[Path]:
    """Places of the mappings whose keys the language knows, outer ones first."""
    if path and path[-1] in _FREE:
        return []
    if isinstance(value, dict):
        below = [found for key, item in value.items() for found in _mappings(item, (*path, key))]
        return [path, *below] if len(value) > 1 else below
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in _mappings(item, (*path, index))]
    return []


def _reordered(text: str, path: Path) -> str:
    source = parse_yaml(text)
    own = sorted((position, key[-1]) for key, position in source.keys.items() if key[:-1] == path)
    known = list(fields_at(path[1:]))
    wanted = sorted(own, key=lambda item: known.index(str(item[1])) if item[1] in known else len(known))
    if wanted == own or not known or not _is_block([position for position, _ in own]):
        return text
    lines = text.splitlines(keepends=True)
    if not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    column = own[0][0][1] - 1
    starts = [_with_comments(lines, line - 1, column) for (line, _), _ in own]
    starts[0] = own[0][0][0] - 1  # what stands above the first key belongs to the whole mapping
    ends = [*starts[1:], _end(lines, own[-1][0][0], column)]
    dash = lines[starts[0]][:column]
    blocks = {key: lines[start:end] for (_, key), start, end in zip(own, starts, ends, strict=True)}
    first = blocks[own[0][1]]
    if dash.strip():
        if _is_note(blocks[wanted[0][1]][0]):
            return text  # a comment cannot stand before the dash of its item
        first[0] = " " * column + first[0][column:]
        leader = blocks[wanted[0][1]]
        leader[0] = dash + leader[0][column:]
    moved = [line for _, key in wanted for line in blocks[key]]
    return "".join([*lines[: starts[0]], *moved, *lines[ends[-1] :]])


def _is_block(positions: Sequence[tuple[int, int]]) -> bool:
    """Whether each key begins a line of its own, all in one column."""
    return all(one[0] < other[0] and one[1] == other[1] for one, other in pairwise(positions))


def _is_note(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _with_comments(lines: Sequence[str], at: int, column: int) -> int:
    """The first of the comment and blank lines right above a key; texts of blocks stand further to the right."""
    start = at
    while start > 0 and _is_note(lines[start - 1]) and _indent(lines[start - 1]) <= column:
        start -= 1
    return start


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip()) if line.strip() else 0


def _end(lines: Sequence[str], after: int, column: int) -> int:
    """Where the last key of a mapping ends: before the first line that stands further to the left."""
    end = after
    for number in range(after, len(lines)):
        line = lines[number]
        # A list may stand in the column of its key.
        if line.strip() and _indent(line) <= column and not line[column:].startswith("- "):
            if line.lstrip().startswith("#") and _indent(line) == column:
                continue
            break
        if line.strip():
            end = number + 1
    return end


def _even(text: str) -> str:
    """With two spaces for each level, and lists two further in."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _UNFOLDED
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    try:
        yaml.dump(yaml.load(text), out)  # nosec - a round trip of ruamel.yaml, which constructs plain data only
    except YAMLError as error:
        raise RunbookError([finding("RB003", f"it cannot be laid out: {str(error).splitlines()[0]}")]) from error
    return _aligned(out.getvalue())


def _aligned(text: str) -> str:
    """With comments where they belong: two spaces behind a value, or in the column of the next line that is none."""
    lines = text.splitlines(keepends=True)
    ends, inside = _layout(text)
    column = 0
    for number in reversed(range(len(lines))):
        line = lines[number]
        if number in inside or not line.strip():
            continue
        if line.lstrip().startswith("#"):
            lines[number] = " " * column + line.lstrip()
            continue
        column = _indent(line)
        value, rest = line[: ends.get(number, len(line))], line[ends.get(number, len(line)) :]
        if rest.lstrip().startswith("#"):
            lines[number] = f"{value}  {rest.lstrip()}"
    return "".join(lines)


def _layout(text: str) -> tuple[Mapping[int, int], frozenset[int]]:
    """Where the last value of each line ends, and which lines belong to a text of several lines; all from 0."""
    ends: dict[int, int] = {}
    inside: set[int] = set()
    for token in pyyaml.scan(text):
        start, end = token.start_mark, token.end_mark
        if isinstance(token, pyyaml.ScalarToken):
            inside.update(range(start.line + 1, end.line + (1 if end.column else 0)))
        if start.index < end.index and token.end_mark.line not in inside:
            ends[end.line] = max(ends.get(end.line, 0), end.column)
    return ends, frozenset(inside)
