"""Which programs may be run in containers. Nothing, until somebody says so in the settings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from executor.errors import Forbidden, NotConfigured

REST = "**"
"""As the last word of a pattern: any further arguments, or none."""


@dataclass(frozen=True, slots=True)
class ExecRules:
    """The operator's leave.

    Attributes:
        enabled: whether any program may be run.
        allow: patterns of whole commands, word by word: ``jcmd 1 GC.run``, ``nginx -s *``, ``ps **``. A ``*`` stands
            for text within one argument and never for several, so that a pattern says how many there are.
    """

    enabled: bool = False
    allow: tuple[str, ...] = ()

    def check(self, command: Sequence[str]) -> None:
        """Return when the command may be run.

        Raises:
            NotConfigured: nothing may be run.
            Forbidden: no pattern fits.
        """
        if not self.enabled:
            raise NotConfigured("running programs in containers is off: actions.exec.enabled of the settings")
        if not any(matches(pattern, command) for pattern in self.allow):
            known = ", ".join(self.allow) or "nothing"
            raise Forbidden(f"{shlex.join(command)} is not allowed; actions.exec.allow of the settings has {known}")


def matches(pattern: str, command: Sequence[str]) -> bool:
    """Whether each argument fits the word of the pattern in its place."""
    words = shlex.split(pattern)
    open_end = bool(words) and words[-1] == REST
    if open_end:
        words.pop()
    if not words or len(command) < len(words) or (len(command) > len(words) and not open_end):
        return False
    return all(fnmatchcase(argument, word) for argument, word in zip(command, words, strict=False))
