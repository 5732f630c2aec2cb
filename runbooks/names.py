"""Which names a template uses, found without rendering it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import nodes

from runbooks.filters import FUNCTIONS
from runbooks.sandbox import has_template, parse

_CACHED = 512
_GROUPS = frozenset({"steps", "params", "secrets", "state", "execution"})
_OPTIONAL_FILTERS = frozenset({"default", "d", "required"})
_OPTIONAL_TESTS = frozenset({"defined", "undefined"})


@dataclass(frozen=True, slots=True)
class Use:
    """One place where a template uses a name.

    Attributes:
        path: the name and its attributes as far as they are written out: ``("steps", "x", "output")``.
        line: of the template, from 1.
        optional: the template copes with its absence (``default``, ``is defined``).
        filters: that the value passes through, innermost first.
        called: it is called as a function.
    """

    path: tuple[str, ...]
    line: int
    optional: bool = False
    filters: tuple[str, ...] = ()
    called: bool = False


@dataclass(frozen=True, slots=True)
class Analysis:
    """What a template does, without rendering it.

    Attributes:
        uses: every use of a name from outside.
        calls: name and line of every function that is called by its name.
        filters: names of the filters and functions that are applied.
        arithmetic: whether something is added or multiplied.
    """

    uses: tuple[Use, ...]
    calls: tuple[tuple[str, int], ...]
    filters: frozenset[str]
    arithmetic: bool


_NOTHING = Analysis((), (), frozenset(), arithmetic=False)


def analyse(text: str, *, expression: bool = False) -> Analysis:
    """Look into a template.

    Args:
        text: a template, or a bare expression.
        expression: the text is an expression even when there are no braces around it.

    Raises:
        TemplateError: the template is wrong.
    """
    if not has_template(text):
        if not expression:
            return _NOTHING
        text = "{{ " + text + "\n}}"
    # The same few templates occur in every runbook; long texts occur once and would only fill the memory.
    return _analyse_cached(text) if len(text) <= _CACHED else _analyse(text)


def _analyse(text: str) -> Analysis:
    tree = parse(text)
    called = [call for call in tree.find_all(nodes.Call) if isinstance(call.node, nodes.Name)]
    calls = tuple((call.node.name, call.lineno) for call in called if isinstance(call.node, nodes.Name))
    filters = frozenset(node.name for node in tree.find_all(nodes.Filter)).union(name for name, _ in calls)
    arithmetic = any(not _joins_lists(node) for node in tree.find_all((nodes.Mul, nodes.Add)))
    return Analysis(_uses_in(tree), calls, filters, arithmetic)


def _joins_lists(node: nodes.BinExpr) -> bool:
    """A list with something added is longer, and nothing that a ceiling could end."""
    return isinstance(node, nodes.Add) and isinstance(node.right, nodes.List)


_analyse_cached = lru_cache(maxsize=1024)(_analyse)


def uses(text: str, *, expression: bool = False) -> tuple[Use, ...]:
    """Every use of a name from outside in a template; arguments and errors as for ``analyse``."""
    return analyse(text, expression=expression).uses


def _uses_in(tree: nodes.Template) -> tuple[Use, ...]:
    local = {name.name for loop in tree.find_all(nodes.For) for name in loop.target.find_all(nodes.Name)}
    local |= {loop.target.name for loop in tree.find_all(nodes.For) if isinstance(loop.target, nodes.Name)}
    local.add("loop")
    return tuple(use for use in _visit(tree, optional=False, filters=()) if use.path[0] not in local)


def _visit(node: nodes.Node, *, optional: bool, filters: tuple[str, ...]) -> Iterator[Use]:
    path = _path(node)
    if path:
        yield Use(path, node.lineno, optional, filters)
        return
    if isinstance(node, nodes.Filter) and node.node is not None:
        copes = optional or node.name in _OPTIONAL_FILTERS
        yield from _visit(node.node, optional=copes, filters=(*filters, node.name))
        for argument in (*node.args, *(keyword.value for keyword in node.kwargs)):
            yield from _visit(argument, optional=optional, filters=())
        return
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name in FUNCTIONS:
        name = node.node.name
        for argument in (*node.args, *(keyword.value for keyword in node.kwargs)):
            yield from _visit(argument, optional=optional or name in _OPTIONAL_FILTERS, filters=(*filters, name))
        return
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
        yield Use((node.node.name,), node.lineno, called=True)
    copes = optional or (isinstance(node, nodes.Test) and node.name in _OPTIONAL_TESTS)
    for child in node.iter_child_nodes():
        if not (isinstance(node, nodes.Call) and child is node.node and isinstance(child, nodes.Name)):
            yield from _visit(child, optional=copes, filters=filters)


def _path(node: nodes.Node) -> tuple[str, ...]:
    if isinstance(node, nodes.Name):
        return (node.name,) if node.ctx == "load" else ()
    if isinstance(node, nodes.Getattr):
        parent = _path(node.node)
        return (*parent, node.attr) if parent else ()
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        parent = _path(node.node)
        return (*parent, node.arg.value) if parent else ()
    return ()


def names_used(value: Any) -> frozenset[str]:
    """Names that the templates in a value use.

    Returns:
        ``steps.ID``, ``params.NAME``, ``secrets.NAME``, ``state.NAME`` and ``execution.NAME`` for these, the first part
        alone for everything else (``incident``, ``current_memory``).

    Raises:
        TemplateError: a template is wrong.
    """
    return frozenset(_names(value))


def expression_names(expression: bool | str) -> frozenset[str]:
    """The same for a condition, with or without ``{{ }}`` around it."""
    if isinstance(expression, bool):
        return frozenset()
    return frozenset(_short(use.path) for use in uses(expression, expression=True))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from (_short(use.path) for use in uses(value))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _names(key)
            yield from _names(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _names(item)


def _short(path: tuple[str, ...]) -> str:
    return ".".join(path[:2]) if path[0] in _GROUPS else path[0]
