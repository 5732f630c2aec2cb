"""The part of the graph that is ours, as a file and back: JSON lines, with a checksum and the version of the schema.

What was open when the backup was made must not begin to act days later: a restore ends it. What the graph holds already
is newer than the backup, and stays as it is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO, Any

import orjson
from neo4j import READ_ACCESS
from neo4j.time import Date, DateTime, Duration, Time

from cypher import loader
from executor.errors import Permanent
from safety.trail import SYSTEM, Entry, EntryKind
from services.audit.trail import Neo4jTrail
from services.graph.connect import Graph
from services.graph.errors import translation
from services.graph.migrate import migrate

FORM = 1
"""Of the file. A reader refuses a newer one."""
_BATCH = 500
_OPEN = "it was open when the backup was made, and was ended by the restore"
_OWN_LAST = "AuditEntry"
"""Written last, so that whatever a backup holds has its entries."""

Progress = Callable[[int], None]


class BadBackup(Permanent):
    """The file is no backup that can be restored."""


@dataclass(slots=True)
class Counted:
    """What a backup holds, or what a restore did.

    Attributes:
        nodes, relationships: written to the file, or made in the graph.
        there: nodes that were in the graph already, and stayed as they are.
        loose: relationships with an end that is not in the graph, such as KGroot's nodes.
        ended: executions that were open, and were ended.
    """

    nodes: int = 0
    relationships: int = 0
    there: int = 0
    loose: int = 0
    ended: list[str] = field(default_factory=list)


class Backup:
    """Writes the part of the graph that is ours to a file, line by line: memory does not grow.

    It may be made while the pipeline works. What is written meanwhile may be in it or not; what is in it has its
    entries in the audit trail.
    """

    def __init__(self, graph: Graph, version: str) -> None:
        self._graph = graph
        self._version = version

    async def write(self, path: Path, progress: Progress = lambda _: None) -> Counted:
        """Write the file, readable by its owner alone; it has its name once it is whole.

        Raises:
            GraphUnavailable, GraphRejected, OSError.
            BadBackup: the graph holds a value that the file cannot.
        """
        part = path.with_name(f".{path.name}.part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                counted = await self._lines(_Summed(out), progress)
                out.flush()
                os.fsync(out.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return counted

    async def _lines(self, out: _Summed, progress: Progress) -> Counted:
        counted = Counted()
        database = str((await self._graph.read("audit_store"))[0]["id"])
        schema = max((row["version"] for row in await self._graph.read("schema_versions")), default=0)
        made = datetime.now(UTC).isoformat()
        out.line({"rootmend_backup": FORM, "schema": schema, "database": database, "at": made, "by": self._version})
        labels = sorted(set(loader.ours()) - {"SchemaMigration"}, key=lambda label: (label == _OWN_LAST, label))
        for label in labels:
            async for row in self._stream(loader.labelled("backup_nodes", label)):
                out.line({"n": label, "p": {key: _out(value) for key, value in row["p"].items()}})
                counted.nodes += 1
                progress(counted.nodes)
        for label in labels:
            async for row in self._stream(loader.labelled("backup_relationships", label)):
                if tie := _tie(label, row):
                    out.line(tie)
                    counted.relationships += 1
        out.end(counted.nodes, counted.relationships)
        return counted

    async def _stream(self, text: str) -> Any:
        """Rows as they come; not bounded in time, as nothing is locked."""
        with translation():
            async with self._graph.driver.session(
                database=self._graph.database, default_access_mode=READ_ACCESS
            ) as session:
                result = await session.run(text)
                async for record in result:
                    yield record.data()


class _Summed:
    """Lines with their running checksum."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._sum = hashlib.sha256()

    def line(self, value: Mapping[str, Any]) -> None:
        """One line."""
        text = orjson.dumps(value) + b"\n"
        self._sum.update(text)
        self._out.write(text)

    def end(self, nodes: int, relationships: int) -> None:
        """The last line: how many there are, and the SHA-256 over all lines before it."""
        told = {"nodes": nodes, "relationships": relationships, "sha256": self._sum.hexdigest()}
        self._out.write(orjson.dumps({"end": told}) + b"\n")


