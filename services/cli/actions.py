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
    from services.plugins import all_actions  # noqa: PLC0415 - keeps rb --help quick

    table = all_actions()
    known = sorted({action.name: action for action in table.values()}.values(), key=lambda action: action.name)
    if name:
        if name not in table:
            raise runtime.CommandError(f"there is no action '{name}'{_hint(name, list(table))}", 2)
        known = [table[name]]
    if as_json:
        from executor.actions.declared import described  # noqa: PLC0415 - keeps rb --help quick

        runtime.print_json([described(action) for action in known])
    elif name:
        _show(known[0])
    else:
        columns = ("action", "also", "does", "repeatable", "simulated", "undone", "what")
        runtime.print_table(columns, ([*_row(action)] for action in known))


def _row(action: Action[Any]) -> tuple[str, ...]:
    from executor.actions.declared import simulated, summary, undone  # noqa: PLC0415 - keeps rb --help quick

    repeatable = "yes" if action.idempotent else "no"
    told = (simulated(action), undone(action), summary(action))
    return action.name, ", ".join(action.aliases), action.access.value, repeatable, *told


def _show(action: Action[Any]) -> None:
    from executor.actions.declared import parameters, simulated, summary, targets, undone  # noqa: PLC0415 - as above

    typer.echo(f"{action.name}: {summary(action)}")
    if action.aliases:
        typer.echo(f"Also called: {', '.join(action.aliases)}")
    typer.echo(f"Does: {action.access.value}; may be repeated after a crash: {'yes' if action.idempotent else 'no'}")
    typer.echo(f"Simulated: {simulated(action)}\nUndone: {undone(action)}\nTouches: {targets(action)}\n")
    rows = [
        (key, "required" if needed else "", _kind(of), of.get("description", ""))
        for key, needed, of in parameters(action)
    ]
    runtime.print_table(("parameter", "", "type", "what"), rows, empty="no parameters")
    if action.example:
        typer.echo(f"\n{inspect.cleandoc(action.example)}")
    typer.echo(f"\nJSON Schema of its parameters: rb actions {action.name} --json")


def _kind(schema: dict[str, Any]) -> str:
    if options := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_kind(option) for option in options if option.get("type") != "null"))
    if choices := schema.get("enum"):
        return ", ".join(map(str, choices))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    kind = schema.get("type", "any")
    return ", ".join(kind) if isinstance(kind, list) else str(kind)


def _hint(name: str, choices: list[str]) -> str:
    from rapidfuzz import fuzz, process  # noqa: PLC0415 - keeps rb --help quick

    found = process.extractOne(name, choices, scorer=fuzz.ratio, score_cutoff=_NEAR)
    return f"; did you mean '{found[0]}'?" if found else "; 'rb actions' lists them"
