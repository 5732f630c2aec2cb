"""What a stored record looks like, and what becomes of one that cannot be read.

Two releases work side by side during an upgrade. A field that this release does not know is left out when a record is
read, so that the older of the two goes on; what changes the meaning of a record raises ``FORMAT``, and the older one
leaves such records to the newer. What cannot be read at all is told of once, and never keeps others from being read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError

from executor.errors import TooNew, Unreadable
from services.sealing import SealError

log = structlog.get_logger(__name__)

T = TypeVar("T")

FORMAT = 1
"""Major format of executions, approvals and decisions. Records without one are of format 1."""
_REMEMBERED = 10_000
_PROBLEMS = 3
_LONGEST = 300


class Unreadables:
    """What could not be read, each told of once.

    Attributes:
        tell: called with the kind of record, its id and why; the composition root counts with it.
    """

    def __init__(self) -> None:
        self.tell: Callable[[str, str, str], None] = lambda *_: None
        self._told: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def report(self, kind: str, name: str, why: str) -> None:
        """A record cannot be read; said once for each reason."""
        if (kind, name, why) in self._told:
            return
        self._told[kind, name, why] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        log.error("record.unreadable", kind=kind, id=name, why=why, do="rb executions orphans tells what to do")
        self.tell(kind, name, why)


@contextmanager
def reading(kind: str, row: Mapping[str, Any]) -> Iterator[None]:
    """Turn whatever is wrong with a record into one error that names it.

    Args:
        kind: ``execution``, ``approval`` or ``decision``.
        row: its properties.

    Raises:
        TooNew: it is of a newer major format.
        Unreadable: a value is missing, or is not what it should be. Values are not repeated: they may be secret.
    """
    name = str(row.get("id") or "without an id")
    found = row.get("format") or 1
    if not isinstance(found, int) or found > FORMAT:
        raise TooNew(f"{kind} {name} is of format {found}, and this release reads up to {FORMAT}: use the newer one")
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"{kind} {name} cannot be read: {_in_words(error)}") from error


def readable(told: Unreadables, kind: str, rows: Iterable[Mapping[str, Any]], make: Callable[[Any], T]) -> list[T]:
    """The values of the rows that can be read; of the others it is told.

    Args:
        told: where it is told.
        kind: of record.
        rows: properties, ``id`` among them.
        make: a value of the properties; may raise Unreadable.
    """
    found = []
    for row in rows:
        try:
            with reading(kind, row):
                found.append(make(row))
        except (Unreadable, SealError) as error:
            told.report(kind, str(row.get("id")), str(error))
    return found


def _in_words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        parts = [f"{'.'.join(map(str, one['loc'])) or 'the text'}: {one['msg']}" for one in problems[:_PROBLEMS]]
        return "; ".join(parts)[:_LONGEST]
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return f"{type(error).__name__}: {error}"[:_LONGEST]
