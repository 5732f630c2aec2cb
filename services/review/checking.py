"""The checks of a review. Each one is a command of ``rb`` in a process of its own: a crash is one failed check."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.review.report import Check, Outcome

_RB = "import sys; from services.cli.app import main; sys.exit(main())"
RISKIER = "riskier"


@dataclass(frozen=True, slots=True)
class Rb:
    """How ``rb`` is called.

    Attributes:
        options: for every command, such as ``--config FILE``.
        seconds: after which a check counts as failed.
    """

    options: tuple[str, ...] = ()
    seconds: float = 1800

    def __call__(self, *words: str) -> Done:
        """Run one command to its end."""
        command = [sys.executable, "-c", _RB, *self.options, "--no-color", *words]
        try:
            done = subprocess.run(command, capture_output=True, timeout=self.seconds, check=False)  # noqa: S603 - a list
        except subprocess.TimeoutExpired:
            return Done(-1, "", f"it took more than {self.seconds:g} seconds")
        return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


@dataclass(frozen=True, slots=True)
class Done:
    """What a command answered."""

    code: int
    out: str
    err: str

    def data(self) -> Any:
        """Its JSON, or None when it printed none: it did not come to a result."""
        try:
            return json.loads(self.out)
        except ValueError:
            return None

    def said(self) -> tuple[str, ...]:
        """What it told people, for a check without a result."""
        return tuple((self.err + self.out).splitlines()) or (f"it ended with {self.code}",)


def validate(rb: Rb, folder: Path, *, strict: bool) -> Check:
    """Whether the runbooks can be used."""
    words = ("validate", *(["--strict"] if strict else []), str(folder))
    done = rb(*words, "--format", "json")
    found = done.data()
    if found is None:
        return _no_result("validate", words, done)
    errors = sum(one["severity"] == "error" for one in found["findings"])
    warnings = len(found["findings"]) - errors
    summary = f"{found['usable']} of {found['files']} runbooks can be used, {errors} errors, {warnings} warnings"
    lines = tuple(
        f"{one['path']}:{one['line']}:{one['column']}: {one['severity']} {one['code']} {one['message']}"
        + (f" ({one['advice']})" if one["advice"] else "")
        for one in found["findings"]
    )
    return Check("validate", _shown(words), _outcome(done), summary, lines)


def fmt(rb: Rb, folder: Path) -> Check:
    """Whether the runbooks are laid out."""
    done = rb("fmt", "--check", "--diff", str(folder))
    count = sum(line.startswith("would lay out ") for line in done.err.splitlines())
    # The remedy is shown, not the check.
    words = ("fmt", str(folder))
    if done.code == 0:
        return Check("fmt", _shown(words), Outcome.PASSED, "laid out")
    if not count:
        return _no_result("fmt", words, done)
    lines = tuple(line for line in (done.out + done.err).splitlines() if not line.startswith("would lay out "))
    return Check("fmt", _shown(words), Outcome.FAILED, f"{count} files are not laid out", lines)


def test(rb: Rb, folder: Path, packs: int, junit: Path | None) -> Check:
    """Whether the acceptance packs hold."""
    words = ("test", str(folder))
    if not packs:
        return Check("test", _shown(words), Outcome.SKIPPED, "no runbook has an acceptance pack")
    done = rb(*words, "--json", *(["--junit", str(junit)] if junit else []))
    found = done.data()
    if found is None:
        return _no_result("test", words, done)
    bad = [one for one in found["scenarios"] if not one["passed"]]
    lines = [line for one in bad for line in (f"FAIL {one['runbook']}: {one['scenario']}", *_inset(one["failures"]))]
    summary = f"{found['passed']} of {len(found['scenarios'])} scenarios passed"
    return Check("test", _shown(words), _outcome(done), summary, tuple(lines))


def backtest(rb: Rb, folder: Path, incidents: Path | None, base: Path | None, fail_on: Sequence[str]) -> Check:
    """What recorded incidents would have met."""
    if incidents is None:
        command = f"rb backtest --from FILE --runbooks {folder}"
        return Check("backtest", command, Outcome.SKIPPED, "no recorded incidents were given")
    words = ("backtest", "--from", str(incidents), "--runbooks", str(folder))
    names = [name for name in fail_on if name != RISKIER]
    more = [*(["--base", str(base)] if base else []), *(["--fail-on", ",".join(names)] if names else [])]
    done = rb(*words, *more, "--json")
    found = done.data()
    if found is None:
        return _no_result("backtest", words, done)
    counts = ", ".join(f"{count} {name}" for name, count in found["differences"].items() if count)
    against = "the base" if base else "what was recorded"
    summary = f"{found['incidents']} incidents against {against}, {found['unchanged']} unchanged"
    lines = tuple(line for one in found["findings"] for line in _finding(one))
    return Check("backtest", _shown(words), _outcome(done), summary + (f": {counts}" if counts else ""), lines)


def _finding(one: Any) -> list[str]:
    before, after = one["before"], one["after"]
    told = [f"{one['incident']} {one['target']}: {', '.join(one['differences'])}"]
    told += _inset(f"{word}: {_answer(answer)}" for word, answer in (("before", before), ("now", after)))
    return told


def _answer(answer: Any) -> str:
    by = f" by {answer['runbook']}" if answer.get("runbook") else ""
    message = f" ({answer['message']})" if answer.get("message") else ""
    return f"{answer['kind'].replace('_', ' ')}{by}{message}"


def _inset(lines: Any) -> list[str]:
    return [f"    {line}" for line in lines]


def _outcome(done: Done) -> Outcome:
    return Outcome.FAILED if done.code else Outcome.PASSED


def _no_result(name: str, words: Sequence[str], done: Done) -> Check:
    return Check(name, _shown(words), Outcome.FAILED, "it could not be done", done.said())


def _shown(words: Sequence[str]) -> str:
    return " ".join(("rb", *words))
