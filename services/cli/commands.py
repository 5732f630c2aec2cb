"""Runs one command function through typer, and puts what went wrong into words."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import typer

from services.cli import identity

_EPILOG = "Also known: --config FILE, --no-color, --debug (see rb --help)."


def run_command(name: str, function: Callable[..., Any], arguments: Sequence[str]) -> int:
    """Run a command; gives its exit code.

    Args:
        name: as it was typed, for the usage line: ``approvals list``.
        function: its parameters are its arguments and options, its docstring is its help.
        arguments: what follows the name.
    """
    app = typer.Typer(
        add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["--help", "-h"]}
    )
    app.command(help=help_text(function), epilog=_EPILOG)(_synchronous(function, name))
    try:
        app(list(arguments), prog_name=f"rb {name}")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def help_text(function: Callable[..., Any]) -> str:
    """The docstring, its examples kept line by line."""
    text = inspect.getdoc(function) or ""
    before, marker, examples = text.partition("\nExamples:\n")
    # The lines of a paragraph are ours, not the terminal's.
    before = "\n\n".join(" ".join(paragraph.split()) for paragraph in before.strip().split("\n\n"))
    if not marker:
        return before
    # Typer joins the lines of a paragraph unless it opens with this mark.
    lines = "\n".join(line for line in examples.splitlines() if line.strip())
    return f"{before}\n\n\b\nExamples:\n{lines}"


def complaint(error: Exception) -> tuple[str, int]:
    """What to say of an error, and the exit code."""
    from services.cli.runtime import CommandError  # noqa: PLC0415 - the heavy imports wait until something failed
    from services.config_files import ConfigError  # noqa: PLC0415 - as above
    from services.logs import masker  # noqa: PLC0415 - as above

    if isinstance(error, ConfigError):
        lines = "\n".join(f"  {problem}" for problem in error.problems)
        return masker.text(f"rb: the settings cannot be used:\n{lines}"), 2
    if isinstance(error, CommandError):
        return masker.text(f"rb: {error}"), error.code
    if _is_told(error):
        return masker.text(f"rb: {error}"), 1
    return masker.text(f"rb: unexpected {type(error).__name__}: {error}\n'--debug' shows where it comes from."), 1


def _is_told(error: Exception) -> bool:
    """Errors of the product say in their own words what is wrong."""
    rooms = {"services", "executor", "safety", "matcher", "runbooks", "cypher", "compose"}
    return type(error).__module__.partition(".")[0] in rooms and bool(str(error))


def _synchronous(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function as typer calls it, behind the door; a number that it returns is the exit code."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            result = function(*args, **identity.enter(name, kwargs))
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
        except identity.NotAllowed as refused:
            identity.tell(refused)
            raise
        if isinstance(result, int) and not isinstance(result, bool) and result:
            raise typer.Exit(result)

    return call
