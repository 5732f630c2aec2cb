"""Settings from their sources: command line over environment over file over defaults.

Every problem is found before anything starts, and is told with its place and the nearest valid name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, SettingsError
from rapidfuzz import fuzz, process

from services.config_files import ConfigError, Document, KeyPath, find_settings_file, read_yaml
from services.settings_approvals import Approvals
from services.settings_model import (
    DELIMITER,
    PACKAGED,
    PREFIX,
    Api,
    Bridge,
    Execution,
    Gate,
    Kafka,
    Kubernetes,
    Logging,
    Matching,
    Neo4j,
    Redis,
    Runbooks,
    Settings,
    Topics,
)
from services.settings_secrets import SecretSources
from services.settings_slack import Slack

__all__ = [
    "Api",
    "Approvals",
    "Bridge",
    "ConfigError",
    "Execution",
    "Gate",
    "Kafka",
    "Kubernetes",
    "Logging",
    "Matching",
    "Neo4j",
    "Redis",
    "Runbooks",
    "SecretSources",
    "Settings",
    "Slack",
    "Topics",
    "known_names",
    "load_settings",
    "nearest",
]

FOREIGN = (
    "ROOTMEND_CONFIG",
    "ROOTMEND_STATE",
    "ROOTMEND_CACHE",
    "ROOTMEND_MAVEN_URL",
    "ROOTMEND_PYPI_URL",
    "ROOTMEND_NPM_URL",
    "ROOTMEND_TOKEN",
)
"""Variables that are no settings: they say where files are."""

_PEOPLE: tuple[KeyPath, ...] = (("mail", "ca_file"), ("screenshots", "browser"), ("screenshots", "reports"))
_SECRETS: tuple[KeyPath, ...] = (
    ("secrets", "folder"),
    ("secrets", "file"),
    ("secrets", "vault", "token_file"),
    ("secrets", "vault", "secret_id_file"),
    ("secrets", "vault", "ca_file"),
)
_ACCESS: tuple[KeyPath, ...] = (("access", "roles_file"), ("access", "oidc", "ca_file"))
_PATHS: tuple[KeyPath, ...] = (
    ("kubernetes", "kubeconfig"),
    ("neo4j", "ca_file"),
    *_SECRETS,
    *_PEOPLE,
    *_ACCESS,
)
_LISTS = (("runbooks", "paths"), ("runbooks", "mappings"), ("policies", "paths"), ("gate", "freeze_calendars"))
"""Lists of paths."""
_SIMILAR = 60
"""Least similarity, of 100, at which a name is worth suggesting."""


class _Environment(EnvSettingsSource):
    """The library's reading of variables, on a given environment instead of the process's."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._given = env
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._given.items()}


