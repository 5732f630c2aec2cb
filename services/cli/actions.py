"""``rb actions``: what a step of a runbook can do."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from executor.actions.base import Action

_NEAR = 50


def actions(
    name: Annotated[str, typer.Argument(help="One action or alias, in full.", show_default=False)] = "",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """List the actions that a step can use, or show one with its parameters and an example.

    Examples:
      rb actions
      rb actions kubectl_patch
      rb actions --json
    """
    from executor.actions import default_actions  # noqa: PLC0415 - keeps rb --help quick

    table = default_actions()
    known = sorted({action.name: action for action in table.values()}.values(), key=lambda action: action.name)
    if name:
        if name not in table:
            raise runtime.CommandError(f"there is no action '{name}'{_hint(name, list(table))}", 2)
        known = [table[name]]
    if as_json:
        runtime.print_json([described(action) for action in known])
    elif name:
        _show(known[0])
    else:
        columns = ("action", "also", "does", "repeatable", "what")
        runtime.print_table(columns, ([*_row(action)] for action in known))


def described(action: Action[Any]) -> dict[str, Any]:
    """One action for machines, its parameters as JSON Schema."""
    return {
        "name": action.name,
        "aliases": list(action.aliases),
        "access": action.access.value,
        "idempotent": action.idempotent,
        "description": _first_line(action),
        "example": action.example,
        "parameters": action.params_model.model_json_schema(),
    }


def _row(action: Action[Any]) -> tuple[str, ...]:
    repeatable = "yes" if action.idempotent else "no"
    return action.name, ", ".join(action.aliases), action.access.value, repeatable, _first_line(action)


def _show(action: Action[Any]) -> None:
    typer.echo(f"{action.name}: {_first_line(action)}")
    if action.aliases:
        typer.echo(f"Also called: {', '.join(action.aliases)}")
    typer.echo(f"Does: {action.access.value}; may be repeated after a crash: {'yes' if action.idempotent else 'no'}\n")
    from executor.actions.spelling import ALIAS  # noqa: PLC0415 - keeps rb --help quick

    schema = action.params_model.model_json_schema()
    required = set(schema.get("required", ()))
    rows = [
        (key, "required" if key in required else "", _kind(of), of.get("description", ""))
        for key, of in schema.get("properties", {}).items()
        if ALIAS not in of
    ]
    runtime.print_table(("parameter", "", "type", "what"), rows, empty="no parameters")
    if action.example:
        typer.echo(f"\n{inspect.cleandoc(action.example)}")


def _kind(schema: dict[str, Any]) -> str:
    if options := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_kind(option) for option in options if option.get("type") != "null"))
    if choices := schema.get("enum"):
        return ", ".join(map(str, choices))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    kind = schema.get("type", "any")
    return ", ".join(kind) if isinstance(kind, list) else str(kind)


def _first_line(action: Action[Any]) -> str:
    return (inspect.getdoc(type(action)) or "").partition("\n")[0]


def _hint(name: str, choices: list[str]) -> str:
    from rapidfuzz import fuzz, process  # noqa: PLC0415 - keeps rb --help quick

    found = process.extractOne(name, choices, scorer=fuzz.ratio, score_cutoff=_NEAR)
    return f"; did you mean '{found[0]}'?" if found else "; 'rb actions' lists them"
