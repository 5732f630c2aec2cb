"""A runbook as a picture: its steps as a graph, with what follows a failure, and the way back.

The graph is a value; Mermaid, DOT and SVG are made from it. Names come from files, so every writer escapes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from html import escape

from runbooks.durations import format_duration
from runbooks.model import Runbook
from runbooks.order import edges
from runbooks.steps import OnFailure, OnSuccess, RunOnFailure, Step

_LABEL = 60


class Kind(StrEnum):
    """What a node stands for."""

    START = "start"
    STEP = "step"
    VERIFY = "verify"
    TAKEN_BACK = "rollback"
    PROCEDURE = "procedure"


class Line(StrEnum):
    """Why one node follows another."""

    NEXT = "next"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Node:
    """A box. ``notes`` are its small print: action, condition, approval, repetition."""

    id: str
    kind: Kind
    label: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow."""

    source: str
    target: str
    line: Line = Line.NEXT
    label: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """The picture, not laid out yet."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = field(default=())


def drawing_of(runbook: Runbook) -> Drawing:
    """What a runbook does, as nodes and edges."""
    nodes = [Node("start", Kind.START, "trigger", _trigger(runbook))]
    drawn: list[Edge] = []
    _chain(runbook.steps, _Group("s", "start", Kind.STEP), nodes, drawn)
    verify = Node("verify", Kind.VERIFY, "verify", _verification(runbook))
    nodes.append(verify)
    followed = {edge.source for edge in drawn if edge.line is Line.NEXT}
    drawn += [Edge(node.id, "verify") for node in nodes if node.kind is Kind.STEP and node.id not in followed]
    back = Node("back", Kind.TAKEN_BACK, "roll back", () if runbook.rollback.steps else ("each change is undone",))
    nodes.append(back)
    _chain(runbook.rollback.steps, _Group("r", "back", Kind.TAKEN_BACK), nodes, drawn)
    for name, steps in runbook.procedures.items():
        nodes.append(Node(f"p_{name}", Kind.PROCEDURE, name))
        _chain(steps, _Group(f"p_{name}", f"p_{name}", Kind.PROCEDURE), nodes, drawn)
    drawn += _consequences(runbook)
    return Drawing(runbook.name or runbook.id, tuple(nodes), _merged(drawn))


@dataclass(frozen=True, slots=True)
class _Group:
    """Steps that stand together: how their nodes are named, where they begin, and what they are."""

    prefix: str
    first: str
    kind: Kind


def _chain(steps: Sequence[Step], group: _Group, nodes: list[Node], drawn: list[Edge]) -> None:
    waits = edges(steps)
    for step in steps:
        here = f"{group.prefix}_{step.id}"
        nodes.append(Node(here, group.kind, step.name, tuple(_notes(step))))
        needed = [f"{group.prefix}_{one}" for one in waits[step.id] if one in waits]
        drawn += [Edge(one, here) for one in needed or [group.first]]


def _notes(step: Step) -> Iterator[str]:
    yield step.action
    if step.when is not True:
        yield f"when {step.when}"
    if step.for_each is not None:
        yield f"for each of {step.for_each if isinstance(step.for_each, str) else f'{len(step.for_each)} items'}"
    if step.require_approval is not False:
        yield "asks a human" if step.require_approval is True else f"asks a human when {step.require_approval}"
    if step.retry is not None:
        yield f"up to {step.retry.attempts} attempts"


def _trigger(runbook: Runbook) -> tuple[str, ...]:
    trigger = runbook.trigger
    lines = [f"cause {', '.join(trigger.root_cause_reason)}"] if trigger.root_cause_reason else []
    lines += [f"alert {', '.join(trigger.alert)}"] if trigger.alert else []
    lines += [f"cron {one.cron} {one.timezone}" for one in trigger.schedule]
    lines += ["a human says yes"] if runbook.safety.require_approval is True else []
    return tuple(lines or ["by hand"])


def _verification(runbook: Runbook) -> tuple[str, ...]:
    settle = f"healthy for {format_duration(runbook.verification.settle)}"
    return settle, *(one.name for one in runbook.verification.success_criteria)


def _consequences(runbook: Runbook) -> Iterator[Edge]:
    for step in runbook.steps:
        here = f"s_{step.id}"
        if step.on_success is OnSuccess.COMPLETE:
            yield Edge(here, "verify", Line.DONE, "done")
        match step.on_failure:
            case RunOnFailure(run=name):
                yield Edge(here, f"p_{name}", Line.FAILED, "fails")
            case OnFailure.ROLLBACK:
                yield Edge(here, "back", Line.FAILED, "fails")
            case OnFailure.APPROVE:
                yield Edge(here, "back", Line.FAILED, "fails, and nobody says go on")
            case _:
                continue
    if runbook.verification.on_not_fixed == "rollback":
        yield Edge("verify", "back", Line.FAILED, "not fixed")
    for trigger in runbook.rollback.triggers:
        if trigger.run:
            yield Edge("verify", f"p_{trigger.run}", Line.FAILED, _why(trigger.model_dump(exclude_none=True)))


def _merged(edges: Sequence[Edge]) -> tuple[Edge, ...]:
    """One arrow for all reasons that lead from one node to another."""
    reasons: dict[tuple[str, str, Line], list[str]] = {}
    for edge in edges:
        reasons.setdefault((edge.source, edge.target, edge.line), []).append(edge.label)
    return tuple(Edge(*key, "; ".join(dict.fromkeys(filter(None, labels)))) for key, labels in reasons.items())


def _why(trigger: Mapping[str, object]) -> str:
    return next((f"{name.replace('_', ' ')}: {value}" for name, value in trigger.items() if name != "run"), "")


def without_failures(drawing: Drawing) -> Drawing:
    """Only the way forward."""
    edges = tuple(edge for edge in drawing.edges if edge.line is not Line.FAILED)
    linked = {one for edge in edges for one in (edge.source, edge.target)}
    kept = tuple(
        node for node in drawing.nodes if node.id in linked and node.kind in {Kind.START, Kind.STEP, Kind.VERIFY}
    )
    names = {node.id for node in kept}
    return replace(drawing, nodes=kept, edges=tuple(e for e in edges if {e.source, e.target} <= names))


def to_mermaid(drawing: Drawing) -> str:
    """As a Mermaid flow chart, which GitHub shows in Markdown."""
    short = {node.id: f"n{number}" for number, node in enumerate(drawing.nodes)}
    shapes = {Kind.START: ('(["', '"])'), Kind.VERIFY: ('{{"', '"}}'), Kind.STEP: ('["', '"]')}
    lines = ["flowchart TD"]
    for node in drawing.nodes:
        opening, closing = shapes.get(node.kind, ('("', '")'))
        text = "<br/>".join(_mermaid(part) for part in (node.label, *node.notes))
        lines.append(f"  {short[node.id]}{opening}{text}{closing}:::{node.kind}")
    arrows = {Line.NEXT: "-->", Line.FAILED: "-.->", Line.DONE: "==>"}
    for edge in drawing.edges:
        label = f'|"{_mermaid(edge.label)}"|' if edge.label else ""
        lines.append(f"  {short[edge.source]} {arrows[edge.line]}{label} {short[edge.target]}")
    colours = (
        f"  classDef {kind} fill:{fill},stroke:{stroke},color:#1f2328" for kind, (fill, stroke) in COLOURS.items()
    )
    return "\n".join([*lines, *colours, ""])


def _mermaid(text: str) -> str:
    """Mermaid reads ``#quot;`` and numbers; everything that could end the text or begin markup is written so."""
    plain = " ".join(text.split())[: _LABEL * 2]
    return re.sub(r"[^\w .,:/()%=+*-]", lambda found: f"#{ord(found[0])};", plain)


