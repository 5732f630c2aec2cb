"""The picture of a runbook as SVG, laid out in layers; no program besides this one is needed.

Layers come from the longest way to each node, the order in a layer from the middle of what stands above (barycenter
method of Sugiyama, Tagawa and Toda, 1981).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runbooks.drawing import COLOURS, Drawing, Edge, Kind, Line, Node, shown

_SIGN, _BOLD, _LINE, _PAD = 6.2, 8.0, 16.0, 12.0
_GAP_X, _GAP_Y, _MARGIN = 36.0, 48.0, 24.0
_LANE_GAP, _SIDE = 150.0, 70.0
_WIDEST = 44
_ROUNDS = 6
_FORWARD = frozenset({Kind.START, Kind.STEP, Kind.VERIFY})
_STROKES = {Line.NEXT: ("#57606a", ""), Line.FAILED: ("#bc4c00", "6 4"), Line.DONE: ("#1a7f37", "")}


@dataclass(frozen=True, slots=True)
class Box:
    """A node at its place; all in pixels."""

    node: Node
    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Of its width."""
        return self.x + self.width / 2


def to_svg(drawing: Drawing) -> str:
    """As a stand-alone SVG document."""
    boxes = _placed(drawing)
    width = max((box.x + box.width for box in boxes.values()), default=0) + _MARGIN
    height = max((box.y + box.height for box in boxes.values()), default=0) + _MARGIN
    marks = "".join(
        f'<marker id="{line}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 L10 5 L0 10 z" fill="{colour}"/></marker>'
        for line, (colour, _) in _STROKES.items()
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="13">'
    )
    parts = [
        head,
        f"<title>{shown(drawing.title)}</title><defs>{marks}</defs>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *(_arrow(edge, boxes, before) for edge, before in _counted(drawing.edges)),
        *(_box(box) for box in boxes.values()),
        "</svg>",
    ]
    return "\n".join([*parts, ""])


def _lanes(drawing: Drawing) -> list[Drawing]:
    """The way forward, then each way back on its own, to be drawn beside one another."""
    back = [node for node in drawing.nodes if node.kind not in _FORWARD]
    groups: dict[str, list[Node]] = {"": [node for node in drawing.nodes if node.kind in _FORWARD]}
    for node in back:
        inside = [edge.source for edge in drawing.edges if edge.target == node.id and edge.line is Line.NEXT]
        key = next((key for key, nodes in groups.items() if any(one.id in inside for one in nodes)), node.id)
        groups.setdefault(key, []).append(node)
    lanes = []
    for nodes in groups.values():
        names = {node.id for node in nodes}
        edges = tuple(edge for edge in drawing.edges if edge.line is Line.NEXT and {edge.source, edge.target} <= names)
        lanes.append(Drawing("", tuple(nodes), edges))
    return lanes


def _layers(drawing: Drawing) -> Mapping[str, int]:
    """How far down each node stands. Edges that close a circle are left out: a picture must come out all the same."""
    order = [node.id for node in drawing.nodes]
    place = {name: number for number, name in enumerate(order)}
    above: dict[str, list[str]] = {name: [] for name in order}
    for edge in drawing.edges:
        if place[edge.source] < place[edge.target]:
            above[edge.target].append(edge.source)
    layer: dict[str, int] = {}
    for name in order:
        layer[name] = 1 + max((layer[one] for one in above[name]), default=-1)
    return layer


def _placed(drawing: Drawing) -> Mapping[str, Box]:
    boxes: dict[str, Box] = {}
    left = _MARGIN + _SIDE
    for lane in _lanes(drawing):
        found = _in_lane(lane, left)
        boxes |= found
        left = max(box.x + box.width for box in found.values()) + _LANE_GAP
    return boxes


