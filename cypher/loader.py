"""Finds the Cypher files: each opens with what it does, its parameters and what it returns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_MIGRATION = re.compile(r"^(\d{4})_(\w+)\.cypher$")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema."""

    version: int
    name: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """A query for people: ``title`` is its first line, ``text`` pastes into Neo4j Browser as it is."""

    name: str
    title: str
    text: str


@cache
def _sources(folder: str) -> dict[str, str]:
    """All Cypher files of one folder, by file name in order."""
    found = {
        entry.name: entry.read_text(encoding="utf-8")
        for entry in files("cypher").joinpath(folder).iterdir()
        if entry.name.endswith(".cypher")
    }
    return dict(sorted(found.items()))


def _code(source: str) -> str:
    """The source without its comment lines and the final semicolon."""
    lines = (line for line in source.splitlines() if not line.lstrip().startswith("//"))
    return "\n".join(lines).strip().removesuffix(";").strip()


@cache
def query(name: str) -> str:
    """The text of ``queries/<name>.cypher``, without its comments.

    Raises:
        KeyError: there is no such file.
    """
    return _code(_sources("queries")[f"{name}.cypher"])


@cache
def together(names: tuple[str, ...]) -> str:
    """Several queries as one statement that does them in this order: one round trip, and one plan.

    Each takes its rows from a parameter of its own name instead of ``$rows``.

    Raises:
        KeyError: there is no such file.
        ValueError: a query takes no ``$rows``, or returns something; what it returns would be lost.
    """
    parts = []
    for name in names:
        text = query(name)
        if not text.startswith("UNWIND $rows") or re.search(r"^RETURN", text, flags=re.MULTILINE):
            raise ValueError(f"{name} cannot be done together with others: it must take $rows and return nothing")
        parts.append(f"CALL () {{\n{text.replace('$rows', f'${name}')}\n}}")
    return "\n".join(parts)


def query_names() -> tuple[str, ...]:
    """Names of all queries."""
    return tuple(name.removesuffix(".cypher") for name in _sources("queries"))


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations in order. Statements are separated by semicolons at line ends.

    Raises:
        ValueError: a file is misnamed, or a number is missing or used twice.
    """
    steps = []
    for name, source in _sources("migrations").items():
        named = _MIGRATION.match(name)
        if named is None:
            raise ValueError(f"{name}: a migration is called 0001_what_it_does.cypher")
        parts = re.split(r";\s*$", _code(source), flags=re.MULTILINE)
        statements = tuple(part.strip() for part in parts if part.strip())
        steps.append(Migration(int(named[1]), named[2], statements))
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise ValueError("migrations must be numbered 1, 2, 3, ... without gaps")
    return tuple(steps)


@cache
def audit_queries() -> tuple[AuditQuery, ...]:
    """All audit queries, by name."""
    return tuple(
        AuditQuery(name.removesuffix(".cypher"), source.splitlines()[0].removeprefix("//").strip(), source)
        for name, source in _sources("audit").items()
    )


def header(folder: str, name: str) -> str:
    """The opening comment of a file, for checks and documentation."""
    opening = []
    for line in _sources(folder)[f"{name}.cypher"].splitlines():
        if not line.startswith("//"):
            break
        opening.append(line.removeprefix("//").strip())
    return "\n".join(opening)
