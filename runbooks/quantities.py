"""Kubernetes quantities (256Mi, 500m, 1.5Gi, 1e3) that keep their unit when they are calculated with.

A ``Quantity`` is a text: it goes into JSON, YAML and messages as it stands. Only its operators are different, so that
``current_memory * 2`` with ``256Mi`` is ``512Mi`` and never ``256Mi256Mi``. Amounts are exact (``Fraction``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from math import ceil
from typing import Any, Literal, Self

Family = Literal["binary", "decimal", "exponent"]

_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_NANO = 10**9
_KIBI = 1024
_MAX_TEXT = 48
_MAX_EXPONENT = 24
_MAX_ITEMS = 20_000
_SHAPE = re.compile(
    r"(?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:(?P<exponent>[eE][+-]?\d{1,3})|(?P<suffix>[KMGTPE]i|[numkMGTPE]))?",
    re.ASCII,
)


class Quantity(str):
    """An amount with its Kubernetes unit.

    Made from text it keeps that text; made by arithmetic it has the canonical text: the largest unit that needs no
    fraction, in the unit family of the left operand. Amounts that no unit can write exactly are rounded up (to whole
    bytes for binary units, else to nano), as Kubernetes does.

    Attributes:
        amount: the exact amount in the base unit (bytes, cores).
        family: ``binary`` (Ki, Mi, ...), ``decimal`` (m, k, M, ...) or ``exponent`` (e3).
        unit: the suffix as written; empty for a bare number.
    """

    __slots__ = ("amount", "family", "unit")
    amount: Fraction
    family: Family
    unit: str

    def __new__(cls, text: str) -> Self:
        """Read a quantity.

        Raises:
            ValueError: the text is not a Kubernetes quantity.
        """
        found = _SHAPE.fullmatch(text) if len(text) <= _MAX_TEXT else None
        if found is None:
            raise ValueError(f"{text[:_MAX_TEXT]!r} is not a Kubernetes quantity such as 256Mi, 500m or 2")
        number, exponent, suffix = Fraction(found["number"]), found["exponent"], found["suffix"] or ""
        if exponent:
            power = int(exponent[1:])
            if abs(power) > _MAX_EXPONENT:
                raise ValueError(f"{text!r} is too large or too small for a Kubernetes quantity")
            return cls._made(text, number * Fraction(10) ** power, "exponent", exponent)
        if suffix in _BINARY and suffix:
            return cls._made(text, number * _KIBI ** _BINARY.index(suffix), "binary", suffix)
        return cls._made(text, number * Fraction(10) ** _DECIMAL[suffix], "decimal", suffix)

    @classmethod
    def _made(cls, text: str, amount: Fraction, family: Family, unit: str) -> Self:
        made = super().__new__(cls, text)
        made.amount, made.family, made.unit = amount, family, unit
        return made

    @classmethod
    def of(cls, amount: Fraction | int, family: Family) -> Quantity:
        """A quantity of this amount (base unit) with its canonical text in this family."""
        exact = Fraction(amount)
        exact = Fraction(ceil(exact)) if family == "binary" else Fraction(ceil(exact * _NANO), _NANO)
        text, unit = _canonical(exact, family)
        return cls._made(text, exact, family, unit)

    def __reduce__(self) -> tuple[type[Quantity], tuple[str]]:
        return Quantity, (str(self),)

    def _with(self, amount: Fraction) -> Quantity:
        return Quantity.of(amount, self.family)

    def __mul__(self, other: object) -> Quantity:
        factor = _number(other)
        if factor is not None:
            return self._with(self.amount * factor)
        right = as_quantity(other)
        if self.unit and right.unit:
            raise TypeError(f"{self!s} and {right!s} both have a unit and cannot be multiplied")
        return Quantity.of(self.amount * right.amount, self.family if self.unit else right.family)

    __rmul__ = __mul__

    def __truediv__(self, other: object) -> Quantity | int | float:
        divisor = _number(other)
        right = None if divisor is not None else as_quantity(other)
        divisor = right.amount if right is not None else divisor
        if not divisor:
            raise ZeroDivisionError(f"{self!s} cannot be divided by zero")
        ratio = self.amount / divisor
        if right is None or not right.unit:
            return self._with(ratio)
        return int(ratio) if ratio.denominator == 1 else float(ratio)

    def __floordiv__(self, other: object) -> Quantity | int:
        result = self / other
        return result._with(Fraction(int(result.amount))) if isinstance(result, Quantity) else int(result)

    def __add__(self, other: object) -> Any:
        if isinstance(other, str) and not isinstance(other, Quantity):
            return str(self) + other  # text beside text is joined, as in names
        return self._sum(other, 1)

    def __radd__(self, other: object) -> Quantity:
        return self._sum(other, 1)

    def __sub__(self, other: object) -> Quantity:
        return self._sum(other, -1)

    def __rsub__(self, other: object) -> Quantity:
        return as_quantity(other)._sum(self, -1)

    def _sum(self, other: object, sign: int) -> Quantity:
        right = as_quantity(other)
        return Quantity.of(self.amount + sign * right.amount, self.family if self.unit else right.family)

    def __neg__(self) -> Quantity:
        return self._with(-self.amount)

    def __lt__(self, other: object) -> bool:
        return self.amount < as_quantity(other).amount

    def __le__(self, other: object) -> bool:
        return self.amount <= as_quantity(other).amount

    def __gt__(self, other: object) -> bool:
        return self.amount > as_quantity(other).amount

    def __ge__(self, other: object) -> bool:
        return self.amount >= as_quantity(other).amount

    def __eq__(self, other: object) -> bool:
        number = _number(other)
        if number is not None:
            return self.amount == number
        if not isinstance(other, str):
            return False
        if str(self) == str(other):
            return True
        right = read_quantity(other)
        # Two bare numbers are compared as text: the labels "5" and "05" are different labels.
        return right is not None and bool(self.unit or right.unit) and self.amount == right.amount

    def __ne__(self, other: object) -> bool:
        return not self == other

    # As text: a quantity must be found in a dictionary under the text that it was read from.
    __hash__ = str.__hash__


def _canonical(amount: Fraction, family: Family) -> tuple[str, str]:
    if amount == 0:
        return "0", ""
    if family == "binary":
        whole, power = int(amount), 0
        while whole % _KIBI == 0 and power < len(_BINARY) - 1:
            whole, power = whole // _KIBI, power + 1
        return f"{whole}{_BINARY[power]}", _BINARY[power]
    power = -9
    scaled = int(amount * _NANO)
    while scaled % 1000 == 0 and power < _DECIMAL["E"]:
        scaled, power = scaled // 1000, power + 3
    if family == "exponent":
        unit = f"e{power}" if power else ""
    else:
        unit = next(suffix for suffix, exponent in _DECIMAL.items() if exponent == power)
    return f"{scaled}{unit}", unit


def _number(value: object) -> Fraction | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Fraction):
        return Fraction(value)
    if isinstance(value, float | Decimal):
        # The shortest decimal that means this float: 1.1 is eleven tenths, not its binary neighbour.
        return Fraction(str(value))
    return None


def as_quantity(value: object) -> Quantity:
    """The value as a quantity; numbers become bare ones.

    Raises:
        TypeError: it is neither a number nor a text.
        ValueError: the text is not a quantity.
    """
    if isinstance(value, Quantity):
        return value
    if isinstance(value, str):
        return Quantity(value.strip())
    number = _number(value)
    if number is None:
        kind = "no value" if value is None else f"a {type(value).__name__}"
        raise TypeError(f"expected a quantity such as 256Mi or a number, got {kind}")
    return Quantity.of(number, "decimal")


def read_quantity(text: str) -> Quantity | None:
    """The text as a quantity, or None when it is none."""
    if isinstance(text, Quantity):
        return text
    if not text or len(text) > _MAX_TEXT or not (text[0].isdigit() or text[0] in "+-."):
        return None
    try:
        return Quantity(text)
    except ValueError:
        return None


def parse_memory(value: object) -> Quantity:
    """An amount of memory; a bare number is bytes and gets binary units.

    Raises:
        TypeError, ValueError: it is no amount of memory.
    """
    quantity = as_quantity(value)
    if quantity.amount < 0:
        raise ValueError(f"memory cannot be negative: {quantity!s}")
    return Quantity.of(quantity.amount, "binary") if not quantity.unit else quantity


def parse_cpu(value: object) -> Quantity:
    """An amount of CPU in cores.

    Raises:
        TypeError, ValueError: it is no amount of CPU, or it has a unit of memory.
    """
    quantity = as_quantity(value)
    if quantity.family == "binary":
        raise ValueError(f"{quantity!s} is an amount of memory, not of CPU")
    if quantity.amount < 0:
        raise ValueError(f"CPU cannot be negative: {quantity!s}")
    return quantity


def wrap_quantities(value: Any) -> Any:
    """A copy of JSON data in which every text that is a quantity calculates like one."""
    if isinstance(value, str):
        quantity = read_quantity(value)
        return value if quantity is None else quantity
    if isinstance(value, Mapping):
        return {key: wrap_quantities(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [wrap_quantities(item) for item in value]
    return value


def plain(value: Any) -> Any:
    """A copy as plain JSON data: quantities are texts again; tuples, sets, views and iterators are lists.

    Raises:
        TypeError: there is something in it that JSON cannot hold.
        ValueError: an iterator gives too many items.
    """
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else float(value)
    if isinstance(value, Collection | Iterator) and not isinstance(value, bytes):
        items = list(islice(value, _MAX_ITEMS + 1))
        if len(items) > _MAX_ITEMS:
            raise ValueError(f"a list may have at most {_MAX_ITEMS} items here")
        return [plain(item) for item in items]
    raise TypeError(f"{type(value).__name__} is not data")
