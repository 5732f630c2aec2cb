"""The report of a review: values in, Markdown out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MOST_BYTES = 60_000
"""GitHub takes comments of 65,536 characters."""

_MOST_LINES = 60
_LONGEST_LINE = 400


class Outcome(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "not done"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a review.

    Attributes:
        command: what an author runs to see the same.
        summary: one line; only counts and words of our own, never text of the pull request.
        lines: what was found; may hold anything.
    """

    name: str
    command: str
    outcome: Outcome
    summary: str
    lines: tuple[str, ...] = ()


def failed(checks: Sequence[Check]) -> bool:
    """Whether the review holds the change back."""
    return any(one.outcome is Outcome.FAILED for one in checks)


def marker(path: str) -> str:
    """The first line of the report: by it the comment of this folder is found again. Not shown by GitHub."""
    return f"<!-- rootmend review of {re.sub(r'[^A-Za-z0-9._/-]+', '_', path).replace('--', '__')} -->"


def markdown(path: str, checks: Sequence[Check], most_bytes: int = MOST_BYTES) -> str:
    """One comment: a table of the checks, and what each found, folded unless it failed.

    Details that do not fit are left out from the last check on, and the report says so.
    """
    verdict = "This change is held back" if failed(checks) else "Nothing holds this change back"
    head = [
        marker(path),
        f"### Runbooks in {_code(path)}",
        "",
        f"**{verdict}.**",
        "",
        "| check | result | |",
        "|-|-|-|",
    ]
    head += [f"| {_code(one.command)} | {one.outcome} | {_cell(one.summary)} |" for one in checks]
    text = "\n".join(head) + "\n"
    left_out = []
    for one in sorted((one for one in checks if one.lines), key=lambda one: one.outcome is not Outcome.FAILED):
        part = _details(one)
        if len((text + part).encode()) + _MOST_LINES * 2 > most_bytes:
            left_out.append(one.name)
        else:
            text += part
    return text + (f"\nToo long to be shown here: {', '.join(left_out)}.\n" if left_out else "")


def _details(one: Check) -> str:
    lines = [_printable(line)[:_LONGEST_LINE] for line in one.lines[:_MOST_LINES]]
    if len(one.lines) > _MOST_LINES:
        lines.append(f"... and {len(one.lines) - _MOST_LINES} more")
    # A fence that is longer than any inside: what people wrote mentions nobody and is never markup.
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    shown = " open" if one.outcome is Outcome.FAILED else ""
    body = "\n".join(lines)
    return f"\n<details{shown}><summary>{one.name}</summary>\n\n{fence}text\n{body}\n{fence}\n\n</details>\n"


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() or char == "\t" else " " for char in line)


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return _printable(text).replace("`", "'").replace("|", "\\|")
