"""What is wrong with a runbook, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from rapidfuzz import fuzz, process, utils

_NEAR = 70
_LISTED = 16


class Severity(StrEnum):
    """An error keeps the runbook from loading; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        line: of the file, from 1.
        column: of the file, from 1.
        code: of the rule (``RB202``), see ``runbooks.rules``.
    """

    code: str
    severity: Severity
    message: str
    advice: str = ""
    path: Path | None = None
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        where = f"{self.path or '<runbook>'}:{self.line}:{self.column}"
        return f"{where}: {self.severity} {self.code} {self.message}" + (f" ({self.advice})" if self.advice else "")

    def at(self, path: Path | None) -> Finding:
        """The same finding, in this file."""
        return replace(self, path=path)


class RunbookError(ValueError):
    """The runbook cannot be used.

    Attributes:
        findings: everything that was found, warnings too, in the order of the file.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(sorted(findings, key=lambda finding: (finding.line, finding.column, finding.code)))
        super().__init__("\n".join(str(finding) for finding in self.findings))


def errors_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Only those that keep the runbook from loading."""
    return tuple(finding for finding in findings if finding.severity is Severity.ERROR)


def nearest(word: str, known: Iterable[str], near: int = _NEAR) -> str | None:
    """The known word that was probably meant, or None when none is close (``near``: 0 to 100)."""
    found = process.extractOne(
        word, sorted(known), scorer=fuzz.ratio, processor=utils.default_process, score_cutoff=near
    )
    return None if found is None else str(found[0])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Advice that names the nearest known word, else all of them when they are few."""
    words = sorted(known)
    near = nearest(word, words)
    if near is not None:
        return f"did you mean {near}?"
    return f"one of: {', '.join(words)}" if 0 < len(words) <= _LISTED else ""
