"""``rb graph``: a runbook as a picture."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Picture(StrEnum):
    """How the picture is written."""

    MERMAID = "mermaid"
    SVG = "svg"
    DOT = "dot"


def graph(
    file: Annotated[Path, typer.Argument(help="A runbook file.", show_default=False)],
    format: Annotated[  # noqa: A002 - the option's name
        Picture | None,
        typer.Option(help="mermaid (for Markdown), svg, or dot; left out, by the name of --output, else mermaid."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    forward: Annotated[bool, typer.Option("--forward", help="Only the way forward: no failures, no rollback.")] = False,
) -> None:
    """Draw a runbook: its steps, what each waits for, what follows a failure, and the way back.

    Examples:
        rb graph runbooks/catalog/oomkilled-increase-memory/runbook.yaml

        rb graph my-runbook.yaml -o my-runbook.svg
    """
    from runbooks.drawing import drawing_of, to_dot, to_mermaid, without_failures  # noqa: PLC0415 - keeps --help quick
    from runbooks.drawing_svg import to_svg  # noqa: PLC0415 - as above
    from runbooks.loader import load_file  # noqa: PLC0415 - as above
    from services.cli.validate import known_actions  # noqa: PLC0415 - as above

    drawing = drawing_of(load_file(file, actions=known_actions()).runbook)
    if forward:
        drawing = without_failures(drawing)
    kind = format or _by_name(output)
    text = {Picture.MERMAID: to_mermaid, Picture.SVG: to_svg, Picture.DOT: to_dot}[kind](drawing)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        typer.echo(f"wrote {output}", err=True)


def _by_name(output: Path | None) -> Picture:
    return {".svg": Picture.SVG, ".dot": Picture.DOT, ".gv": Picture.DOT}.get(
        output.suffix if output else "", Picture.MERMAID
    )
