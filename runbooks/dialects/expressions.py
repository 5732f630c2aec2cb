"""Expressions of the other dialects, translated into those of the templates. Nothing is ever evaluated here.

The grammar, from the loosest to the tightest::

    choice     = either { "||" either }              also "or"
    either     = negation { "&&" negation }          also "and"
    negation   = ( "!" | "not" ) negation | relation
    relation   = sum [ relator sum ]                 == != < <= > >= in, not in
    sum        = product { ( "+" | "-" ) product }
    product    = filtered { ( "*" | "/" ) filtered }
    filtered   = sign { "|" NAME [ "(" arguments ")" ] }
    sign       = "-" sign | value
    value      = NUMBER [ "%" ] | TEXT | true | false | null | "[" arguments "]" | "(" choice ")" | call | path
    call       = NAME "(" arguments ")"
    path       = NAME { "." WORD | "[" NUMBER | TEXT "]" }

A ``WORD`` may hold dashes (``steps.rolling-restart``), the first ``NAME`` of a path may not: ``a-b`` is a difference.
``5%`` is the share 0.05. ``x != null`` asks whether there is a value, and a name that is not known has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

MAX_LENGTH = 4096
_DEEPEST = 40
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>\d+(?:\.\d+)?)
      | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
      | (?P<name>[A-Za-z_$][A-Za-z0-9_]*)
      | (?P<sign>\|\||&&|==|!=|<=|>=|[<>!+\-*/%().,\[\]|])
    )""",
    re.VERBOSE,
)
_DASHED = re.compile(r"(?:-[A-Za-z_][A-Za-z0-9_]*)+")
_WORDS: Mapping[str, str] = {
    "true": "true",
    "false": "false",
    "null": "none",
    "nil": "none",
    "none": "none",
    "None": "none",
    "True": "true",
    "False": "false",
}
_RELATORS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Resolve = Callable[[tuple[str, ...]], str]
"""From a path of the dialect to the canonical one. Raises ``ExpressionError`` for what nobody knows."""


class ExpressionError(ValueError):
    """An expression cannot be translated.

    Attributes:
        reason: what is wrong, for people.
        at: character of the expression, from 1.
        advice: what to write instead.
    """

    def __init__(self, reason: str, at: int = 1, advice: str = "") -> None:
        super().__init__(f"{reason} (character {at})")
        self.reason, self.at, self.advice = reason, at, advice


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int
    end: int


def translate(
    expression: str, resolve: Resolve, functions: Mapping[str, str], filters: Callable[[str], str] = str
) -> str:
    """The expression as templates write it.

    Args:
        expression: of another dialect.
        resolve: what the dialect's names are called here.
        functions: the filter that does what a function of the dialect does.
        filters: what a filter of the dialect is called here.

    Raises:
        ExpressionError: it does not follow the grammar, or uses a name that nobody knows.
    """
    if len(expression) > MAX_LENGTH:
        raise ExpressionError(f"an expression may have at most {MAX_LENGTH} characters")
    return _Parser(expression, resolve, functions, filters).whole()


def attribute(path: tuple[str, ...]) -> str:
    """A path as templates write it; what is no name goes into brackets."""
    text = path[0]
    for part in path[1:]:
        quoted = part.replace("\\", "\\\\").replace("'", "\\'")
        text += f".{part}" if _PLAIN.fullmatch(part) else f"[{part}]" if part.isdigit() else f"['{quoted}']"
    return text


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise ExpressionError(f"{text[at]!r} does not belong here", at + 1)
        kind = match.lastgroup or ""
        start, end = match.span(kind)
        if kind == "name" and found and found[-1].text == "." and (dashes := _DASHED.match(text, end)):
            end = dashes.end()
        found.append(_Token(kind, text[start:end], start + 1, end))
        at = end
    return found


