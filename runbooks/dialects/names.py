"""What the names of the other dialects are called in the canonical form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from runbooks.dialects.expressions import ExpressionError, Resolve, attribute, translate
from runbooks.dialects.tree import Node
from runbooks.filters import ALL
from runbooks.findings import did_you_mean

FUNCTIONS: Mapping[str, str] = {
    "len": "length",
    "length": "length",
    "count": "length",
    "size": "length",
    "sum": "sum",
    "min": "min",
    "max": "max",
    "round": "round",
    "abs": "abs",
    "int": "int",
    "float": "float",
    "lower": "lower",
    "upper": "upper",
    "base64": "base64",
    "json": "json",
}
"""Functions of the dialects by the filter that does the same."""

_BODY = re.compile(r"\{\{-?(?P<body>(?:(?!\}\}).)*?)-?\}\}", re.DOTALL)
_DOLLAR = re.compile(r"\$(?P<escaped>\$)?\{(?P<body>[^{}]*)\}")
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
_ENVIRONMENT = re.compile(r"[A-Z][A-Z0-9_]*")
LIVE = frozenset({"deployment", "statefulset", "daemonset", "pod", "node", "metrics"})
"""Names that stand for the world as it is at that moment."""


def identifier(name: str) -> str:
    """A name that templates can use: dashes and the like become underscores."""
    word = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "x"
    return f"_{word}" if word[0].isdigit() else word


def snake(name: str) -> str:
    """``extractDeployment`` as ``extract_deployment``, when there is such a filter."""
    lower = _HUMP.sub(r"_\1", name).lower()
    return lower if lower in ALL else name


@dataclass(slots=True)
class Names:
    """The names of one file.

    Attributes:
        parameters: declared ones.
        steps: ids by the name that the file uses.
        variables: set by steps.
        supplied: undeclared names that somebody has to supply, with where they are used first.
        state_used: saved values that are asked for.
        live: kinds that a template reads from the live object.
    """

    parameters: set[str] = field(default_factory=set)
    steps: dict[str, str] = field(default_factory=dict)
    variables: set[str] = field(default_factory=set)
    supplied: dict[str, Node] = field(default_factory=dict)
    state_used: dict[str, Node] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)

    def step(self, name: str) -> str:
        """The id of a step."""
        return self.steps.get(name, identifier(name))

    def step_path(self, path: Sequence[str]) -> str:
        """``step.NAME.failed`` and ``steps.NAME.output...``."""
        if len(path) < 2:  # noqa: PLR2004 - the group and the step
            raise ExpressionError("which step is meant? write steps.NAME.output")
        if path[1] not in self.steps and identifier(path[1]) not in self.steps.values():
            raise ExpressionError(f"there is no step {path[1]}", advice=did_you_mean(path[1], self.steps))
        here = f"steps.{self.step(path[1])}"
        if len(path) == 3 and path[2] in _STATUSES:  # noqa: PLR2004 - the question is the third part
            return f"({here}.status == '{_STATUSES[path[2]]}')"
        return attribute((here, *path[2:]))

    def supply(self, name: str, node: Node) -> str:
        """A value that the file uses and nobody declares."""
        if name not in self.parameters:
            self.supplied.setdefault(name, node)
        return f"params.{name}"


_STATUSES: Mapping[str, str] = {
    "failed": "failed",
    "succeeded": "succeeded",
    "success": "succeeded",
    "skipped": "skipped",
}


def bare(node: Node, text: str, resolve: Resolve) -> str:
    """A bare condition; a mistake is reported at its place and the text left as it is."""
    try:
        return translate(text, resolve, FUNCTIONS, snake)
    except ExpressionError as error:
        node.wrong("RB301", f"{node.name}: {error}", advice=error.advice)
        return text


def in_braces(_node: Node, text: str, resolve: Resolve) -> str:
    """A text with ``{{ }}``. What is no expression of the dialect may be one of Jinja, and is checked as such later."""

    def one(match: re.Match[str]) -> str:
        try:
            return "{{ " + translate(match["body"], resolve, FUNCTIONS, snake) + " }}"
        except ExpressionError:
            return match[0]

    return _BODY.sub(one, text)


def in_dollars(node: Node, text: str, resolve: Resolve) -> str:
    """A text with ``${}``; ``$${`` is a dollar sign and a brace."""

    def one(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${" + match["body"] + "}"
        try:
            return "{{ " + translate(match["body"], resolve, FUNCTIONS, snake) + " }}"
        except ExpressionError as error:
            node.wrong("RB301", f"{node.name}: {match[0]}: {error}", advice=error.advice)
            return match[0]

    return _DOLLAR.sub(one, text)


def is_environment(name: str) -> bool:
    """Whether a bare name looks like a variable of the environment."""
    return _ENVIRONMENT.fullmatch(name) is not None


def unknown(name: str, known: Iterable[str]) -> ExpressionError:
    """The error for a name that nobody knows."""
    return ExpressionError(f"{name} is unknown", advice=did_you_mean(name, known))


Rewrite = Callable[[Node, str], str]