def _in_lane(lane: Drawing, left: float) -> Mapping[str, Box]:
    layer = _layers(lane)
    rows: list[list[Node]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for node in lane.nodes:
        rows[layer[node.id]].append(node)
    for _ in range(_ROUNDS):
        rows = _sorted(rows, lane.edges)
    sizes = {node.id: _size(node) for node in lane.nodes}
    widest = max((_row_width(row, sizes) for row in rows), default=0)
    boxes: dict[str, Box] = {}
    y = _MARGIN
    for row in rows:
        x = left + (widest - _row_width(row, sizes)) / 2
        for node in row:
            width, height = sizes[node.id]
            boxes[node.id] = Box(node, x, y, width, height)
            x += width + _GAP_X
        y += max(sizes[node.id][1] for node in row) + _GAP_Y
    return boxes


def _sorted(rows: Sequence[Sequence[Node]], edges: Sequence[Edge]) -> list[list[Node]]:
    place = {node.id: index / max(len(row), 1) for row in rows for index, node in enumerate(row)}
    near: dict[str, list[float]] = {}
    for edge in edges:
        near.setdefault(edge.target, []).append(place[edge.source])
        near.setdefault(edge.source, []).append(place[edge.target])

    def middle(node: Node) -> float:
        found = near.get(node.id)
        return sum(found) / len(found) if found else place[node.id]

    return [sorted(row, key=middle) for row in rows]


def _size(node: Node) -> tuple[float, float]:
    longest = max(
        len(shown(node.label, _WIDEST)) * _BOLD, *(len(shown(text, _WIDEST)) * _SIGN for text in node.notes), 0
    )
    return longest + 2 * _PAD, (1 + len(node.notes)) * _LINE + 2 * _PAD


def _row_width(row: Sequence[Node], sizes: Mapping[str, tuple[float, float]]) -> float:
    return sum(sizes[node.id][0] for node in row) + _GAP_X * max(len(row) - 1, 0)


def _box(box: Box) -> str:
    fill, stroke = COLOURS[box.node.kind]
    radius = 16 if box.node.kind in {Kind.START, Kind.VERIFY} else 5
    title = (
        f'<text x="{box.middle:.1f}" y="{box.y + _PAD + _LINE * 0.8:.1f}" text-anchor="middle" font-weight="600" '
        f'fill="#1f2328">{shown(box.node.label, _WIDEST)}</text>'
    )
    lines = [title]
    lines += [
        f'<text x="{box.middle:.1f}" y="{box.y + _PAD + _LINE * (1.8 + number):.1f}" text-anchor="middle" '
        f'font-size="11" fill="#57606a">{shown(note, _WIDEST)}</text>'
        for number, note in enumerate(box.node.notes)
    ]
    return (
        f'<g><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="{radius}" '
        f'fill="{fill}" stroke="{stroke}"/>{"".join(lines)}</g>'
    )


def _counted(edges: Sequence[Edge]) -> Iterator[tuple[Edge, int]]:
    """Each edge with how many labels of the same box stand before its own."""
    seen: Counter[str] = Counter()
    for edge in edges:
        yield edge, seen[edge.source]
        seen[edge.source] += bool(edge.label)


def _arrow(edge: Edge, boxes: Mapping[str, Box], before: int) -> str:
    colour, dash = _STROKES[edge.line]
    path, (x, y) = _path(edge, boxes)
    style = f' stroke-dasharray="{dash}"' if dash else ""
    drawn = f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.4"{style} marker-end="url(#{edge.line})"/>'
    if not edge.label:
        return drawn
    place = f'x="{x:.1f}" y="{y - 11 * before:.1f}" font-size="10" fill="{colour}"'
    return f"{drawn}<text {place}>{shown(edge.label, _WIDEST)}</text>"


def _path(edge: Edge, boxes: Mapping[str, Box]) -> tuple[str, tuple[float, float]]:
    """The curve of an arrow, and where its label stands."""
    one, other = boxes[edge.source], boxes[edge.target]
    if edge.line is Line.FAILED:  # to another lane, or back up: from side to side
        x1, y1, x2, y2 = one.x + one.width, one.y + one.height / 2, other.x, other.y + other.height / 2
        bend = max(abs(x2 - x1) / 2, 30)
        return f"M{x1:.1f} {y1:.1f} C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}", (
            x1 + 6,
            y1 - 5,
        )
    if edge.line is Line.DONE:  # past the steps between, on the free side
        x1, y1, x2, y2 = one.x, one.y + one.height / 2, other.x, other.y + other.height / 2
        far = min(x1, x2) - _SIDE
        return f"M{x1:.1f} {y1:.1f} C{far:.1f} {y1:.1f} {far:.1f} {y2:.1f} {x2:.1f} {y2:.1f}", (x1 - 34, y1 - 5)
    x1, y1, x2, y2 = one.middle, one.y + one.height, other.middle, other.y
    bend = max((y2 - y1) / 2, 20)
    path = f"M{x1:.1f} {y1:.1f} C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"
    return path, ((x1 + x2) / 2, (y1 + y2) / 2)
