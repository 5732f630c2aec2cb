"""What an action declares, for people and for machines: ``rb actions`` and the documentation are made from it."""

from __future__ import annotations

import inspect
from typing import Any

from executor.actions.base import Action, ActionTable
from executor.actions.spelling import ALIAS
from executor.model import Access

_WRITES = (Access.WRITE, Access.NOTIFY)


def summary(action: Action[Any]) -> str:
    """What it does, in a line."""
    return (inspect.getdoc(type(action)) or "").partition("\n")[0]


def simulated(action: Action[Any]) -> str:
    """How a dry run treats it."""
    if action.simulated:
        return action.simulated
    if type(action).dry_run is not Action.dry_run:
        return "the server is asked whether it would accept it (dry run)"
    return "it is shown and not done" if action.access in _WRITES else "it only reads, and is done while planning"


def undone(action: Action[Any]) -> str:
    """How it is undone."""
    if action.undone:
        return action.undone
    if action.access is Access.NOTIFY:
        return "not at all: what was said was said"
    if action.access is not Access.WRITE:
        return "nothing to undo: it only reads"
    if type(action).undo is not Action.undo:
        return "what was there before is saved with the intent, and put back"
    return "not at all: a human is asked before"


def targets(action: Action[Any]) -> str:
    """What it touches, for the blast radius."""
    if action.targets:
        return action.targets
    return "the objects that it changes" if action.access is Access.WRITE else "nothing"


def described(action: Action[Any]) -> dict[str, Any]:
    """One action for machines, its parameters as JSON Schema."""
    return {
        "name": action.name,
        "aliases": list(action.aliases),
        "access": action.access.value,
        "idempotent": action.idempotent,
        "description": summary(action),
        "simulated": simulated(action),
        "undone": undone(action),
        "targets": targets(action),
        "example": action.example,
        "parameters": action.params_model.model_json_schema(),
    }


def parameters(action: Action[Any]) -> list[tuple[str, bool, dict[str, Any]]]:
    """Its parameters as name, whether it is needed, and schema; other spellings of a name are left out."""
    schema = action.params_model.model_json_schema()
    own = {name: of for name, of in schema.get("properties", {}).items() if ALIAS not in of}
    needed = set(schema.get("required", ()))
    needed |= {way["anyOf"][0]["required"][0] for way in schema.get("allOf", ()) if way.get("anyOf")}
    if ways := schema.get("anyOf"):
        needed.add(ways[0]["required"][0])
    return [(name, name in needed, of) for name, of in own.items()]


def action_table_markdown(table: ActionTable) -> str:
    """The documentation of the actions, made from their declarations."""
    own = {name: action for name, action in table.items() if name == action.name}
    return "\n".join([_overview(own), *(_chapter(action) for action in own.values())])


def _overview(actions: ActionTable) -> str:
    rows = [
        f"| [`{name}`](#{name}) | {action.access} | {'yes' if action.idempotent else 'no'} | {summary(action)} |"
        for name, action in actions.items()
    ]
    head = ["| action | access | may be repeated | what it does |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def _chapter(action: Action[Any]) -> str:
    lines = [f"## {action.name}", ""]
    if action.aliases:
        lines += [f"Also: {', '.join(f'`{alias}`' for alias in action.aliases)}.", ""]
    lines += [" ".join((type(action).__doc__ or "").split()), ""]
    lines += [f"Simulated: {simulated(action)}. Undone: {undone(action)}. Touches: {targets(action)}.", ""]
    lines += ["| parameter | needed | meaning |", "|---|---|---|"]
    for name, needed, schema in parameters(action):
        meaning = schema.get("description", "").replace("|", "\\|")
        default = schema.get("default")
        word = "yes" if needed else "no" if default is None else f"no ({_shown(default)})"
        lines.append(f"| `{name}` | {word} | {meaning} |")
    return "\n".join([*lines, "", "```yaml", action.example.rstrip(), "```", ""])


def _shown(default: Any) -> str:
    return f"`{str(default).lower() if isinstance(default, bool) else default or 'none'}`"
