"""A runbook as a picture: complete, readable by the programs that show it, and safe against hostile names."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from runbooks.drawing import Drawing, Edge, Kind, Line, Node, drawing_of, to_dot, to_mermaid, without_failures
from runbooks.drawing_svg import to_svg
from runbooks.loader import load_text
from services.cli.graph import graph

CATALOG = Path(__file__).parents[2] / "runbooks" / "catalog"
SVG = "{http://www.w3.org/2000/svg}"
GRAPH = """
runbook:
  id: dag
  trigger: {root_cause_reason: OOMKilled}
  steps:
    - {id: a, name: Look, action: wait, params: {seconds: 1}, depends_on: []}
    - {id: b, name: One way, action: wait, params: {seconds: 1}, depends_on: [a], on_failure: {run: tell}}
    - {id: c, name: Other way, action: wait, params: {seconds: 1}, depends_on: [a], on_failure: continue}
    - {id: d, name: Both, action: wait, params: {seconds: 1}, depends_on: [b, c], on_success: complete}
    - {id: e, name: Stronger, action: wait, params: {seconds: 1}, require_approval: true, when: "1 == 1"}
  procedures:
    tell: [{name: Tell people, action: wait, params: {seconds: 1}}]
"""


def drawing():
    return drawing_of(load_text(GRAPH).runbook)


def test_what_waits_for_what_and_what_follows_a_failure_is_drawn():
    """Forks and joins, the early end, the named procedure, the way back."""
    arrows = {(edge.source, edge.target, edge.line) for edge in drawing().edges}
    assert {("start", "s_a", Line.NEXT), ("s_a", "s_b", Line.NEXT), ("s_a", "s_c", Line.NEXT)} <= arrows
    assert {("s_b", "s_d", Line.NEXT), ("s_c", "s_d", Line.NEXT), ("s_e", "verify", Line.NEXT)} <= arrows
    assert {("s_d", "verify", Line.DONE), ("s_b", "p_tell", Line.FAILED), ("s_a", "back", Line.FAILED)} <= arrows
    assert ("s_c", "back", Line.FAILED) not in arrows
    notes = {node.id: node.notes for node in drawing().nodes}
    assert notes["s_e"] == ("wait", "when 1 == 1", "asks a human")


def test_only_the_way_forward():
    """Without failures there is no way back to draw."""
    forward = without_failures(drawing())
    assert {node.kind for node in forward.nodes} == {Kind.START, Kind.STEP, Kind.VERIFY}
    assert Line.FAILED not in {edge.line for edge in forward.edges}


def test_in_svg_no_box_covers_another_and_every_node_and_edge_is_there():
    """Read back from the file, with an XML parser."""
    root = ET.fromstring(to_svg(drawing()))  # noqa: S314 - our own text
    boxes = [
        tuple(float(rect.get(name)) for name in ("x", "y", "width", "height"))
        for rect in root.iterfind(f"{SVG}g/{SVG}rect")
    ]
    assert len(boxes) == len(drawing().nodes)
    for number, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[number + 1 :]:
            beside = x + width <= other_x or other_x + other_width <= x
            assert beside or y + height <= other_y or other_y + other_height <= y
        assert x >= 0
        assert x + width <= float(root.get("width"))
        assert y + height <= float(root.get("height"))
    assert len(root.findall(f"{SVG}path")) == len(drawing().edges)


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=80))
def test_names_from_files_are_never_markup(name):
    """Whatever a step is called, the picture stays one picture and runs nothing."""
    hostile = Drawing(
        name, (Node("a", Kind.START, name, (name,)), Node("b", Kind.STEP, name)), (Edge("a", "b", Line.FAILED, name),)
    )
    root = ET.fromstring(to_svg(hostile))  # noqa: S314 - our own text
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "defs", "marker", "path", "rect", "g", "text")
    }
    lines = to_mermaid(hostile).splitlines()
    assert len(lines) == 4 + len(Kind)
    assert lines[1].count('"') == 2
    assert not {"<", ">"} & set(lines[2].replace("-.->", "").replace("<br/>", ""))
    assert to_dot(hostile).count("\n") == 7


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(graph)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


def test_the_format_follows_the_name_of_the_file(run, tmp_path):
    """Mermaid on the terminal, SVG and DOT by suffix or option."""
    (file,) = CATALOG.rglob("oomkilled-increase-memory/runbook.yaml")
    assert run(file).output.startswith("flowchart TD")
    assert run(file, "-o", tmp_path / "a.svg").exit_code == 0
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    assert run(file, "--format", "dot", "--forward").output.startswith("digraph")
