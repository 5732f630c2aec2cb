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

    @property
    def defaults(self) -> dict[str, int | str]:
        """What can be set: names and values of the ``WITH`` that the query may begin with."""
        return {name: _literal(value) for value, name in self._first()}

    def asked(self, names: tuple[str, ...]) -> str:
        """The query with parameters of these names in the place of the values."""
        first, *rest = _code(self.text).splitlines()
        for value, name in self._first():
            if name in names:
                first = first.replace(f"{value} AS {name}", f"${name} AS {name}")
        return "\n".join([first, *rest])

    def _first(self) -> list[tuple[str, str]]:
        first = _code(self.text).splitlines()[0]
        return re.findall(r"('[^']*'|\d+) AS (\w+)", first) if first.startswith("WITH ") else []


def _literal(text: str) -> int | str:
    return text[1:-1] if text.startswith("'") else int(text)


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


@cache
def each(name: str) -> str:
    """A query of single parameters, done for each of ``$rows`` in turn: what is ``$x`` alone is ``x`` of the row.

    A row sees what those before it have written. The result has the column ``n`` of its row in front.

    Raises:
        KeyError: there is no such file.
        ValueError: the query returns nothing.
    """
    if not (columns := columns_of(name)):
        raise ValueError(f"{name} cannot be done for each of several rows: it returns nothing")
    inner = re.sub(r"\$(\w+)", r"row.\1", query(name))
    return f"UNWIND $rows AS row\nCALL (row) {{\n{inner}\n}}\nRETURN row.n AS n, {', '.join(columns)}"


@cache
def told(names: tuple[str, ...], holds: str, *, apart: bool = False) -> str:
    """Queries of one result and the entries that tell of them, as one statement: both are written, or neither.

    Each query takes its rows from a parameter of its own name instead of ``$rows`` when there are several; a single
    one keeps its parameters. The entries come as ``$audit``. They are written when ``holds`` is true of the result;
    else nothing is told, or, with ``$strict``, everything is undone. The result is one row: ``told`` and ``holds``.

    Args:
        names: all return the same columns.
        holds: Cypher over ``told``, the list of the result's rows.
        apart: the one query is done for each of ``$rows``, as in ``each``.

    Raises:
        KeyError: there is no such file.
        ValueError: a query returns nothing, or other columns than the others.
    """
    columns = {("n", *columns_of(name)) if apart else columns_of(name) for name in names}
    if len(columns) != 1 or not (shared := columns.pop()):
        raise ValueError(f"{', '.join(names)} cannot be told of together: they return different columns, or none")
    text = each if apart else query
    texts = [text(name).replace("$rows", f"${name}") if len(names) > 1 else text(name) for name in names]
    united = "\nUNION ALL\n".join(texts)
    row = ", ".join(f"{column}: {column}" for column in shared)
    append = query("audit_append").replace("$rows", "$audit")
    return f"""CALL () {{
{united}
}}
WITH collect({{{row}}}) AS told
WITH told, {holds} AS holds
WITH told, holds, 1 / CASE WHEN $strict AND NOT holds THEN 0 ELSE 1 END AS sound
CALL (told, holds, sound) {{
WITH told, holds, sound WHERE holds AND sound = 1
{append}
}}
RETURN told, holds"""


@cache
def columns_of(name: str) -> tuple[str, ...]:
    """The names of the columns that a query returns.

    Raises:
        KeyError: there is no such file.
    """
    returned = re.split(r"^RETURN (?:DISTINCT )?", query(name), flags=re.MULTILINE)
    if len(returned) == 1:
        return ()
    last = re.split(r"\s(?:ORDER BY|LIMIT|SKIP)\s", returned[-1])[0]
    changed = 1
    while changed:  # what stands in brackets has commas of its own
        last, changed = re.subn(r"\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}", "", last)
    return tuple(part.split(" AS ")[-1].strip() for part in last.split(","))


def writes(name: str) -> bool:
    """Whether a query changes the graph."""
    return bool(re.search(r"\b(MERGE|CREATE|SET|DELETE|REMOVE)\b", query(name)))


@cache
def audited_as(name: str) -> tuple[str, ...]:
    """Kinds of the entries that tell of a query, as its header says; none for one that needs no entry."""
    kinds = re.search(r"^Audit: ((?:\w+\.\w+(?:, )?)+)\.$", header("queries", name), flags=re.MULTILINE)
    return tuple(kinds[1].split(", ")) if kinds else ()


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


@cache
def ours() -> dict[str, tuple[str, ...]]:
    """The labels of the nodes that are ours, each with the properties that identify a node: what the migrations say.

    The record of the schema itself is left out: it says what a database has seen, and belongs to it.
    """
    pattern = re.compile(r"FOR \(n:(\w+)\) REQUIRE \(?((?:n\.\w+(?:, )?)+)\)? IS UNIQUE")
    texts = [statement for step in migrations() for statement in step.statements]
    found = [(made[1], made[2]) for text in texts if (made := pattern.search(text))]
    return {label: tuple(name.removeprefix("n.") for name in keys.split(", ")) for label, keys in found}


FOREIGN = {"Episodic": ("eid",), "Resource": ("rid",)}
"""KGroot's nodes that ours are tied to, with the properties that identify them."""


@cache
def labelled(name: str, label: str) -> str:
    """A query with one of our labels in the place of LABEL, and its keys, compared with those of ``row``, of KEYS.

    Raises:
        KeyError: there is no such query, or the label is none of ours.
    """
    keys = " AND ".join(f"known.{key} = row.{key}" for key in ours()[label])
    return query(name).replace("LABEL", label).replace("KEYS", keys)


@cache
def tied(start: str, relationship: str, end: str) -> str:
    """``restore_relationships`` for one kind of tie.

    Raises:
        KeyError: a label is not known.
        ValueError: the kind is no name.
    """
    if not re.fullmatch(r"[A-Z][A-Z_]*", relationship):
        raise ValueError(f"{relationship!r} is no kind of relationship")
    text = query("restore_relationships")
    known = {**ours(), **FOREIGN}
    for mark, node, label in (("ATKEYS", "a", start), ("BTKEYS", "b", end)):
        text = text.replace(mark, " AND ".join(f"{node}.{key} = row.{node}.{key}" for key in known[label]))
    return (
        text.replace("(a:FROM)", f"(a:{start})").replace("(b:TO)", f"(b:{end})").replace(":TIED]", f":{relationship}]")
    )
