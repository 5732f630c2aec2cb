"""Finding the settings file, and reading YAML so that every value knows its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FILE_NAME = "rootmend.yaml"
STATE_FOLDER = ".rootmend"

_MOST_BYTES, _MOST_LEVELS, _MOST_VALUES, _MOST_DIGITS = 1_000_000, 40, 20_000, 300

KeyPath = tuple[str | int, ...]
"""Where a value stands: ``("kafka", "topics", "alerts")``."""


class ConfigError(Exception):
    """The settings cannot be used. Holds every problem, not just the first.

    Attributes:
        problems: one line for each, with where it is and what to do.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as values, with the line and column (from 1) of each key.

    Attributes:
        path: the file; None when there is none and everything has its default.
    """

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[KeyPath, tuple[int, int]] = field(default_factory=dict)

    def where(self, key: KeyPath) -> str:
        """``file:line:column`` of a key, or of the nearest one above it."""
        while key not in self.places and key:
            key = key[:-1]
        line, column = self.places.get(key, (1, 1))
        return f"{self.path}:{line}:{column}"


def find_settings_file(config: Path | None, env: Mapping[str, str], cwd: Path) -> Path | None:
    """The one file that counts, or None.

    The command line wins, then ``ROOTMEND_CONFIG``, then the working folder, then the local stack. The first one found
    counts as a whole: files are not mixed, so that nobody has to ask which half of which file is in force.

    Args:
        config: from the command line.
        env: the environment.
        cwd: the working folder.

    Raises:
        ConfigError: a file that was named does not exist.
    """
    for named, source in ((config, "--config"), (env.get("ROOTMEND_CONFIG"), "ROOTMEND_CONFIG")):
        if named:
            path = (cwd / Path(named).expanduser()).resolve()
            if not path.is_file():
                raise ConfigError((f"{source}: there is no file {path}",))
            return path
    return next((path for path in _usual_places(env, cwd) if path.is_file()), None)


def _usual_places(env: Mapping[str, str], cwd: Path) -> Iterator[Path]:
    yield cwd / FILE_NAME
    if state := env.get("ROOTMEND_STATE"):
        yield Path(state).expanduser() / "stack" / FILE_NAME
        return
    for folder in (cwd, *cwd.parents):
        if (folder / STATE_FOLDER).is_dir():
            yield folder / STATE_FOLDER / "stack" / FILE_NAME
            return


def read_yaml(path: Path) -> Document:
    """Read a settings file.

    Raises:
        ConfigError: it cannot be read, is no YAML, names a key twice, is no mapping, or is larger than settings are.
    """
    try:
        text = _text(path)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _check_size(path, node)
        values = loader.construct_document(node) if node is not None else {}
    except RecursionError as error:
        raise ConfigError((f"{path}: nested deeper than {_MOST_LEVELS} levels",)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((f"{path}: cannot be read: {error}",)) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an impossible date
        raise ConfigError((f"{path}{_mark(error)}: {_say(error)}",)) from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError((f"{path}:1:1: expected keys and values, such as 'kafka:'",))
    places: dict[KeyPath, tuple[int, int]] = {}
    twice = [f"{path}:{line}:{column}: {name} is set twice" for name, line, column in _walk(node, (), places)]
    if twice:
        raise ConfigError(tuple(twice))
    return Document(path, values, places)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ConfigError((f"{path}: larger than {_MOST_BYTES} bytes",))
    return content.decode()


def _check_size(path: Path, root: yaml.Node | None) -> None:
    """Refuse anchors that grow a short text to millions of values, or that hold themselves.

    Raises:
        ConfigError: with the place.
    """
    waiting, values = [(root, 0)] if root is not None else [], 0
    while waiting:
        node, depth = waiting.pop()
        values += 1
        if depth > _MOST_LEVELS or values > _MOST_VALUES:
            line, column = node.start_mark.line + 1, node.start_mark.column + 1
            what = f"{_MOST_LEVELS} levels" if depth > _MOST_LEVELS else f"{_MOST_VALUES} values, anchors repeated"
            raise ConfigError((f"{path}:{line}:{column}: more than {what}",))
        if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":int") and len(node.value) > _MOST_DIGITS:
            line, column = node.start_mark.line + 1, node.start_mark.column + 1
            raise ConfigError((f"{path}:{line}:{column}: {node.value[:40]}... is too large for a number",))
        if isinstance(node, yaml.MappingNode):
            waiting += [(one, depth + 1) for pair in node.value for one in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(one, depth + 1) for one in node.value]


def _mark(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""


def _say(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]


def _walk(
    node: yaml.Node | None, key: KeyPath, places: dict[KeyPath, tuple[int, int]]
) -> Iterator[tuple[str, int, int]]:
    """Note the place of each key, and yield those that are set twice: YAML would silently take the last."""
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            inner = (*key, str(key_node.value))
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if inner in places:
                yield ".".join(map(str, inner)), *place
            places[inner] = place
            yield from _walk(value_node, inner, places)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            places[*key, index] = (item.start_mark.line + 1, item.start_mark.column + 1)
            yield from _walk(item, (*key, index), places)
