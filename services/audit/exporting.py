"""The trail for other systems: the guide's schema of audit logs, CSV, OCSF and CEF. Streams; memory does not grow."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from safety.trail import FIELDS, spelled
from services.audit.forms import cef, execution_log, ocsf
from services.graph.connect import Graph
from services.graph.executions import stories

FORMATS = ("json", "csv", "ocsf", "cef")
_PAGE = 1_000
_EXECUTIONS = 50
_FORMULA = frozenset("=+-@|%\uff1d\uff0b\uff0d\uff20")
_PASSED_OVER = "\x00\t\r\n \x0b\x0c\xa0\u200b\ufeff'\""
_EVER = datetime(1970, 1, 1, tzinfo=UTC)

Write = Callable[[str], None]
"""Takes one line, without its end."""


async def export(graph: Graph, form: str, tenant: str, since: datetime | None, write: Write) -> int:
    """Write the trail in one of the formats, oldest first.

    Args:
        graph: where it is.
        form: one of ``FORMATS``.
        tenant: whose; empty for all.
        since: nothing older.
        write: takes the lines.

    Returns:
        How many executions (json) or entries were written.
    """
    if form == "json":
        return await _executions(graph, tenant, since, write)
    lines = {"csv": _csv, "ocsf": lambda row: orjson.dumps(ocsf(row)).decode(), "cef": cef}[form]
    count = 0
    if form == "csv":
        write(",".join(FIELDS))
    async for row in entries(graph, tenant, since):
        write(lines(row))
        count += 1
    return count


async def entries(graph: Graph, tenant: str, since: datetime | None) -> AsyncIterator[Mapping[str, Any]]:
    """Entries by tenant, in the order of their times."""
    if not tenant:
        while rows := await graph.read("audit_tenants", after=tenant):
            tenant = rows[0]["tenant"]
            async for row in entries(graph, tenant, since):
                yield row
        return
    place = {"since": spelled(since or _EVER), "after_segment": "", "after_seq": -1}
    while True:
        rows = await graph.read("audit_export", tenant=tenant, limit=_PAGE, **place)
        for row in rows:
            yield row["a"]
        if len(rows) < _PAGE:
            return
        last = rows[-1]["a"]
        place = {"since": last["at"], "after_segment": last["segment"], "after_seq": last["seq"]}


async def _executions(graph: Graph, tenant: str, since: datetime | None, write: Write) -> int:
    """One JSON document: a list with an audit log for each execution."""
    count, place = 0, {"since": since or _EVER, "after": ""}
    write("[")
    while True:
        rows = await graph.read("audit_executions", tenant=tenant, limit=_EXECUTIONS, **place)
        for story in await stories(graph, [row["id"] for row in rows]):
            log = orjson.dumps(execution_log(story), option=orjson.OPT_NON_STR_KEYS, default=str).decode()
            write(f"{',' if count else ''}{log}")
            count += 1
        if len(rows) < _EXECUTIONS:
            write("]")
            return count
        place = {"since": rows[-1]["requested_at"], "after": rows[-1]["id"]}


def _csv(row: Mapping[str, Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow([_cell(row.get(name)) for name in FIELDS])
    return out.getvalue()


def _cell(value: Any) -> str:
    """A cell that a spreadsheet does not take for a formula: names and reasons come from outside."""
    text = "" if value is None else str(value).replace("\r", " ").replace("\n", " ")
    # Spreadsheets pass over space before a formula, and some read the wide forms of its signs.
    return f"'{text}" if text.strip(_PASSED_OVER)[:1] in _FORMULA else text
