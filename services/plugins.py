"""Actions that other packages add, through the entry point group ``rootmend.actions``.

A plug-in runs inside the pipeline with all its rights, so everything that can be checked is checked before anything
starts, and one that is not whole stops the start: a runbook that counts on it must not find out at night.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from services.config_files import ConfigError

if TYPE_CHECKING:
    from executor.actions.base import Action, ActionTable

GROUP = "rootmend.actions"
_NAME = re.compile(r"[a-z][a-z0-9_]{1,63}")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_/.-]{1,63}")


@dataclass(frozen=True, slots=True)
class Plugin:
    """One action and where it came from."""

    action: Action[Any]
    source: str


def all_actions() -> ActionTable:
    """The actions of the product and of every installed plug-in, by name and by alias.

    Raises:
        ConfigError: a plug-in is not whole, or takes a name that is taken; with all such problems.
    """
    import executor.actions  # noqa: PLC0415 - keeps rb --help quick

    return merged(executor.actions.default_actions(), installed())


@lru_cache(maxsize=1)
def installed() -> tuple[Plugin, ...]:
    """The actions of the installed plug-ins. Raises ConfigError."""
    return load(entry_points(group=GROUP))


def load(points: Iterable[EntryPoint]) -> tuple[Plugin, ...]:
    """Load and check plug-ins.

    Raises:
        ConfigError: with every problem of every plug-in.
    """
    found: list[Plugin] = []
    problems: list[str] = []
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        source = _source(point)
        try:
            actions = list(_actions(point.load()))
        except Exception as error:  # noqa: BLE001 - a foreign module may raise anything while it is imported
            problems.append(f"{source} cannot be loaded: {type(error).__name__}: {error}")
            continue
        for action in actions:
            wrong = list(_problems(action))
            problems += [f"{source}: {problem}" for problem in wrong]
            found += [] if wrong else [Plugin(action, source)]
    if problems:
        raise ConfigError(tuple(problems))
    return tuple(found)


def merged(builtin: ActionTable, plugins: Iterable[Plugin]) -> ActionTable:
    """One table. Nobody may take a name that is taken: a runbook must mean the same everywhere.

    Raises:
        ConfigError: with every name that is taken twice.
    """
    table = dict(builtin)
    owner = dict.fromkeys(builtin, "Rootmend itself")
    problems = []
    for plugin in plugins:
        for name in dict.fromkeys((plugin.action.name, *plugin.action.aliases)):
            if name in table:
                problems.append(f"{plugin.source}: the name {name} is taken by {owner[name]}")
            else:
                table[name], owner[name] = plugin.action, plugin.source
    if problems:
        raise ConfigError(tuple(problems))
    return MappingProxyType(table)


def _source(point: EntryPoint) -> str:
    package = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"plug-in {point.name}{package} ({point.value})"


def _actions(loaded: Any) -> Iterator[Any]:
    """A class, an action, or several of them."""
    if isinstance(loaded, list | tuple):
        for item in loaded:
            yield from _actions(item)
    else:
        yield loaded() if isinstance(loaded, type) else loaded


def _problems(action: Any) -> Iterator[str]:
    from executor.actions.base import Action, Params  # noqa: PLC0415 - keeps rb --help quick
    from executor.model import Access  # noqa: PLC0415 - as above

    if not isinstance(action, Action):
        yield f"expected an executor.actions.base.Action, got {type(action).__name__}"
        return
    name = getattr(action, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield f"name is {name!r}; expected small letters, digits and _, such as acme_restart"
        return
    # Foreign code need not keep to its types.
    aliases, access, idempotent = (getattr(action, word, None) for word in ("aliases", "access", "idempotent"))
    if not isinstance(aliases, tuple) or not all(_is_alias(alias) for alias in aliases):
        yield f"aliases of {name} are {aliases!r}; expected a tuple of names such as acme/restart"
    if not isinstance(access, Access):
        yield f"access of {name} is {access!r}; expected one of {', '.join(f'Access.{a.name}' for a in Access)}"
    if not isinstance(idempotent, bool):
        yield f"idempotent of {name} is {idempotent!r}; expected True or False"
    if not (type(action).__doc__ or "").strip():
        yield f"{name} has no docstring: its first line is what people read"
    model = getattr(action, "params_model", None)
    if not (isinstance(model, type) and issubclass(model, Params)):
        yield f"params_model of {name} is {model!r}; expected a subclass of executor.actions.base.Params"
        return
    yield from _field_problems(name, model)
    yield from _example_problems(action)
    yield from _write_problems(action)


def _is_alias(alias: object) -> bool:
    return isinstance(alias, str) and _ALIAS.fullmatch(alias) is not None


def _field_problems(name: str, model: Any) -> Iterator[str]:
    for field, info in model.model_fields.items():
        if not info.description:
            yield f"parameter {field} of {name} has no description"
    try:
        model.model_json_schema()
    except Exception as error:  # noqa: BLE001 - types of others may raise anything
        yield f"the parameters of {name} have no JSON Schema: {type(error).__name__}: {error}"


def _example_problems(action: Action[Any]) -> Iterator[str]:
    from pydantic import ValidationError  # noqa: PLC0415 - keeps rb --help quick

    from runbooks.findings import RunbookError  # noqa: PLC0415 - as above
    from runbooks.yaml_source import parse_yaml  # noqa: PLC0415 - as above

    try:
        example = parse_yaml(action.example).value
    except RunbookError as error:
        yield f"the example of {action.name} is no YAML: {error.findings[0].message}"
        return
    if not isinstance(example, Mapping) or example.get("action") not in (action.name, *action.aliases):
        yield f"the example of {action.name} does not use it: expected 'action: {action.name}'"
        return
    try:
        action.params_model.model_validate(example.get("params") or {})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        yield f"the example of {action.name} does not fit its parameters: {first['loc']}: {first['msg']}"


def _write_problems(action: Action[Any]) -> Iterator[str]:
    from executor.actions.base import Action as Base  # noqa: PLC0415 - keeps rb --help quick
    from executor.model import Access  # noqa: PLC0415 - as above

    if action.access is not Access.WRITE:
        return
    for word in ("simulated", "undone", "targets"):
        if not getattr(action, word):
            yield f"{action.name} writes, so it must say how it is simulated, undone and what it touches: no {word}"
    if type(action).perform is Base.perform:
        yield f"{action.name} writes, and has no perform"
