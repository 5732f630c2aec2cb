"""``rb validate`` and ``rb schema``: check runbooks without any server, and describe them to editors."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.terminal import escaped_json

if TYPE_CHECKING:
    from runbooks.findings import Finding


class Format(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


def validate(
    paths: Annotated[list[Path], typer.Argument(help="Runbook files, or folders of them.", show_default=False)],
    format: Annotated[  # noqa: A002 - the option's name
        Format, typer.Option(help="text, json, github (annotations), or sarif (code scanning).")
    ] = Format.TEXT,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
) -> None:
    """Check runbooks: every problem with file, line, column, code and advice. Needs no server.

    Exit code 0: all can be used; 1: at least one cannot; 2: a path does not exist or holds no runbook.

    Examples:
        rb validate runbooks/catalog

        rb validate --strict --format github my-runbooks/
    """
    from runbooks.findings import Severity  # noqa: PLC0415  # keeps `rb --help` quick
    from runbooks.loader import load_folder, runbook_files, stands_beside  # noqa: PLC0415  # keeps `rb --help` quick
    from services.cli.signing import unreviewed  # noqa: PLC0415  # keeps `rb --help` quick

    missing = [path for path in paths if not path.exists()]
    files = list(runbook_files(path for path in paths if path.exists()))
    for path in missing:
        print(f"rb validate: {path} does not exist", file=sys.stderr)
    if not missing and not files:
        print("rb validate: no .yaml or .yml file under these paths", file=sys.stderr)
    if missing or not files:
        raise typer.Exit(2)
    _, findings = load_folder(*paths, actions=known_actions())
    failing = [finding for finding in findings if strict or finding.severity is Severity.ERROR]
    refused = {finding.path for finding in findings if finding.severity is Severity.ERROR}
    count = sum(file in paths or not stands_beside(file) for file in files)
    _WRITERS[format](findings, count - len(refused), count)
    for why in unreviewed(paths):
        print(f"rb validate: {why}", file=sys.stderr)
    raise typer.Exit(1 if failing else 0)


def known_actions() -> Mapping[str, Mapping[str, Any]]:
    """JSON Schema of each action's parameters by name and alias, as the runbook checks take it."""
    from executor.actions import action_schemas  # noqa: PLC0415  # keeps `rb --help` quick
    from services.plugins import all_actions  # noqa: PLC0415  # keeps `rb --help` quick

    return action_schemas(all_actions())


def runbook_schema() -> None:
    """Print the JSON Schema of runbook files, for editors.

    Examples:
        rb schema > runbook.schema.json
    """
    from runbooks.schema import runbook_schema as made  # noqa: PLC0415  # keeps `rb --help` quick

    print(json.dumps(made(), indent=2, ensure_ascii=False))


def _text(findings: Sequence[Finding], usable: int, files: int) -> None:
    from rich.console import Console  # noqa: PLC0415  # keeps `rb --help` quick
    from rich.text import Text  # noqa: PLC0415  # keeps `rb --help` quick

    console = Console(soft_wrap=True, highlight=False)
    for finding in findings:
        line = Text(f"{finding.path}:{finding.line}:{finding.column}: ")
        line.append(f"{finding.severity} {finding.code}", style="red" if finding.severity == "error" else "yellow")
        line.append(f" {finding.message}")
        if finding.advice:
            line.append(f"\n    {finding.advice}", style="dim")
        console.print(line)
    errors = sum(finding.severity == "error" for finding in findings)
    summary = f"{usable} of {files} runbooks can be used, {errors} errors, {len(findings) - errors} warnings"
    console.print(summary, style="red" if errors else "green")


def _json(findings: Sequence[Finding], usable: int, files: int) -> None:
    rows = [{**asdict(finding), "path": str(finding.path)} for finding in findings]
    print(escaped_json(json.dumps({"files": files, "usable": usable, "findings": rows}, indent=2, ensure_ascii=False)))


def _github(findings: Sequence[Finding], _usable: int, _files: int) -> None:
    for finding in findings:
        place = f"file={_property(str(finding.path))},line={finding.line},col={finding.column},title={finding.code}"
        text = finding.message + (f" ({finding.advice})" if finding.advice else "")
        print(f"::{finding.severity} {place}::{_data(text)}")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _sarif(findings: Sequence[Finding], _usable: int, _files: int) -> None:
    from services.cli.sarif import sarif  # noqa: PLC0415  # keeps `rb --help` quick

    print(escaped_json(json.dumps(sarif(findings), indent=2, ensure_ascii=False)))


_WRITERS = {Format.TEXT: _text, Format.JSON: _json, Format.GITHUB: _github, Format.SARIF: _sarif}
