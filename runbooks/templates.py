"""Templates: Jinja2 in a sandbox, strict about names, bounded in time and size.

A value that is nothing but one ``{{ expression }}`` keeps the type of its result (a number stays a number, a text that
looks like a number stays a text). Everything else renders to text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import Template, Undefined, nodes
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.exceptions import TemplateSyntaxError, UndefinedError

from runbooks.filters import FUNCTIONS, MAX_TEXT
from runbooks.findings import did_you_mean
from runbooks.names import expression_names, names_used, uses
from runbooks.quantities import plain, read_quantity
from runbooks.sandbox import ENVIRONMENT, MESSAGES, TemplateError, has_template, parse
from runbooks.secret_refs import (
    SECRET_PARAMETERS,
    SecretNames,
    disarm,
    references_in,
    resolve_references,
    secret_parameters,
)

__all__ = [
    "TemplateError",
    "evaluate",
    "expression_names",
    "names_used",
    "references_in",
    "render",
    "render_message",
    "resolve_references",
]


@lru_cache(maxsize=1024)
def single_expression(text: str) -> str | None:
    """The expression, when the text is nothing but one ``{{ expression }}``; else None."""
    stripped = text.strip()
    if not (stripped.startswith("{{") and stripped.endswith("}}")):
        return None
    body = parse(stripped).body
    if len(body) != 1 or not isinstance(body[0], nodes.Output) or len(body[0].nodes) != 1:
        return None
    return None if isinstance(body[0].nodes[0], nodes.TemplateData) else stripped[2:-2].strip("-+ \t\r\n")


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A template or expression.

    Attributes:
        names: every name that occurs in it, so that nothing else of the context can be looked up; None when it calls
            something that may look for more.
    """

    run: Callable[..., Any]
    names: frozenset[str] | None


def _names_in(tree: nodes.Template) -> frozenset[str] | None:
    called = [ENVIRONMENT.filters.get(node.name) for node in tree.find_all(nodes.Filter)]
    called += [ENVIRONMENT.tests.get(node.name) for node in tree.find_all(nodes.Test)]
    names = frozenset(node.name for node in tree.find_all(nodes.Name))
    called += [FUNCTIONS.get(name) for name in names]
    # Jinja marks so what is given the context, or the environment.
    return None if any(hasattr(one, "jinja_pass_arg") for one in called) else names


@lru_cache(maxsize=1024)
def _expression(expression: str) -> _Compiled:
    tree = parse("{{ " + expression + "\n}}")
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        raise TemplateError("expected one expression")
    return _Compiled(ENVIRONMENT.compile_expression(expression, undefined_to_none=False), _names_in(tree))


@lru_cache(maxsize=1024)
def _template(text: str, *, lenient: bool = False) -> _Compiled:
    tree = parse(text)
    names = _names_in(tree)
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, "_bounded", [], [], None, None, lineno=loop.lineno)
    environment = MESSAGES if lenient else ENVIRONMENT
    template = Template.from_code(environment, environment.compile(tree), environment.make_globals(None))
    return _Compiled(template.generate, names)


def _text(value: str) -> Any:
    quantity = read_quantity(value)
    return disarm(value) if quantity is None else quantity


_SHORT = 100
_known_text = lru_cache(maxsize=4096)(_text)
"""The same names come in every template of a plan, and again in the next plan."""


