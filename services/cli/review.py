"""``rb review``: every check of a changed folder of runbooks, and one report for the pull request."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from services.review.checking import Rb
    from services.review.report import Check


class Annotate(StrEnum):
    """Whether findings are also printed for a machine that shows them at their line."""

    NONE = "none"
    GITHUB = "github"


def review(
    path: Annotated[Path, typer.Argument(help="The folder of the runbooks; left out: here.")] = Path(),
    *,
    base: Annotated[str, typer.Option("--base", help="The Git revision that the change is compared with.")] = "",
    incidents: Annotated[
        Path | None, typer.Option("--incidents", help="A file of 'rb incidents export' for the backtest.")
    ] = None,
    fail_on: Annotated[
        str, typer.Option("--fail-on", help="Differences that fail: as of rb backtest, riskier, or any.")
    ] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the report to this file.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write the tests as JUnit XML to this file.")] = None,
    annotate: Annotated[Annotate, typer.Option("--annotate", help="Findings as annotations too.")] = Annotate.NONE,
) -> int:
    """Validate, lay-out, tests, backtest and the difference to a base: one report in Markdown.

    No server is needed, and nothing is changed. What was not given (a base, incidents, packs) is reported as not done.
    The backtest compares with the runbooks of the base where there is one, else with what was recorded. A new runbook
    counts as riskier.

    Exit code 0: nothing holds the change back; 1: a check failed; 2: wrong use.

    Examples:
        rb review my-runbooks --base main

        rb review my-runbooks --base main --incidents incidents.jsonl.gz --fail-on lost,let-through -o review.md
    """
    from services.masking import masker  # noqa: PLC0415 - keeps rb --help quick
    from services.review.report import failed, markdown  # noqa: PLC0415 - as above

    names = _names(fail_on)
    if not path.is_dir():
        raise runtime.CommandError(f"{path} is no folder of runbooks", 2)
    if incidents is not None and not incidents.is_file():
        raise runtime.CommandError(f"--incidents: there is no file {incidents}", 2)
    with tempfile.TemporaryDirectory(prefix="rootmend-") as scratch:
        checks = _checks(path, _base(base, path, Path(scratch)), incidents, names, strict=strict, junit=junit)
    text = masker.text(markdown(path.as_posix(), checks))  # others read it, below a pull request
    if annotate is Annotate.GITHUB:
        typer.echo(_rb()("validate", "--format", "github", str(path)).out, nl=False)
    if output is None:
        typer.echo(text, nl=False)
    else:
        _write(output, text)
        for one in checks:
            typer.echo(f"{one.outcome:8}  {one.name}: {one.summary}")
    return int(failed(checks))


def _names(text: str) -> tuple[str, ...]:
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick
    from services.review.checking import RISKIER  # noqa: PLC0415 - as above
    from services.testing.backtest import Difference  # noqa: PLC0415 - as above

    known = [*(one.value for one in Difference), RISKIER]
    asked = tuple(part.strip() for part in text.split(",") if part.strip())
    for part in asked:
        if part not in (*known, "any"):
            hint = did_you_mean(part, [*known, "any"])
            raise runtime.CommandError(f"--fail-on: there is no difference '{part}'; {hint}", 2)
    return tuple(known) if "any" in asked else asked


def _base(revision: str, path: Path, scratch: Path) -> tuple[str, Path] | None:
    from services.review.base import BaseError, extract  # noqa: PLC0415 - keeps rb --help quick

    if not revision:
        return None
    try:
        extract(revision, path, scratch)
    except BaseError as error:
        raise runtime.CommandError(f"--base {revision}: {error}", 2) from error
    return revision, scratch


def _rb() -> Rb:
    from services.review.checking import Rb  # noqa: PLC0415 - keeps rb --help quick

    file = runtime.config_file()
    return Rb(("--config", str(file)) if file else ())


def _checks(
    path: Path,
    base: tuple[str, Path] | None,
    incidents: Path | None,
    names: tuple[str, ...],
    *,
    strict: bool,
    junit: Path | None,
) -> tuple[Check, ...]:
    from services.review import checking  # noqa: PLC0415 - keeps rb --help quick
    from services.testing.acceptance import find_packs  # noqa: PLC0415 - as above

    rb = _rb()
    usable = base[1] if base and _usable(base[1]) else None
    return (
        checking.validate(rb, path, strict=strict),
        checking.fmt(rb, path),
        checking.test(rb, path, len(find_packs([path])), junit),
        checking.backtest(rb, path, incidents, usable, names),
        _diff(path, base, names),
    )


def _usable(folder: Path) -> bool:
    """Whether a backtest can compare with it: runbooks, and each of them can be read."""
    from runbooks.findings import Severity  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.loader import load_folder  # noqa: PLC0415 - as above
    from services.cli.validate import known_actions  # noqa: PLC0415 - as above

    loaded, findings = load_folder(folder, actions=known_actions())
    return bool(loaded) and not any(one.severity is Severity.ERROR for one in findings)


def _diff(path: Path, base: tuple[str, Path] | None, names: tuple[str, ...]) -> Check:
    from services.cli.validate import known_actions  # noqa: PLC0415 - keeps rb --help quick
    from services.review.base import differences  # noqa: PLC0415 - as above
    from services.review.checking import RISKIER  # noqa: PLC0415 - as above
    from services.review.report import Check, Outcome  # noqa: PLC0415 - as above

    if base is None:
        return Check("diff", "rb diff BASE:FILE FILE", Outcome.SKIPPED, "no base was given")
    found = differences(base[1], path, known_actions())
    held = found.unread or (found.riskier and RISKIER in names)
    summary = f"{found.runbooks} runbooks differ, {found.riskier} changes are riskier"
    summary += f", {found.unread} cannot be compared" if found.unread else ""
    outcome = Outcome.FAILED if held else Outcome.PASSED
    return Check("diff", f"rb diff {base[0]}:FILE FILE", outcome, summary, found.lines)


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise runtime.CommandError(f"the report cannot be written: {error}", 2) from error
