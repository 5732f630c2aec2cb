"""Foreign text in Slack: nothing in it is formatting, a mention or a link, and nothing is longer than Slack takes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

SECTION = 3_000
HEADER = 150
_MARK = "…"
_SPARE = 4
"""Only the beginning of a long text is looked at; what is left out of it as invisible is seldom more than this."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_BRACKETS = {"<": "\u2039", ">": "\u203a"}
_CONTROL_SEQUENCE = re.compile("<([^<>\n]{1,3000})>")
_BACKTICK = "\u02cb"
"""Looks like one, and closes no code."""


def size(text: str) -> int:
    """How long Slack says a text is: in UTF-16 units, of which some characters are two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def clean(value: object) -> str:
    """One line without control characters, and without marks that turn the direction or hide text."""
    found = []
    for char in str(value):
        kind = unicodedata.category(char)
        if char.isspace() or kind in ("Zl", "Zp"):
            found.append(" ")
        elif not kind.startswith("C"):
            found.append(char)
    return " ".join("".join(found).split(" ")).strip()


def escaped(value: object, most: int) -> str:
    """One line with Slack's three special characters written out, cut to a length."""
    return _cut((_ENTITIES.get(char, char) for char in clean(str(value)[: most * _SPARE])), most)


def disarmed(text: str) -> str:
    """A message in which nothing mentions anybody, and a link shows where it leads. Other formatting stays."""
    return _CONTROL_SEQUENCE.sub(lambda found: _opened(found[1]), text).replace("<!", "&lt;!").replace("<@", "&lt;@")


def _opened(inside: str) -> str:
    if inside.startswith(("http://", "https://", "mailto:")):
        address, bar, label = inside.partition("|")
        return f"{label} ({address})" if bar else f"<{address}>"
    return f"&lt;{inside}&gt;"


def code(value: object, most: int = 300) -> str:
    """A value inside a line: code, in which nothing is formatted or linked. Empty for nothing."""
    inside = escaped(str(value)[: most * _SPARE].replace("`", _BACKTICK), most - 2)
    return f"`{inside}`" if inside else ""


def plain(value: object, most: int) -> str:
    """For text objects of type ``plain_text``, which know no entities."""
    return _cut((_BRACKETS.get(char, char) for char in clean(str(value)[: most * _SPARE])), most)


def block_of(lines: Iterable[str], most: int) -> str:
    """Several lines as one piece of code; says how many did not fit."""
    kept: list[str] = []
    room = most - 6 - 40
    dropped = 0
    for line in lines:
        # Only the beginning of a line says whether it is added or removed, so that is kept.
        text = "" if dropped else escaped(line[: 400 * _SPARE].replace("`", _BACKTICK), 400)
        if dropped or size(text) + 1 > room:
            dropped += 1
            continue
        kept.append(text)
        room -= size(text) + 1
    if dropped:
        kept.append(f"{_MARK} {dropped} more lines")
    return "```" + "\n".join(kept) + "```" if kept else ""


def joined(parts: Iterable[str], most: int, separator: str = "\n") -> str:
    """Parts that are bounded and escaped already, as many as fit; says how many did not."""
    kept: list[str] = []
    room = most - 30
    dropped = 0
    for part in parts:
        if not part:
            continue
        if dropped or size(part) + len(separator) > room:
            dropped += 1
            continue
        kept.append(part)
        room -= size(part) + len(separator)
    if dropped:
        kept.append(f"{_MARK} and {dropped} more")
    return separator.join(kept)


def _cut(pieces: Iterable[str], most: int) -> str:
    """As many pieces as fit; an escaped character is a piece, so that none is cut through."""
    kept: list[str] = []
    length = 0
    for piece in pieces:
        if length + size(piece) > most:
            while kept and length + 1 > most:
                length -= size(kept.pop())
            return "".join(kept) + _MARK
        kept.append(piece)
        length += size(piece)
    return "".join(kept)