def _prepare(value: Any) -> Any:
    """Context values as templates see them: quantities calculate, and nothing from outside is a secret reference."""
    kind = type(value)
    if kind is dict:
        return {str(key): _prepare(item) for key, item in value.items()}
    if kind is list:
        return [_prepare(item) for item in value]
    if isinstance(value, str):
        # Quantities are texts that compare by amount: only plain ones are looked up.
        return _known_text(value) if kind is str and len(value) <= _SHORT else _text(value)
    if isinstance(value, Mapping):
        return {str(key): _prepare(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_prepare(item) for item in value]
    return value


def prepare(context: Mapping[str, Any]) -> dict[str, Any]:
    """The names of a template: a copy of the context with quantities, ``secrets``, and parameters that are secrets."""
    names = {**_prepare(context), "secrets": SecretNames()}
    names.pop(SECRET_PARAMETERS, None)
    return {**names, **secret_parameters(names, context)}


class _Names:
    """The names of a template; each is made ready when a template first uses it."""

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = context
        self._ready: dict[str, Any] = {}
        self._whole: dict[str, Any] | None = None

    def of(self, compiled: _Compiled) -> dict[str, Any]:
        """Those that occur in a template."""
        if compiled.names is None or SECRET_PARAMETERS in self._context:
            return self.all()  # beside what the text says, a parameter may stand for a secret
        return {name: self._one(name) for name in compiled.names if name == _SECRETS or name in self._context}

    def all(self) -> dict[str, Any]:
        """Every name, to say what else there is when one is missing."""
        if self._whole is None:
            self._whole = prepare(self._context)
        return self._whole

    def _one(self, name: str) -> Any:
        if name not in self._ready:
            self._ready[name] = SecretNames() if name == _SECRETS else _prepare(self._context[name])
        return self._ready[name]


_SECRETS = "secrets"


def render(value: Any, context: Mapping[str, Any]) -> Any:
    """Render every template in a value.

    Args:
        value: text, mapping, list or anything else that YAML can hold.
        context: plain JSON data by name (``incident``, ``params``, ``steps``, output variables). ``secrets`` is
            added. Texts that look like secret references are disarmed.

    Returns:
        Plain JSON data. A text that is one expression keeps the type of its result.

    Raises:
        TemplateError: a name is unknown or has no value, or the template is wrong.
    """
    return _render(value, _Names(context))


def render_each(values: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Render every value of a mapping and leave its keys as they are; arguments and errors as for ``render``."""
    names = _Names(context)
    return {key: _render(value, names) for key, value in values.items()}


def _render(value: Any, names: _Names) -> Any:
    if isinstance(value, str):
        return _render_text(value, names) if has_template(value) else value
    if isinstance(value, Mapping):
        return {_render(key, names): _render(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_render(item, names) for item in value]
    return value


def _render_text(text: str, names: _Names) -> Any:
    expression = single_expression(text)
    if expression is not None:
        return _guarded(lambda: _evaluate(expression, names), text, names)
    return _guarded(lambda: _joined(_template(text), names), text, names)


def render_message(text: str, context: Mapping[str, Any]) -> str:
    """Render a message for people; a missing name shows as ``?name`` instead of stopping the message.

    Raises:
        TemplateError: the template is wrong in another way.
    """
    names = _Names(context)
    return str(_guarded(lambda: _joined(_template(text, lenient=True), names), text, names))


def evaluate(expression: bool | str, context: Mapping[str, Any]) -> Any:
    """The value of a condition or calculation, with or without ``{{ }}`` around it.

    Returns:
        Plain JSON data.

    Raises:
        TemplateError: a name is unknown or has no value, or the expression is wrong.
    """
    if isinstance(expression, bool):
        return expression
    names = _Names(context)
    bare = single_expression(expression) or expression.strip()
    return _guarded(lambda: _evaluate(bare, names), "{{ " + bare + " }}", names)


def _evaluate(expression: str, names: _Names) -> Any:
    compiled = _expression(expression)
    result = compiled.run(**names.of(compiled))
    if isinstance(result, Undefined):
        raise UndefinedError("the result is undefined")
    result = plain(result)
    if isinstance(result, str) and len(result) > MAX_TEXT:
        raise ValueError(f"a text may have at most {MAX_TEXT} characters")
    return result


def _joined(template: _Compiled, names: _Names) -> str:
    parts: list[str] = []
    size = 0
    for part in template.run(**names.of(template)):
        size += len(part)
        if size > MAX_TEXT:
            raise ValueError(f"a text may have at most {MAX_TEXT} characters")
        parts.append(part)
    return "".join(parts)


def _guarded(work: Callable[[], Any], text: str, names: _Names) -> Any:
    try:
        return work()
    except TemplateError:
        raise
    except UndefinedError as error:
        raise _unknown_name(text, names.all(), str(error)) from error
    except TemplateSyntaxError as error:
        raise TemplateError(error.message or "syntax error", line=error.lineno) from error
    except JinjaError as error:
        raise TemplateError(str(error), code="RB305") from error
    except Exception as error:  # an author's expression may raise anything
        missing = next((f"{'.'.join(path)} has no value: " for path in _paths(text, names.all()) if path), "")
        raise TemplateError(f"{missing}{error}") from error


def _paths(text: str, names: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Names in the text whose value is null."""
    return [use.path for use in uses(text) if _walk(use.path, names)[1] is None]


def _walk(path: tuple[str, ...], names: Mapping[str, Any]) -> tuple[int, Any]:
    """How many parts of the path are known, and the value there."""
    here: Any = names
    for depth, part in enumerate(path):
        if not isinstance(here, Mapping):
            return len(path), here
        if part not in here:
            return depth, here
        here = here[part]
    return len(path), here


def _unknown_name(text: str, names: Mapping[str, Any], message: str) -> TemplateError:
    for use in uses(text):
        known, here = _walk(use.path, {**FUNCTIONS, **names})
        if known < len(use.path) and not use.optional:
            name = ".".join(use.path[: known + 1])
            words = [str(key) for key in here if key not in FUNCTIONS]
            advice = did_you_mean(use.path[known], words)
            return TemplateError(f"{name} is unknown", line=use.line, advice=advice, code="RB302")
    return TemplateError(message, code="RB302")
