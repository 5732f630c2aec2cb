"""``rb fmt``: lay runbooks out in one way."""

from __future__ import annotations

import sys
from difflib import unified_diff
from pathlib import Path
from typing import Annotated

import typer


def fmt(
    paths: Annotated[
        list[Path], typer.Argument(help="Runbook files, or folders of them; - for standard input.", show_default=False)
    ],
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 when something would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Change nothing; show what would change.")] = False,
) -> None:
    """Lay out runbooks: keys in the order of the language, even indentation. Comments are kept.

    What a runbook says never changes: a file that could not be laid out without that is left alone.

    Exit code 0: done, or nothing to do; 1: --check or --diff found something, or a file could not be laid out;
    2: wrong use.

    Examples:
        rb fmt runbooks/

        rb fmt --check --diff runbooks/
    """
    from runbooks.findings import RunbookError  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.formatting import formatted  # noqa: PLC0415 - as above

    if paths == [Path("-")]:
        try:
            sys.stdout.write(formatted(sys.stdin.read()))
        except RunbookError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from error
        return
    changed, failed = 0, 0
    for path in _files(paths):
        try:
            before = path.read_text(encoding="utf-8")
            after = formatted(before)
        except RunbookError as error:
            failed += 1
            typer.echo("\n".join(str(one.at(path)) for one in error.findings), err=True)
            continue
        except (OSError, UnicodeDecodeError) as error:
            failed += 1
            typer.echo(f"rb fmt: {path} cannot be read: {error}", err=True)
            continue
        if before == after:
            continue
        changed += 1
        if diff:
            lines = unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), lineterm="")
            typer.echo("\n".join(lines))
        if not (check or diff):
            path.write_text(after, encoding="utf-8")
        typer.echo(f"{'would lay out' if check or diff else 'laid out'} {path}", err=True)
    raise typer.Exit(1 if failed or (changed and (check or diff)) else 0)


def _files(paths: list[Path]) -> list[Path]:
    from runbooks.loader import runbook_files, stands_beside  # noqa: PLC0415 - keeps rb --help quick

    missing = [path for path in paths if not path.exists()]
    files = list(runbook_files(path for path in paths if path.exists()))
    for path in missing:
        typer.echo(f"rb fmt: {path} does not exist", err=True)
    if not missing and not files:
        typer.echo("rb fmt: no .yaml or .yml file under these paths", err=True)
    if missing or not files:
        raise typer.Exit(2)
    return [file for file in files if file in paths or not stands_beside(file)]