class _Parser:
    """One pass over the tokens; each method reads one rule of the grammar and gives its translation."""

    def __init__(
        self, text: str, resolve: Resolve, functions: Mapping[str, str], filters: Callable[[str], str]
    ) -> None:
        self._tokens = _tokens(text)
        self._length = len(text)
        self._resolve, self._functions, self._filters = resolve, functions, filters
        self._next = 0
        self._depth = 0

    def whole(self) -> str:
        """The translation of the whole text."""
        text = self._choice()
        if (token := self._peek()) is not None:
            raise ExpressionError(f"{token.text!r} does not belong here", token.at)
        return text

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self, *texts: str) -> _Token | None:
        token = self._peek()
        if token is None or token.kind == "text" or token.text not in texts:
            return None
        self._next += 1
        return token

    def _need(self, text: str) -> None:
        if self._take(text) is None:
            token = self._peek()
            found = f"{token.text!r} stands where {text!r} was expected" if token else f"{text!r} is missing"
            raise ExpressionError(found, token.at if token else self._length + 1)

    def _choice(self) -> str:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ExpressionError("the expression is nested too deeply")
        text = self._either()
        while self._take("||", "or"):
            text = f"{text} or {self._either()}"
        self._depth -= 1
        return text

    def _either(self) -> str:
        text = self._negation()
        while self._take("&&", "and"):
            text = f"{text} and {self._negation()}"
        return text

    def _negation(self) -> str:
        negated = 0
        while self._take("!", "not"):
            negated += 1
        text = self._relation()
        return f"not {text}" if negated % 2 else text

    def _relation(self) -> str:
        left = self._sum()
        token = self._peek()
        if token is None or token.kind == "text":
            return left
        if token.text in _RELATORS:
            self._next += 1
            return _compared(left, token.text, self._sum())
        if self._take("in"):
            return f"{left} in {self._sum()}"
        following = self._tokens[self._next + 1] if self._next + 1 < len(self._tokens) else None
        if token.text == "not" and following is not None and following.text == "in":
            self._next += 2
            return f"{left} not in {self._sum()}"
        return left

    def _sum(self) -> str:
        text = self._product()
        while token := self._take("+", "-"):
            text = f"{text} {token.text} {self._product()}"
        return text

    def _product(self) -> str:
        text = self._filtered()
        while token := self._take("*", "/"):
            text = f"{text} {token.text} {self._filtered()}"
        return text

    def _filtered(self) -> str:
        text = self._sign()
        while self._take("|"):
            token = self._peek()
            if token is None or token.kind != "name":
                raise ExpressionError("the name of a filter is missing", token.at if token else self._length + 1)
            self._next += 1
            name = self._filters(token.text)
            text = f"{text} | {name}({self._arguments(')')})" if self._take("(") else f"{text} | {name}"
        return text

    def _sign(self) -> str:
        minus = 0
        while self._take("-"):
            minus += 1
        text = self._value()
        return f"-{text}" if minus % 2 else text

    def _value(self) -> str:
        token = self._peek()
        if token is None:
            raise ExpressionError("the expression ends where a value was expected", self._length + 1)
        self._next += 1
        if token.kind == "number":
            return _share(token.text) if self._take("%") else token.text
        if token.kind == "text":
            return token.text
        if token.text == "(":
            inner = self._choice()
            self._need(")")
            return f"({inner})"
        if token.text == "[":
            return f"[{self._arguments(']')}]"
        if token.kind == "name":
            return self._named(token)
        raise ExpressionError(f"{token.text!r} stands where a value was expected", token.at)

    def _arguments(self, end: str) -> str:
        parts: list[str] = []
        while self._take(end) is None:
            if parts:
                self._need(",")
            parts.append(self._choice())
        return ", ".join(parts)

    def _named(self, token: _Token) -> str:
        following = self._peek()
        if following is None or following.text not in {".", "[", "("}:
            if token.text in _WORDS:
                return _WORDS[token.text]
        elif following.text == "(":
            return self._call(token)
        return self._resolved(token, self._path(token.text))

    def _call(self, token: _Token) -> str:
        name = self._functions.get(token.text)
        if name is None:
            raise ExpressionError(
                f"there is no function {token.text}", token.at, f"one of: {', '.join(sorted(self._functions))}"
            )
        self._need("(")
        start = self._next
        arguments = self._arguments(")")
        if self._next == start + 1:
            raise ExpressionError(f"{token.text} needs a value", token.at)
        return f"{name}({arguments})" if "," in arguments else f"({arguments}) | {name}"

    def _path(self, first: str) -> tuple[str, ...]:
        parts = [first]
        while True:
            if self._take("."):
                parts.append(self._part("name"))
            elif self._take("["):
                parts.append(self._part("text", "number"))
                self._need("]")
            else:
                return tuple(parts)

    def _part(self, *kinds: str) -> str:
        token = self._peek()
        if token is None or token.kind not in kinds:
            raise ExpressionError("a name is missing", token.at if token else self._length + 1)
        self._next += 1
        return token.text[1:-1] if token.kind == "text" else token.text

    def _resolved(self, token: _Token, path: tuple[str, ...]) -> str:
        try:
            return self._resolve(path)
        except ExpressionError as error:
            raise ExpressionError(error.reason, token.at, error.advice) from error


def _share(number: str) -> str:
    return format((Decimal(number) / 100).normalize(), "f")


def _compared(left: str, relator: str, right: str) -> str:
    """A comparison. Asked for null, a name without a value is as good as null, and no error."""
    if relator in {"==", "!="} and "none" in {left, right}:
        value = right if left == "none" else left
        return f"({value} | default(none)) is {'not ' if relator == '!=' else ''}none"
    return f"{left} {relator} {right}"