def load_settings(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """Gather the settings.

    Args:
        config: the settings file from the command line; otherwise it is looked for in the usual places.
        overrides: from the command line, nested by group; None stands for "not given".
        env: the environment; the process's when left out.
        cwd: the working folder; the process's when left out.

    Raises:
        ConfigError: with all problems.
    """
    env = os.environ if env is None else env
    cwd = Path.cwd() if cwd is None else cwd
    path = find_settings_file(config, env, cwd)
    document = read_yaml(path) if path else Document()
    given = _without_none(overrides or {})
    own = {name: value for name, value in env.items() if name.upper().startswith(PREFIX) and value != ""}
    secret_prefix = _secret_prefix(given, own, document)
    strangers = _unknown_variables(own, secret_prefix)
    known = {name: value for name, value in own.items() if name not in strangers}
    broken = tuple(_unreadable(known))
    if broken:
        raise ConfigError((*strangers.values(), *broken))
    variables = _Environment(known)()
    values = _merge(_merge(_anchored(document), variables), given)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems = tuple(_told(problem, document, variables, given) for problem in error.errors())
        raise ConfigError((*strangers.values(), *problems)) from error
    if strangers:
        raise ConfigError(tuple(strangers.values()))
    return settings


def known_names(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Every key with its groups: ``kafka``, ``kafka.group_id``, ..."""
    for name, info in model.model_fields.items():
        yield prefix + name
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from known_names(info.annotation, f"{prefix}{name}.")


def nearest(name: str, choices: list[str]) -> str | None:
    """The choice that was probably meant, or None when none is near."""
    found = process.extractOne(name.lower(), choices, scorer=fuzz.ratio, score_cutoff=_SIMILAR)
    return found[0] if found else None


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    pairs = ((k, _without_none(v) if isinstance(v, Mapping) else v) for k, v in values.items())
    return {k: v for k, v in pairs if v is not None and v != {}}


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _anchored(document: Document) -> dict[str, Any]:
    """The file's values, with its paths made relative to the file: it may be read from any working folder."""
    values = _merge(document.values, {})
    if document.path is None:
        return values
    folder = document.path.parent

    def anchor(text: object) -> object:
        return str(folder / Path(text).expanduser()) if isinstance(text, str) and text else text

    for place in _PATHS:
        _anchor_at(values, place, anchor)
    for group, key in _LISTS:
        if isinstance(inner := values.get(group), Mapping) and isinstance(inner.get(key), list | str):
            paths = inner[key] if isinstance(inner[key], list) else [inner[key]]
            values[group] = {**inner, key: [p if p == PACKAGED or _is_address(p) else anchor(p) for p in paths]}
    return values


def _is_address(text: object) -> bool:
    return isinstance(text, str) and text.startswith(("http://", "https://"))


def _anchor_at(values: dict[str, Any], place: KeyPath, anchor: Callable[[object], object]) -> None:
    """Anchor the path that stands at a place, if one does."""
    first, *rest = (str(part) for part in place)
    inner = values.get(first)
    if rest and isinstance(inner, Mapping):
        values[first] = copy = dict(inner)
        _anchor_at(copy, tuple(rest), anchor)
    elif not rest and inner:
        values[first] = anchor(inner)


def _secret_prefix(given: Mapping[str, Any], own: Mapping[str, str], document: Document) -> str:
    """Variables that begin so hold secrets of runbooks; the prefix is itself a setting."""
    for source in (given, document.values):
        group = source.get("secrets")
        if isinstance(group, Mapping) and isinstance(prefix := group.get("env_prefix"), str) and prefix:
            return prefix.upper()
    return own.get("ROOTMEND_SECRETS__ENV_PREFIX", "ROOTMEND_SECRET_").upper()


def _unknown_variables(own: Mapping[str, str], secret_prefix: str) -> dict[str, str]:
    """What to say of each variable that means nothing; a limit that is set in vain must not go unnoticed."""
    names = {PREFIX + name.upper().replace(".", DELIMITER): name for name in known_names()}
    open_ended = tuple(v + DELIMITER for v, n in names.items() if _is_mapping(n))
    choices = [v for v, n in names.items() if "." in n] + list(FOREIGN)
    strangers = {}
    for variable in own:
        upper = variable.upper()
        if upper in names or upper in FOREIGN or upper.startswith((*open_ended, secret_prefix)):
            continue
        found = process.extractOne(upper, choices, scorer=fuzz.ratio, score_cutoff=_SIMILAR)
        hint = f"; did you mean {found[0]}?" if found else ""
        strangers[variable] = f"environment: {variable} is no setting{hint}"
    return strangers


def _unreadable(env: Mapping[str, str]) -> Iterator[str]:
    """The library names the group only; one variable at a time tells which one it is."""
    for name, value in env.items():
        try:
            _Environment({name: value})()
        except SettingsError as error:
            yield f"environment: {name} is not valid JSON: {error.__cause__ or error}"


def _is_mapping(name: str) -> bool:
    model: type[BaseModel] = Settings
    *groups, last = name.split(".")
    for group in groups:
        inner = model.model_fields[group].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return False
        model = inner
    return getattr(model.model_fields[last].annotation, "__origin__", None) is dict


def _told(problem: ErrorDetails, document: Document, variables: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """One problem of the models, in words, with its place."""
    key: KeyPath = problem["loc"]
    name = ".".join(str(part) for part in key)
    return f"{_place(key, document, variables, given)}: {_words(problem, name, key)}".removeprefix(": ")


def _place(key: KeyPath, document: Document, variables: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    if _holds(given, key):
        return "command line"
    if key and _holds(variables, key):
        return f"environment: {PREFIX}{DELIMITER.join(str(part) for part in key).upper()}"
    return document.where(key) if document.path else "settings"


def _holds(values: Any, key: KeyPath) -> bool:
    for part in key:
        if not isinstance(values, Mapping):
            return True
        if part not in values:
            return False
        values = values[part]
    return bool(key)


def _words(problem: ErrorDetails, name: str, key: KeyPath) -> str:
    kind, message = problem["type"], problem["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"unknown key {name}{_meant(key)}"
    if kind == "literal_error":
        expected = problem.get("ctx", {}).get("expected", "")
        choice = nearest(str(problem["input"]), re.findall(r"'([^']*)'", expected))
        return f"{name}: expected {expected}" + (f"; did you mean {choice}?" if choice else "")
    if kind in {"model_type", "model_attributes_type"}:
        return f"{name}: expected a group of keys"
    return f"{name}: {message[:1].lower()}{message[1:]}" if name else message


def _meant(key: KeyPath) -> str:
    """The nearest valid key: first among its neighbours, then anywhere."""
    *groups, last = (str(part) for part in key)
    prefix = "".join(f"{group}." for group in groups)
    every = list(known_names())
    neighbours = [n.removeprefix(prefix) for n in every if n.startswith(prefix) and "." not in n.removeprefix(prefix)]
    if near := nearest(last, neighbours):
        return f"; did you mean {prefix}{near}?"
    elsewhere = [n for n in every if n.rpartition(".")[2] == last]
    if elsewhere:
        return f"; did you mean {elsewhere[0]}?"
    near = nearest(".".join(str(part) for part in key), every)
    return f"; did you mean {near}?" if near else f"; valid here: {', '.join(neighbours)}"
