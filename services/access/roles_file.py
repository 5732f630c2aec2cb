"""Reads the file with roles and their assignments. Every problem is told with its place and the nearest valid name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from runbooks.findings import did_you_mean
from safety.access import (
    BUILT_IN,
    RESERVED,
    Access,
    AccessError,
    Assignment,
    Limits,
    Role,
    Subject,
    SubjectKind,
    single_operator,
)
from safety.permissions import Permission, named
from services.config_files import ConfigError, Document, KeyPath, read_yaml

_TOP = ("roles", "assignments")
_ROLE = ("name", "description", "inherits", "permissions")
_ASSIGNMENT = ("role", "subjects", "scope")
_SUBJECTS = {"user": SubjectKind.USER, "group": SubjectKind.GROUP, "service_account": SubjectKind.SERVICE_ACCOUNT}
_SCOPE = ("tenants", "clusters", "namespaces", "runbooks")
_ACCOUNT = "system:serviceaccount:"


def load_access(path: Path | None) -> Access:
    """Roles and assignments of a file; without one, single-operator mode.

    Raises:
        ConfigError: with all problems: unknown keys, permissions and roles, inheritance in a circle, names twice.
    """
    if path is None:
        return single_operator()
    document = read_yaml(path)
    reader = _Reader(document)
    roles = list(reader.roles())
    assignments = list(reader.assignments())
    reader.check_roles(roles)
    if reader.problems:
        raise ConfigError(tuple(reader.problems))
    try:
        return Access(roles, assignments)
    except AccessError as error:
        raise ConfigError((f"{document.where(('roles',))}: {error}",)) from error


class _Reader:
    """One file; problems are collected, so that all of them are told at once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values = document.values
        self.problems: list[str] = []
        self._known = tuple(
            entry["name"] for entry in _entries(self._values.get("roles")) if isinstance(entry.get("name"), str)
        )
        self._only(self._values, (), _TOP)
        if not self._values.get("roles"):
            self._say(("roles",), "expected a list of roles: without any, nobody may do anything")

    def roles(self) -> Iterator[Role]:
        """The roles, as far as they can be read."""
        for at, entry in self._list(self._values.get("roles"), ("roles",)):
            self._only(entry, at, _ROLE)
            name = entry.get("name")
            if not isinstance(name, str) or not name.strip():
                self._say(at, "expected `name`, a text")
                continue
            if name.startswith(RESERVED):
                self._say((*at, "name"), f"role {name}: names that begin with {RESERVED} belong to the product")
            permissions: set[Permission] = set()
            for where, text in self._texts(entry.get("permissions", []), (*at, "permissions")):
                found = named(text)
                if not found:
                    near = did_you_mean(text, (each.value for each in Permission))
                    self._say(where, f"role {name}: there is no permission {text!r}" + f"; {near}" * bool(near))
                permissions |= found
            inherits = entry.get("inherits", [])
            above = tuple(text for _, text in self._texts(inherits, (*at, "inherits"), single=True))
            yield Role(name, frozenset(permissions), above)

    def check_roles(self, roles: Sequence[Role]) -> None:
        """What only all roles together show: names twice, parents that are not there, circles."""
        seen: dict[str, Role] = {}
        for number, role in enumerate(roles):
            if role.name in seen:
                self._say(("roles", number), f"role {role.name} is there twice")
            seen.setdefault(role.name, role)
        for at, entry in self._list(self._values.get("roles"), ("roles",), quiet=True):
            for above in seen[entry["name"]].inherits if entry.get("name") in seen else ():
                if above not in seen:
                    self._unknown_role((*at, "inherits"), above)
        if not self.problems:
            for number, role in enumerate(roles):
                if circle := _circle(role.name, seen):
                    self._say(("roles", number, "inherits"), f"roles inherit in a circle: {' -> '.join(circle)}")
                    return

    def assignments(self) -> Iterator[Assignment]:
        """The assignments, as far as they can be read."""
        for at, entry in self._list(self._values.get("assignments", []), ("assignments",)):
            self._only(entry, at, _ASSIGNMENT)
            role = entry.get("role")
            if not isinstance(role, str):
                self._say(at, "expected `role`, the name of a role")
                continue
            if role not in self._known and role not in BUILT_IN:
                self._unknown_role((*at, "role"), role)
            subjects = tuple(self._subjects(entry.get("subjects"), (*at, "subjects")))
            if "scope" in entry and not entry["scope"]:
                self._say((*at, "scope"), "expected limits; leave `scope` out for everywhere")
            yield Assignment(role, subjects, self._limits(entry.get("scope") or {}, (*at, "scope")))

    def _subjects(self, given: Any, at: KeyPath) -> Iterator[Subject]:
        if not given:
            self._say(at[:-1], "expected `subjects`, a list of `user:`, `group:` or `service_account:`")
            return
        for where, entry in self._list(given, at):
            if len(entry) != 1 or next(iter(entry)) not in _SUBJECTS:
                self._only(entry, where, tuple(_SUBJECTS))
                if len(entry) != 1:
                    self._say(where, f"expected one of {', '.join(_SUBJECTS)}")
                continue
            ((kind, name),) = entry.items()
            if not isinstance(name, str) or not name.strip() or name != name.strip():
                self._say(where, f"{kind}: expected an id, a text without blanks around it")
            elif kind == "service_account":
                yield Subject(SubjectKind.SERVICE_ACCOUNT, self._account(name, where))
            else:
                yield Subject(_SUBJECTS[kind], name)

    def _account(self, name: str, at: KeyPath) -> str:
        full = name if name.startswith(_ACCOUNT) else f"{_ACCOUNT}{name.replace('/', ':', 1)}"
        if len(full.split(":")) != 4 or not all(full.split(":")):  # noqa: PLR2004 - system, serviceaccount, both names
            self._say(at, f"service_account: expected NAMESPACE/NAME, not {name!r}")
        return full

    def _limits(self, given: Any, at: KeyPath) -> Limits:
        if not isinstance(given, Mapping):
            self._say(at, f"expected limits: {', '.join(_SCOPE)}")
            return Limits()
        self._only(given, at, _SCOPE)
        read: dict[str, tuple[str, ...]] = {}
        for part in _SCOPE:
            if part in given:
                read[part] = tuple(text for _, text in self._texts(given[part], (*at, part), single=True))
                if not read[part]:
                    self._say((*at, part), f"{part}: expected at least one name or glob; leave it out for all")
        return Limits(**read)

    def _unknown_role(self, at: KeyPath, name: str) -> None:
        near = did_you_mean(name, (*self._known, *BUILT_IN))
        self._say(at, f"there is no role {name!r}" + f"; {near}" * bool(near))

    def _texts(self, given: Any, at: KeyPath, *, single: bool = False) -> Iterator[tuple[KeyPath, str]]:
        if single and isinstance(given, str):
            given = [given]
        if not isinstance(given, list):
            self._say(at, f"{at[-1]}: expected a list of texts")
            return
        for number, text in enumerate(given):
            if isinstance(text, str) and text.strip():
                yield (*at, number), text
            else:
                self._say((*at, number), f"{at[-1]}: expected a text, not {text!r:.40}")

    def _list(self, given: Any, at: KeyPath, *, quiet: bool = False) -> Iterator[tuple[KeyPath, Mapping[str, Any]]]:
        if given is None:
            return
        if not isinstance(given, list):
            if not quiet:
                self._say(at, f"{at[-1]}: expected a list")
            return
        for number, entry in enumerate(given):
            if isinstance(entry, Mapping):
                yield (*at, number), entry
            elif not quiet:
                self._say((*at, number), f"expected keys and values, not {entry!r:.40}")

    def _only(self, given: Mapping[Any, Any], at: KeyPath, known: Sequence[str]) -> None:
        for key in given:
            if key not in known:
                near = did_you_mean(str(key), known)
                self._say((*at, str(key)), f"unknown key {key}" + f"; {near}" * bool(near))

    def _say(self, at: KeyPath, text: str) -> None:
        self.problems.append(f"{self._document.where(at)}: {text}")


def _entries(given: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(given, list):
        yield from (entry for entry in given if isinstance(entry, Mapping))


def _circle(name: str, roles: Mapping[str, Role]) -> tuple[str, ...]:
    """A way from a role back to itself; empty when there is none."""
    ways: list[tuple[str, ...]] = [(name,)]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for above in roles[way[-1]].inherits:
            if above == name:
                return (*way, above)
            if above not in seen:
                seen.add(above)
                ways.append((*way, above))
    return ()
