"""The end of the demo: the table, what the record says, and where to look."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from neo4j.time import DateTime, Duration
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from compose.addresses import Addresses
from compose.demo.graph import Graph, Row
from compose.demo.run import Run
from compose.demo.scenarios import Result

AUDITS = ("last_executions", "who_approved_what", "why_nothing_was_done", "repeats_suppressed")
_MOST_ROWS = 6
_IDS = frozenset({"execution", "approval", "decision"})
"""Columns that a machine wants and a table has no room for."""
_COUNTED = ("runbook_executions_total", "rootmend_decisions_total", "rootmend_inputs_total")


@dataclass(frozen=True, slots=True)
class Audit:
    """One audit query with its answer."""

    name: str
    title: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Report:
    """All that the demo says at its end."""

    results: Sequence[Result]
    audits: Sequence[Audit]
    metrics: Sequence[str]
    metrics_url: str
    pipeline_pid: int | None
    addresses: Addresses
    kept: bool
    seconds: float

    @property
    def as_told(self) -> bool:
        """Whether every incident came out as told."""
        return bool(self.results) and all(result.as_told for result in self.results)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        neo4j = self.addresses.neo4j
        return {
            "as_told": self.as_told,
            "seconds": round(self.seconds, 1),
            "incidents": [asdict(result) for result in self.results],
            "audits": {audit.name: [dict(row) for row in audit.rows] for audit in self.audits},
            "metrics": list(self.metrics),
            "addresses": {
                "neo4j_browser": neo4j.browser_url if neo4j else None,
                "metrics": f"{self.metrics_url}/metrics",
                "settings": str(self.addresses.settings_file),
            },
            "kept": self.kept,
        }


async def audits(graph: Graph, run: Run) -> list[Audit]:
    """What the audit queries say now. Of rows that name a target only those of the run are kept."""
    found = []
    for name in AUDITS:
        title, rows = await graph.audit(name)
        mine = [row for row in rows if "target" not in row or str(row["target"]).startswith(f"{run.cluster}/")]
        found.append(Audit(name, title, mine))
    return found


def counted(page: str) -> list[str]:
    """The lines of the metrics page that tell what the pipeline did."""
    lines = [line for line in page.splitlines() if line.startswith(_COUNTED)]
    return [line for line in lines if not line.endswith(" 0.0")]


def show(report: Report) -> None:
    """Print a report."""
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    out.print(_table(report.results))
    out.print(Text("(approved): the time to the first step includes the wait for the human's answer.", style="dim"))
    for result in report.results:
        if result.problem:
            out.print(Text(f"\n{result.title} did not come out as told: {result.problem}", style="red"))
            for line in result.log:
                out.print(Text(f"  | {line}"), soft_wrap=True)
    for audit in report.audits:
        _audit(out, audit)
    out.print(Text("\nMetrics", style="bold"))
    for line in report.metrics:
        out.print(Text(f"  {line}"), soft_wrap=True)
    _where_to_look(out, report)


def _table(results: Sequence[Result]) -> Table:
    table = Table(title="The incidents", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("incident", "decision", "steps", "verdict", "RCA to first step", "time to verified", "as told"):
        table.add_column(column, overflow="fold")
    for result in results:
        table.add_row(
            result.title,
            Text(result.decision or "-"),
            Text(result.steps or "-"),
            result.verdict or "-",
            _seconds(result.rca_to_first_step),
            _seconds(result.to_verified),
            Text("yes", style="green") if result.as_told else Text("NO", style="bold red"),
        )
    return table


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _audit(out: Console, audit: Audit) -> None:
    out.print(Text(f"\n{audit.title}", style="bold"), Text(f"  rows of cypher/audit/{audit.name}.cypher", style="dim"))
    rows = audit.rows[:_MOST_ROWS]
    columns = [name for name in (rows[0] if rows else ()) if name not in _IDS and any(row[name] for row in rows)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row[name])) for name in columns))
    out.print(table if rows else "  nothing")


def _cell(value: object, most: int = 60) -> str:
    if isinstance(value, DateTime):
        return value.to_native().strftime("%H:%M:%S")
    if isinstance(value, Duration):
        return f"{value.seconds + value.nanoseconds / 1e9:.1f} s"
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    text = "" if value is None else str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _where_to_look(out: Console, report: Report) -> None:
    neo4j = report.addresses.neo4j
    if not report.kept:
        out.print("\nStopped what this demo started. With --keep (make demo KEEP=1) it stays, to look around in.")
        return
    out.print("\nStill running:")
    if neo4j:
        out.print(
            f"  Neo4j Browser  {neo4j.browser_url}  user {neo4j.user}, password in the settings file", soft_wrap=True
        )
    out.print(f"  Metrics        {report.metrics_url}/metrics", soft_wrap=True)
    out.print(f"  Settings       {report.addresses.settings_file}", soft_wrap=True)
    out.print(f"  Pipeline       process {report.pipeline_pid}; the next demo ends it, or `kill {report.pipeline_pid}`")
