"""``rb new``: a runbook to begin with."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from services.cli.runtime import CommandError, whoami

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Kind(StrEnum):
    """The types of runbooks; see ``runbooks.model.RunbookType``."""

    INCIDENT = "incident"
    MAINTENANCE = "maintenance"
    MONITORING = "monitoring"
    RECOVERY = "recovery"


def new(  # noqa: PLR0917 - typer makes options of them; people name them
    kind: Annotated[Kind, typer.Argument(help="What the runbook is for.", show_default=False)],
    name: Annotated[str, typer.Argument(help="Its id, which is also the name of the file.", show_default=False)],
    reason: Annotated[
        list[str] | None, typer.Option(help="Reason of the root cause; several times for several.")
    ] = None,
    title: Annotated[str, typer.Option(help="One line for people; left out, made from the id.")] = "",
    author: Annotated[str, typer.Option(help="Who answers for it; left out, you.")] = "",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File or folder; - for standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Begin a runbook from a template. It is complete: it passes ``rb validate`` as it is.

    Examples:
        rb new incident restart-checkout --reason CrashLoopBackOff

        rb new maintenance drain-for-upgrade --out my-runbooks/
    """
    if _ID.fullmatch(name) is None:
        raise CommandError(f"{name!r} is no id: use letters, digits, . _ and -, beginning with a letter or digit", 2)
    template = files("runbooks").joinpath("templates", f"{kind}.yaml").read_text(encoding="utf-8")
    values = {
        "ID": name,
        "NAME": json.dumps(title or name.replace("-", " ").capitalize(), ensure_ascii=False),
        "AUTHOR": json.dumps(author or whoami(), ensure_ascii=False),
        "REASON": ", ".join(json.dumps(one, ensure_ascii=False) for one in reason or ["CrashLoopBackOff"]),
    }
    text = re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], template)
    if str(out) == "-":
        typer.echo(text, nl=False)
        return
    path = out / f"{name}.yaml" if out is not None and (out.is_dir() or not out.suffix) else out or Path(f"{name}.yaml")
    if path.exists() and not force:
        raise CommandError(f"{path} is there already; --force replaces it", 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {path}; check it with: rb validate {path}", err=True)
