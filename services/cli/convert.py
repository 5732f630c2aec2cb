"""``rb convert``: a runbook of another dialect in the canonical form."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def convert(
    file: Annotated[Path, typer.Argument(help="A runbook of any dialect, YAML or JSON.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write here instead of to the terminal; never overwrites.")
    ] = None,
) -> None:
    """Write a runbook in the canonical form. It means the same, or nothing is written.

    Comments come along. What the original left open is decided, and said in a comment. What the canonical form
    cannot say is told on the error output, and the exit code is 1.

    Exit code 0: everything was carried over; 1: not everything, or it is no runbook that can be used; 2: wrong use.

    Examples:
        rb convert old/high-memory.yaml -o runbooks/high-memory.yaml
    """
    from runbooks.convert import converted  # noqa: PLC0415 - keeps `rb --help` quick
    from runbooks.findings import RunbookError  # noqa: PLC0415 - as above

    if output is not None and output.exists():
        print(f"rb convert: {output} exists already", file=sys.stderr)
        raise typer.Exit(2)
    try:
        made = converted(file.read_text(encoding="utf-8"), file)
    except (OSError, UnicodeDecodeError) as error:
        print(f"rb convert: {file} cannot be read: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    except RunbookError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from error
    if output is None:
        print(made.text, end="")
    else:
        output.write_text(made.text, encoding="utf-8")
    for decision in made.decided:
        print(f"decided: {decision}", file=sys.stderr)
    for lost in made.lost:
        print(f"not carried over: {lost}", file=sys.stderr)
    print(f"{file}: {made.dialect}, {'not everything' if made.lost else 'everything'} carried over", file=sys.stderr)
    raise typer.Exit(1 if made.lost else 0)
