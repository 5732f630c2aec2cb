"""The sandbox that templates run in: Jinja2 with an allow-list of methods, filters and statements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from jinja2 import StrictUndefined, Undefined, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from runbooks.filters import ALL, FUNCTIONS, MAX_TEXT, bounded
from runbooks.findings import did_you_mean
from runbooks.quantities import Quantity, plain
from runbooks.secret_refs import SecretNames, field_reference, to_json

MAX_TEMPLATE = 256 * 1024
_MAX_POWER = 64
_MAX_BITS = 4096
_MAX_LOOPS = 2
_MAX_LEVELS = 100
_SHOWN = 80
_METHODS: Mapping[type, frozenset[str]] = {
    str: frozenset(
        [
            "lower",
            "upper",
            "strip",
            "lstrip",
            "rstrip",
            "split",
            "rsplit",
            "splitlines",
            "startswith",
            "endswith",
            "title",
            "capitalize",
            "removeprefix",
            "removesuffix",
            "count",
            "find",
            "index",
            "isdigit",
            "isalpha",
            "isalnum",
            "partition",
            "rpartition",
        ]
    ),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"index", "count"}),
}


class TemplateError(ValueError):
    """A template cannot be rendered.

    Attributes:
        reason: what is wrong, for people.
        line: of the template, from 1.
        advice: the nearest known name, where a name is unknown.
        code: of the rule (``RB301`` ...) when it can be known before rendering.
    """

    def __init__(self, reason: str, *, line: int = 1, advice: str = "", code: str = "RB301") -> None:
        super().__init__(f"{reason} ({advice})" if advice else reason)
        self.reason, self.line, self.advice, self.code = reason, line, advice, code


class Lenient(Undefined):
    """In messages a missing name is shown, not refused."""

    def __str__(self) -> str:
        return f"?{self._undefined_name}"

    def reference(self, name: object) -> Lenient:
        """The missing attribute of something that is missing itself."""
        return Lenient(name=f"{self._undefined_name}.{name}")


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with an allow-list of methods, and without operators that make huge values."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        """A plain copy: nothing is added to the functions later, and Jinja's chain of mappings slows each rendering."""
        return {**self.globals, **(d or {})}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A field of the data, else one of the allowed methods."""
        if isinstance(obj, SecretNames | Lenient):
            return obj.reference(attribute)
        if isinstance(obj, str) and (field := field_reference(obj, attribute)) is not None:
            return field
        # ``output.items`` means the field of a Kubernetes list, not the method of the mapping.
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """An item of the data."""
        return obj.reference(argument) if isinstance(obj, SecretNames) else super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether an expression may use this attribute; methods must be on the list."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        allowed = next((names for kind, names in _METHODS.items() if isinstance(obj, kind)), frozenset[str]())
        return attr in allowed or (isinstance(obj, LoopContext) and not callable(value))

    def wrap_str_format(self, value: Any) -> None:
        """Nothing: Jinja would allow ``str.format`` beside the list, and a width in it can fill the memory."""

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """An arithmetic operator, within bounds."""
        _check_operands(operator, left, right)
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and result.bit_length() > _MAX_BITS:
            raise ValueError("the number is too large")
        return result


def _check_operands(operator: str, left: Any, right: Any) -> None:
    texts = [side for side in (left, right) if isinstance(side, str | list | tuple) and not isinstance(side, Quantity)]
    if operator == "%" and isinstance(left, str):
        raise TypeError("% does not format text here; use ~ to join texts")
    if operator == "*" and texts:
        raise TypeError(f"{_shown(texts[0])} is not a number or a quantity and cannot be multiplied")
    if operator == "**" and not (isinstance(right, int | float) and abs(right) <= _MAX_POWER):
        raise ValueError(f"powers go up to {_MAX_POWER}")
    if operator == "+" and sum(len(side) for side in texts) > MAX_TEXT:
        raise ValueError(f"a text may have at most {MAX_TEXT} characters")


def _shown(value: object) -> str:
    text = repr(plain(value))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _finalize(value: Any) -> Any:
    """How a value is written into a text: as YAML and JSON write it."""
    if isinstance(value, str | Undefined):
        return value
    if value is None:
        raise TypeError("a value in the text is missing (null)")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return to_json(value)


def _environment(undefined: type[Undefined], finalize: Callable[[Any], Any]) -> Sandbox:
    sandbox = Sandbox(undefined=undefined, finalize=finalize, keep_trailing_newline=True)  # no HTML here
    sandbox.filters = dict(ALL)
    sandbox.globals = dict(FUNCTIONS)
    sandbox.filters["_bounded"] = bounded
    # ``divisibleby`` formats when its left side is a text, past the bounds of the ``%`` operator.
    sandbox.tests = {name: test for name, test in sandbox.tests.items() if name != "divisibleby"}
    return sandbox


ENVIRONMENT = _environment(StrictUndefined, _finalize)
MESSAGES = _environment(Lenient, lambda value: "-" if value is None else _finalize(value))


def has_template(text: str) -> bool:
    """Whether the text holds any template syntax."""
    return "{{" in text or "{%" in text or "{#" in text


def parse(text: str) -> nodes.Template:
    """The checked syntax tree of a template.

    Raises:
        TemplateError: the syntax is wrong, or a statement is used that templates may not use.
    """
    if len(text) > MAX_TEMPLATE:
        raise TemplateError(f"a template may have at most {MAX_TEMPLATE} characters")
    try:
        tree = ENVIRONMENT.parse(text)
    except TemplateSyntaxError as error:
        raise TemplateError(error.message or "syntax error", line=error.lineno) from error
    except RecursionError as error:
        raise TemplateError("the expression is nested too deeply") from error
    _check_depth(tree)
    for statement in tree.find_all(nodes.Stmt):
        if not isinstance(statement, nodes.Output | nodes.If | nodes.For):
            kind = type(statement).__name__.lower()
            raise TemplateError(f"the statement {kind!r} is not allowed", line=statement.lineno, code="RB305")
    _check_loops(tree, 0)
    _check_filters(tree)
    return tree


def _check_depth(tree: nodes.Template) -> None:
    """What walks the tree or compiles it later goes down by calling itself."""
    level: list[nodes.Node] = [tree]
    for _ in range(_MAX_LEVELS):
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    raise TemplateError("the expression is nested too deeply", line=level[0].lineno)


def _check_filters(tree: nodes.Template) -> None:
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        known = set(ALL) if isinstance(node, nodes.Filter) else set(ENVIRONMENT.tests)
        if node.name not in known:
            kind = type(node).__name__.lower()
            advice = did_you_mean(node.name, known)
            raise TemplateError(f"there is no {kind} {node.name}", line=node.lineno, advice=advice, code="RB304")


def _check_loops(node: nodes.Node, depth: int) -> None:
    for child in node.iter_child_nodes():
        inner = depth + isinstance(child, nodes.For)
        if inner > _MAX_LOOPS or (isinstance(child, nodes.For) and child.recursive):
            raise TemplateError(f"loops may be nested {_MAX_LOOPS} deep", line=child.lineno, code="RB305")
        _check_loops(child, inner)