class Restore:
    """Puts a backup back. Nothing is written before the whole file was checked."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def check(self, path: Path) -> Mapping[str, Any]:
        """The first line of a file that is whole and can be restored.

        Raises:
            BadBackup: it is no backup, was changed or cut off, or is of a newer release.
            OSError: it cannot be read.
        """
        total, head, end = hashlib.sha256(), None, None
        with path.open("rb") as source:
            for number, text in enumerate(source, 1):
                if end is not None:
                    raise BadBackup(f"{path}:{number}: expected the end of the file after its last line")
                if number == 1:
                    head = _head(path, text)
                elif text.startswith(b'{"end"'):
                    end = _read(path, number, text)["end"]
                    continue
                total.update(text)
        if head is None or end is None:
            raise BadBackup(f"{path}: expected a last line with the checksum: the file was cut off, or is no backup")
        if total.hexdigest() != end["sha256"]:
            raise BadBackup(f"{path}: the checksum is {total.hexdigest()[:12]}..., expected {end['sha256'][:12]}...")
        return head

    async def read(self, path: Path, *, by: str, reason: str, progress: Progress = lambda _: None) -> Counted:
        """Check the file, bring the database to this release's schema, and put back what is not there.

        Raises:
            BadBackup, OSError: see ``check``.
            SchemaTooNew, GraphUnavailable, GraphRejected: what was put back stays; the same call does the rest.
        """
        head = self.check(path)
        await migrate(self._graph)
        counted, now = Counted(), datetime.now(UTC)
        for label, rows in _batches(path, "n", lambda line: str(line["n"])):
            await self._nodes(label, [_tamed(label, _back(row["p"]), now) for row in rows], counted)
            progress(counted.nodes + counted.there)
        for kind, rows in _batches(path, "r", lambda line: f"{line['from'][0]} {line['r']} {line['to'][0]}"):
            start, relationship, end = kind.split(" ")
            given = [{"a": row["from"][1], "b": row["to"][1], "p": _back(row["p"])} for row in rows]
            (told,) = await self._graph.run_repeatable(loader.tied(start, relationship, end), {"rows": given})
            counted.relationships += told["tied"]
            counted.loose += len(rows) - told["tied"]
        facts = {"nodes": counted.nodes, "there": counted.there, "ended": counted.ended[:100]}
        facts |= {"made_at": head["at"], "database": head["database"], "schema": head["schema"]}
        await Neo4jTrail(self._graph).append(SYSTEM, [Entry(EntryKind.GRAPH_RESTORED, path.name, by, reason, facts)])
        return counted

    async def _nodes(self, label: str, rows: list[tuple[dict[str, Any], bool]], counted: Counted) -> None:
        if label not in loader.ours():
            raise BadBackup(f"the backup holds nodes of {label}, which this release does not know")
        text = loader.labelled("restore_nodes", label)
        made = await self._graph.run_repeatable(text, {"rows": [row for row, _ in rows]})
        ids = {row["id"] for row in made}
        counted.nodes += len(made)
        counted.there += len(rows) - len(made)
        counted.ended += [str(row["id"]) for row, ended in rows if ended and row["id"] in ids]


def _head(path: Path, text: bytes) -> Mapping[str, Any]:
    head = _read(path, 1, text)
    form = head.get("rootmend_backup")
    if not isinstance(form, int):
        raise BadBackup(f"{path}:1: expected a backup of rb backup, whose first line says rootmend_backup")
    if form > FORM:
        raise BadBackup(f"{path}:1: it is of form {form}, and this release reads up to {FORM}: use the newer one")
    known = len(loader.migrations())
    if head.get("schema", 0) > known:
        raise BadBackup(f"{path}:1: its schema is {head['schema']}, this release knows {known}: use the newer one")
    return head


def _read(path: Path, number: int, text: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadBackup(f"{path}:{number}: expected a line of JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadBackup(f"{path}:{number}: expected a JSON object")
    return found


def _batches(
    path: Path, mark: str, kind_of: Callable[[Mapping[str, Any]], str]
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Lines with a mark, those of one kind that follow each other together, at most so many at once."""
    kind, batch = "", list[Mapping[str, Any]]()
    with path.open("rb") as source:
        for number, text in enumerate(source, 1):
            line = _read(path, number, text)
            if mark not in line or number == 1:
                continue
            if batch and (kind_of(line) != kind or len(batch) == _BATCH):
                yield kind, batch
                batch = []
            kind = kind_of(line)
            batch.append(line)
    if batch:
        yield kind, batch


def _tie(label: str, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A relationship as a line; None for one to a node that nobody knows how to find again."""
    known = {**loader.ours(), **loader.FOREIGN}
    end = next((one for one in row["labels"] if one in known), None)
    if end is None:
        return None
    keys = {side: {key: _out(row[side].get(key)) for key in known[one]} for side, one in (("a", label), ("b", end))}
    given = {key: _out(value) for key, value in row["p"].items()}
    return {"r": row["type"], "from": [label, keys["a"]], "to": [end, keys["b"]], "p": given}


def _out(value: Any) -> Any:
    """A property as JSON; times keep their type."""
    if isinstance(value, DateTime):
        return {"$time": value.iso_format()}
    if isinstance(value, list):
        return [_out(item) for item in value]
    if isinstance(value, Date | Time | Duration | date | bytes | bytearray):
        raise BadBackup(f"the graph holds a {type(value).__name__}, which a backup cannot keep")
    return value


def _back(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _in(value) for key, value in properties.items()}


def _in(value: Any) -> Any:
    if isinstance(value, dict):
        return DateTime.from_iso_format(value["$time"])
    return [_in(item) for item in value] if isinstance(value, list) else value


def _tamed(label: str, row: dict[str, Any], now: datetime) -> tuple[dict[str, Any], bool]:
    """A node as it may come back, and whether it is an execution that was open: nothing of long ago begins to act."""
    if label == "RunbookExecution" and row.get("status") != "done":
        return {**row, "status": "done", "outcome": "aborted", "error": _OPEN, "finished_at": now}, True
    if label == "Approval":
        row.pop("to_follow", None)
        if row.get("status") == "pending":
            return {**row, "status": "overtaken", "answered_at": now, "answer_reason": _OPEN}, False
    if label == "TargetClaim":
        return {
            key: value for key, value in row.items() if key not in {"execution_id", "holder", "lease_until_ms"}
        }, False
    if label == "Decision" and row.get("kind") == "waiting":
        row.pop("next_check_at", None)
        return {**row, "kind": "resolved", "message": _OPEN}, False
    return row, False
