"""``rb diff``: what a changed runbook means for production."""

from __future__ import annotations

import subprocess
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.runtime import CommandError, console, print_json

if TYPE_CHECKING:
    from runbooks.model import Runbook


class FailOn(StrEnum):
    """When a difference makes the command end with 1."""

    NEVER = "never"
    RISKIER = "riskier"
    ANY = "any"


_COLOURS = {"riskier": "red", "other": "yellow", "safer": "green"}
_GIT_SECONDS = 30


def diff(
    old: Annotated[
        str, typer.Argument(help="A file, or REVISION:PATH of the Git repository here.", show_default=False)
    ],
    new: Annotated[str, typer.Argument(help="The same, of the new version.", show_default=False)],
    fail_on: Annotated[FailOn, typer.Option(help="End with 1 when there is such a difference.")] = FailOn.NEVER,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say in words what a new version of a runbook changes for production, the riskiest first.

    Examples:
        rb diff HEAD:runbooks/oom.yaml runbooks/oom.yaml

        rb diff main:runbooks/oom.yaml runbooks/oom.yaml --fail-on riskier
    """
    from runbooks.comparing import as_data, changes  # noqa: PLC0415 - keeps rb --help quick

    found = changes(_read(old), _read(new))
    if json:
        print_json({"old": old, "new": new, "changes": [as_data(one) for one in found]})
    else:
        from rich.text import Text  # noqa: PLC0415 - keeps rb --help quick

        out = console()
        for one in found:
            word = one.risk.name.lower()
            line = Text(f"{word:8}", style=_COLOURS[word])
            out.print(line.append(f" {one.text}", style="default").append(f"  ({one.path})", style="dim"))
        if not found:
            out.print("nothing changes for production")
    risky = any(one.risk.name == "RISKIER" for one in found)
    failed = risky if fail_on is FailOn.RISKIER else bool(found) and fail_on is FailOn.ANY
    raise typer.Exit(1 if failed else 0)


def _read(place: str) -> Runbook:
    from runbooks.loader import load_file, load_text  # noqa: PLC0415 - keeps rb --help quick
    from services.cli.validate import known_actions  # noqa: PLC0415 - as above

    path = Path(place)
    if path.exists() or ":" not in place:
        return load_file(path, actions=known_actions()).runbook
    revision, _, name = place.partition(":")
    return load_text(_from_git(revision, name), Path(name), actions=known_actions()).runbook


def _from_git(revision: str, name: str) -> bytes:
    """A file as it was at a revision. Neither part can become an option of git."""
    command = ["git", "show", "--end-of-options", f"{revision}:./{name}"]
    try:
        shown = subprocess.run(command, capture_output=True, timeout=_GIT_SECONDS, check=False)  # noqa: S603 - a list
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"git cannot be asked for {revision}:{name}: {error}", 2) from error
    if shown.returncode:
        raise CommandError(f"git has no {revision}:{name}: {shown.stderr.decode(errors='replace').strip()}", 2)
    return shown.stdout
