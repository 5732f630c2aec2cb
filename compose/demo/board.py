"""Where each incident stands: the stages of the pipeline as one row for each, and nothing about how it is shown."""

from collections.abc import Callable
from dataclasses import dataclass, field

from compose.demo.record import Decision, Execution

STAGES = ("signal", "cause", "target", "match", "gate", "approval", "steps", "verify", "record")

OPEN, BUSY, DONE, NO, LEFT_OUT = "open", "busy", "done", "no", "left out"


@dataclass(frozen=True, slots=True)
class Cell:
    """One stage of one incident: a mark, and a few words."""

    mark: str = OPEN
    text: str = ""


Row = dict[str, Cell]
OnChange = Callable[[str, str, Cell], None]
"""Told the incident, the stage (empty for a remark), and what it is now."""


@dataclass(slots=True)
class Board:
    """All rows. Whoever shows them listens.

    Attributes:
        titles: what each incident is about, by its key; the order is that of showing.
    """

    titles: dict[str, str]
    on_change: OnChange = field(default=lambda *_: None)
    rows: dict[str, Row] = field(init=False)
    remarks: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = {key: {stage: Cell() for stage in STAGES} for key in self.titles}
        self.remarks = dict.fromkeys(self.titles, "")

    def remark(self, key: str, text: str) -> None:
        """Say what goes on beside the stages."""
        if self.remarks.get(key, text) != text:
            self.remarks[key] = text
            self.on_change(key, "", Cell(BUSY, text))

    def undecided(self) -> list[str]:
        """Incidents about which nothing was decided yet."""
        return [key for key, row in self.rows.items() if row["gate"].mark == OPEN]

    def put(self, key: str, row: Row) -> None:
        """Take a row as it is now."""
        for stage, cell in row.items():
            if self.rows[key][stage] != cell:
                self.rows[key][stage] = cell
                self.on_change(key, stage, cell)


def row_of(decision: Decision) -> Row:
    """The stages of an incident, from its record."""
    row = {stage: Cell() for stage in STAGES}
    row["signal"] = Cell(DONE, decision.reason + (f" x{decision.inputs}" if decision.inputs > 1 else ""))
    if decision.kind == "waiting":
        return row | {"cause": Cell(BUSY, "not in the graph yet, looking again")}
    if decision.cause_reason:
        sure = f" {decision.confidence:.2f}" if decision.confidence is not None else ""
        row["cause"] = Cell(DONE, f"{decision.cause_reason}{sure}")
    if decision.target_key:
        row["target"] = Cell(DONE, decision.target_key.partition("/")[2].lstrip("/"))
    if decision.runbook_id:
        row["match"] = Cell(DONE, decision.runbook_id)
    row["gate"] = Cell(BUSY if decision.kind == "approval" else DONE, decision.kind)
    if decision.kind not in ("approval", "permit"):
        row["gate"] = Cell(NO, f"{decision.kind}: {decision.message}")
        return row | dict.fromkeys(STAGES[5:-1], Cell(LEFT_OUT)) | {"record": Cell(DONE, "kept, with the reason")}
    return row | (_acting(decision.executions[-1]) if decision.executions else {})


def _acting(execution: Execution) -> Row:
    approval = Cell(LEFT_OUT)
    if execution.approvals:
        status = execution.approvals[-1][1]
        approval = Cell(DONE if status == "approved" else BUSY, status)
    row = {"approval": approval, "steps": _steps(execution), "verify": _verify(execution)}
    if execution.ended:
        row["record"] = Cell(DONE if execution.outcome == "success" else NO, execution.outcome)
    return row


def _steps(execution: Execution) -> Cell:
    if not execution.steps:
        return Cell(BUSY, "starting") if execution.status == "running" else Cell()
    last = execution.steps[-1]
    moving = execution.status in ("running", "rolling_back")
    undoing = last.phase != "step"
    mark = BUSY if moving else NO if any(step.status == "failed" for step in execution.steps) else DONE
    return Cell(mark, f"{'undo ' if undoing else ''}{last.id}")


def _verify(execution: Execution) -> Cell:
    if execution.verdict:
        return Cell(DONE if execution.verdict == "verified" else NO, execution.verdict)
    return Cell(BUSY, "watching") if execution.status == "verifying" else Cell()
