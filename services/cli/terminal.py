"""What reaches a terminal: text and our own colours. Names, reasons and logs come from outside and may hold commands.

A terminal obeys what is written to it: a name in an alert could hide a line, change the title of the window, put text
into the clipboard or show a link as another. Each command writes through this filter, so that no command can forget it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_COLOUR = re.compile(
    r"(\x1b\[(?:(?:[34]8;5;\d{1,3}|[34]8;2;\d{1,3};\d{1,3};\d{1,3}"
    r"|[0-4]|2[1-49]|[349][0-7]|[34]9|10[0-7])(?:;(?=\d)|(?=m)))*m)"
)
"""Our colours: everything but what blinks, hides, or swaps text and ground."""
_COMMANDS = re.compile(
    r"\x1b\][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # operating system commands: titles, links, clipboard
    r"|\x1b[P^_X][^\x1b\x9c]*(?:\x1b\\|\x9c)?"  # device control strings and their kind
    r"|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]?"  # control sequences
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)")
_HIDDEN = re.compile("[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
"""Marks that turn the direction of text, hide it, or break its line."""
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")


def harmless(text: str) -> str:
    """Text without anything that a terminal obeys, and without marks that hide or turn what is read."""
    return _HIDDEN.sub(" ", _without_commands(text))


def _without_commands(text: str) -> str:
    return _CONTROL.sub(" ", _COMMANDS.sub(" ", text))


def escaped_json(text: str) -> str:
    """JSON that means the same and holds no such character."""
    return _UNSAFE_IN_JSON.sub(lambda found: _escape(found[0]), text)


def _escape(char: str) -> str:
    units = char.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


class Harmless:
    """A stream that writes harmless text. To a pipe, marks of direction stay: they may belong to data.

    Args:
        stream: where it goes.
        mask: takes secrets out of each text; None where it stays as it is.
    """

    def __init__(self, stream: TextIO, mask: Callable[[str], str] | None = None) -> None:
        self._stream = stream
        self._mask = mask
        self._terminal = stream.isatty()

    def write(self, text: str) -> int:
        """Write; gives the number of characters that were asked for."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._stream.write(self._filtered(self._mask(text) if self._mask else text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def _filtered(self, text: str) -> str:
        if not self._terminal:
            return text if text.isprintable() else _without_commands(text)
        parts = _COLOUR.split(text)
        return "".join(part if at % 2 else harmless(part) for at, part in enumerate(parts))

    @property
    def unfiltered(self) -> TextIO:
        """The stream itself, for a display that draws itself anew, of text that is harmless already."""
        return self._stream

    def __getattr__(self, name: str) -> Any:
        if name in {"buffer", "detach", "reconfigure"}:
            raise AttributeError(name)  # a way around
        return getattr(self._stream, name)


@contextmanager
def filtered(mask: Callable[[str], str] | None = None) -> Iterator[None]:
    """Both outputs of this process write through the filter, and through ``mask`` where it is given."""
    out, err = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Harmless(out, mask), Harmless(err, mask)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = out, err
