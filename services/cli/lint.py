"""``rb lint``: check runbooks, and explain what a check means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from services.cli.runtime import CommandError, console, print_json
from services.cli.validate import Format, validate


def lint(  # noqa: PLR0917 - typer makes options of them; people name them
    paths: Annotated[list[Path] | None, typer.Argument(help="Runbook files, or folders of them.")] = None,
    explain: Annotated[list[str] | None, typer.Option(help="Say what the rule of this code means.")] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List every rule.")] = False,
    format: Annotated[Format, typer.Option(help="As of rb validate.")] = Format.TEXT,  # noqa: A002 - the option's name
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check runbooks as ``rb validate`` does, or explain a rule.

    Examples:
        rb lint my-runbooks/

        rb lint --explain RB402

        rb lint --rules
    """
    if explain or rules:
        _tell(explain or [], everything=rules, json=json)
        return
    if not paths:
        raise CommandError("say which files to check, or --explain CODE, or --rules", 2)
    validate(paths, Format.JSON if json else format, strict)


def _tell(codes: list[str], *, everything: bool, json: bool) -> None:
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick
    from runbooks.rules import RULES  # noqa: PLC0415 - as above

    wanted = list(RULES) if everything else [code.upper() for code in codes]
    if unknown := [code for code in wanted if code not in RULES]:
        advice = did_you_mean(unknown[0], RULES) or "rb lint --rules lists them"
        raise CommandError(f"there is no rule {unknown[0]}; {advice}", 2)
    found = [RULES[code] for code in wanted]
    if json:
        names = ("code", "title", "why", "advice")
        print_json([{"severity": str(one.severity), **{name: getattr(one, name) for name in names}} for one in found])
        return
    out = console()
    for rule in found:
        colour = "red" if rule.severity == "error" else "yellow"
        out.print(f"[{colour}]{rule.severity}[/] [bold]{rule.code}[/]: {rule.title}")
        if not everything:
            out.print(f"\n  Why:  {rule.why}\n  Do:   {rule.advice}\n  More: docs/rules.md")
