"""The file that says which secret is where: ``secrets.provider``, ``secrets.mappings`` and ``rotation``.

It is read whole before anything starts, and every mistake is told with its place and the nearest name that means
something.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from runbooks.findings import did_you_mean
from runbooks.model import Duration
from services.config_files import ConfigError, Document, KeyPath, read_yaml
from services.secrets.model import Place
from services.settings_secrets import AuthMethod, Provider, checked_address

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]|_(?!_|$))*")
_SEGMENT = re.compile(r"[A-Za-z0-9_.:@=+-]+")
_KUBERNETES_PARTS = 2


class _Part(BaseModel):
    """Part of the file: keys as they are written there, unknown ones refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class VaultPart(_Part):
    """Where Vault is, and how we log in."""

    address: str = ""
    auth_method: AuthMethod | None = None
    role: str = ""


class Mapped(_Part):
    """One name, or one for each of several fields."""

    name: str
    path: str
    field: str = ""
    fields: tuple[str, ...] = ()
    provider: Provider | None = None


class Named(_Part):
    """The group ``secrets`` of the file."""

    provider: Provider
    vault: VaultPart = VaultPart()
    mappings: tuple[Mapped, ...] = ()


class Rotation(_Part):
    """How often secrets are looked at, and how early we say that one runs out."""

    enabled: bool = True
    check_interval: Duration = timedelta(hours=1)
    alert_on_expiring_soon: Duration = timedelta(days=7)


class SecretsFile(_Part):
    """The whole file."""

    secrets: Named
    rotation: Rotation = Field(Rotation(enabled=False))

    @property
    def places(self) -> Mapping[str, Place]:
        """Where each name is; a mapping with ``fields`` gives ``NAME.FIELD``."""
        return {place.name: place for mapped in self.secrets.mappings for place in self._of(mapped)}

    def _of(self, mapped: Mapped) -> Iterator[Place]:
        provider = mapped.provider or self.secrets.provider
        if not mapped.fields:
            yield Place(mapped.name, provider, mapped.path, mapped.field)
        for name in mapped.fields:
            yield Place(f"{mapped.name}.{name}", provider, mapped.path, name)


def read_secrets_file(path: Path) -> SecretsFile:
    """Read and check the file.

    Raises:
        ConfigError: with every problem, its line, and what was probably meant.
    """
    document = read_yaml(path)
    try:
        found = SecretsFile.model_validate(document.values)
    except ValidationError as error:
        raise ConfigError(tuple(_told(problem, document) for problem in error.errors())) from error
    problems = tuple(f"{document.where(key)}: {text}" for key, text in _problems(found))
    if problems:
        raise ConfigError(problems)
    return found


def _problems(found: SecretsFile) -> Iterator[tuple[KeyPath, str]]:
    seen: set[str] = set()
    if found.secrets.vault.address:
        try:
            checked_address(found.secrets.vault.address)
        except ValueError as error:
            yield ("secrets", "vault", "address"), f"secrets.vault.address: {error}"
    if found.rotation.check_interval < timedelta(seconds=1):
        yield ("rotation", "checkInterval"), "rotation.checkInterval must be at least 1s"
    for index, mapped in enumerate(found.secrets.mappings):
        if mapped.name in seen:
            yield ("secrets", "mappings", index, "name"), f"{mapped.name} is mapped twice"
        seen.add(mapped.name)
        for part, text in _mapping_problems(mapped, mapped.provider or found.secrets.provider):
            yield ("secrets", "mappings", index, part), text


def _mapping_problems(mapped: Mapped, provider: Provider) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(mapped.name):
        yield "name", f"{mapped.name!r} is not the name of a secret (letters, digits, single _ and - inside)"
    if mapped.field and mapped.fields:
        yield "fields", f"{mapped.name}: field and fields exclude each other"
    for name in mapped.fields:
        if not _NAME.fullmatch(name):
            yield "fields", f"{mapped.name}: the field {name!r} cannot be said in {{{{ secrets.NAME.FIELD }}}}"
    if len(set(mapped.fields)) != len(mapped.fields):
        yield "fields", f"{mapped.name}: a field is named twice"
    if problem := _path_problem(provider, mapped):
        yield "path", f"{mapped.name}: {problem}"


def _path_problem(provider: Provider, mapped: Mapped) -> str:
    parts = mapped.path.split("/")
    if any(part in ("", ".", "..") or not _SEGMENT.fullmatch(part) for part in parts):
        return f"{mapped.path!r} is no path"
    if provider == "kubernetes-secrets":
        if len(parts) != _KUBERNETES_PARTS:
            return f"{mapped.path!r}: expected NAMESPACE/NAME of a Secret"
        return "" if mapped.field or mapped.fields else "expected field or fields: a Secret has keys"
    if provider == "vault":
        if "data" not in parts[1:-1]:
            return (
                f"{mapped.path!r}: expected MOUNT/data/PATH; did you mean {'/'.join((parts[0], 'data', *parts[1:]))}?"
            )
        return "" if mapped.field or mapped.fields else "expected field or fields: a secret of Vault has keys"
    return ""


def _told(problem: ErrorDetails, document: Document) -> str:
    key: KeyPath = problem["loc"]
    name = ".".join(str(part) for part in key)
    # A key that is missing is told at the group that lacks it.
    kind, where = problem["type"], document.where(key)
    if kind == "extra_forbidden":
        return f"{where}: unknown key {name}; {did_you_mean(str(key[-1]), _known(key[:-1]))}".rstrip("; ")
    if kind == "missing":
        return f"{where}: {name} is missing"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", problem.get("ctx", {}).get("expected", ""))
        given = str(problem["input"])
        return f"{where}: {name}: {given!r} is not known; {did_you_mean(given, choices)}".rstrip("; ")
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {name}: {message[:1].lower()}{message[1:]}"


_GROUPS: Mapping[KeyPath, type[BaseModel]] = {
    (): SecretsFile,
    ("secrets",): Named,
    ("secrets", "vault"): VaultPart,
    ("secrets", "mappings"): Mapped,
    ("rotation",): Rotation,
}


def _known(key: KeyPath) -> list[str]:
    model: Any = _GROUPS.get(tuple(part for part in key if isinstance(part, str)), SecretsFile)
    return [field.alias or name for name, field in model.model_fields.items()]
