"""The table of failpoints in docs/reliability.md, made from the code; the rest of the page is written by people."""

from __future__ import annotations

from pathlib import Path

from executor.failpoints import BOUNDARIES
from tests.chaos.kinds import KINDS
from tests.chaos.matrix import ELSEWHERE, MATRIX

_PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
_BEGIN, _END = "<!-- failpoints: made by make docs -->\n", "<!-- end of failpoints -->\n"


def table() -> str:
    """One row for each failpoint, in the order in which an incident meets them."""
    lines = [
        "| failpoint | where | what is done when a process dies there | what is not | crashed for |",
        "|---|---|---|---|---|",
    ]
    for point, boundary in BOUNDARIES.items():
        kinds = MATRIX.get(point, ())
        crashed = "all" if len(kinds) == len(KINDS) else ", ".join(kinds) or ELSEWHERE[point]
        module = boundary.module.removesuffix(".py")
        lines.append(f"| `{point}` | `{module}` | {boundary.behind} | {boundary.ahead} | {crashed} |")
    return "\n".join(lines) + "\n"


def render() -> str:
    """The page with the table as it is now."""
    text = _PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + table() + _END + after
