"""Names of runbooks/v1: bare parameters, ``context``, ``metrics``, live objects, saved state."""

from __future__ import annotations

from runbooks.dialects.expressions import Resolve, attribute
from runbooks.dialects.names import LIVE, Names, bare, in_braces, unknown
from runbooks.dialects.tree import Made, Node

NOTE_CONTEXT = "The file reads it from the context of the call: give it in a mapping, in the settings or by --param."

_CONTEXT = {
    "cluster": "incident.cluster",
    "tenant": "incident.tenant",
    "severity": "incident.severity",
    "namespace": "incident.resource.namespace",
    "alertName": "incident.symptom.reason",
}
_ROOTS = ("params", "incident", "secrets", "execution", "target", "error_message", "rollback", "output", "item", "each")


def resolver(names: Names, node: Node, *, live: bool = False) -> Resolve:
    """What the names in this part of the file are called.

    Args:
        names: of the file.
        node: where they are used.
        live: the text is a condition that an action looks at again and again: what it sees of the world stays, the
            rest is put in before.
    """

    def resolve(path: tuple[str, ...]) -> str:
        if path[0] in LIVE:
            if not live and path[0] != "metrics":
                names.live.add(path[0])
            return attribute(path)
        known = _known(names, node, path)
        return "{{ " + known + " | json }}" if live else known

    return resolve


def _known(names: Names, node: Node, path: tuple[str, ...]) -> str:
    root, rest = path[0], path[1:]
    if root in {"step", "steps"}:
        return names.step_path(path)
    if root in names.parameters:
        return attribute(("params", *path))
    if rest and (renamed := _group(names, node, root, rest)):
        return renamed
    if root in names.variables or root in _ROOTS:
        return attribute(path)
    raise unknown(".".join(path), (*names.parameters, *names.variables, *LIVE, *_ROOTS, "context", "state", "steps"))


def _group(names: Names, node: Node, root: str, rest: tuple[str, ...]) -> str:
    """A name in one of the dialect's groups; empty when it is none of them."""
    if root == "context":
        short = _CONTEXT.get(rest[0])
        return attribute((short, *rest[1:])) if short else names.supply(rest[0], node)
    if root in {"labels", "alert"}:
        return attribute(("incident.labels", *(rest[1:] if root == "alert" and rest[0] == "labels" else rest)))
    if root == "state":
        names.state_used.setdefault(rest[0], node)
        return attribute((root, *rest))
    return attribute(("params", *rest)) if root == "parameters" else ""


def expression(node: Node, names: Names, *, live: bool = False) -> str:
    """A condition of the file, with or without braces around it."""
    text = str(node.value).strip()
    if text.startswith("{{") and text.endswith("}}") and text.count("{{") == 1:
        text = text[2:-2].strip()
    return bare(node, text, resolver(names, node, live=live))


def condition(node: Node, names: Names) -> Made:
    """A condition as a part of the canonical form: an expression, or true or false."""
    return node.made(expression(node, names) if isinstance(node.value, str) else node.value)


def rewritten(node: Node, names: Names) -> Made:
    """A part of the file with its templates translated."""
    return node.copy(lambda place, text: in_braces(place, text, resolver(names, place)))