def to_dot(drawing: Drawing) -> str:
    """As a Graphviz graph."""
    lines = [
        f"digraph {_dot(drawing.title)} {{",
        "  rankdir=TB;",
        "  node [shape=box, style=filled, fontname=Helvetica];",
    ]
    for node in drawing.nodes:
        fill, stroke = COLOURS[node.kind]
        text = _dot("\n".join((node.label, *node.notes)))
        lines.append(f"  {_dot(node.id)} [label={text}, fillcolor={_dot(fill)}, color={_dot(stroke)}];")
    styles = {Line.NEXT: "solid", Line.FAILED: "dashed", Line.DONE: "bold"}
    lines += [
        f"  {_dot(e.source)} -> {_dot(e.target)} [label={_dot(e.label)}, style={styles[e.line]}];"
        for e in drawing.edges
    ]
    return "\n".join([*lines, "}", ""])


def _dot(text: str) -> str:
    text = "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in text)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


COLOURS: Mapping[Kind, tuple[str, str]] = {
    Kind.START: ("#ddf4ff", "#0969da"),
    Kind.STEP: ("#ffffff", "#57606a"),
    Kind.VERIFY: ("#dafbe1", "#1a7f37"),
    Kind.TAKEN_BACK: ("#fff1e5", "#bc4c00"),
    Kind.PROCEDURE: ("#fff8c5", "#9a6700"),
}
"""Fill and line of each kind of node."""


def shown(text: str, longest: int = _LABEL) -> str:
    """A text for a picture: one line, escaped for XML, cut with an ellipsis."""
    plain = "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
    return escape(plain if len(plain) <= longest else plain[: longest - 1] + "…")
