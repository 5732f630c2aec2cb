"""Which commands of ``rb`` show what was recorded or read elsewhere: those write without secrets."""

from __future__ import annotations

from collections.abc import Callable

AS_IT_IS = frozenset({"audit export", "incidents export", "backup", "tokens create", "audit key"})
"""Their output is a file for machines, which was masked when it was recorded and must not change, or is a secret that
its owner asked for and sees once."""

ALSO = frozenset({"review", "diff", "whoami", "access whoami", "access show", "secrets check", "config check"})
"""Open commands that show texts of others all the same. The remaining open ones write files of the caller, byte by
byte."""


def mask_for(command: str) -> Callable[[str], str] | None:
    """What the output of a command goes through; None where it stays as it is."""
    from services.access.entry_points import ENTRY_POINTS  # noqa: PLC0415 - keeps rb --help quick
    from services.masking import masker  # noqa: PLC0415 - as above

    entry = ENTRY_POINTS.get(f"rb {command}")
    is_open = entry is not None and entry.is_open
    if command in AS_IT_IS or (is_open and command not in ALSO):
        return None
    return masker.text
