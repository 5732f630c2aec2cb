"""Findings, and how a check that cannot be made becomes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.logs import masker

_LONGEST = 300


class State(StrEnum):
    """How bad it is. ``note`` is worth knowing; ``bad`` keeps the pipeline from being safe or from working."""

    OK = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what was looked at, such as ``kafka topics``.
        detail: what was found.
        do: what to do about it; empty when nothing is to be done.
    """

    name: str
    state: State
    detail: str
    do: str = ""


Check = Callable[[], Awaitable[Sequence[Finding]]]


async def examined(name: str, do: str, check: Check) -> Sequence[Finding]:
    """What a check finds. One that cannot be made is a finding of its own, and keeps no other from being made."""
    try:
        return await check()
    except Exception as error:  # noqa: BLE001 - whatever it was, it is what people need to know
        told = masker.text(f"{type(error).__name__}: {error}")[:_LONGEST]
        return [Finding(name, State.BAD, f"could not be looked at: {told}", do)]


def finding(name: str, problems: Sequence[str], good: str, do: str, state: State = State.BAD) -> Finding:
    """Good when there are no problems; else all of them, with what to do."""
    if not problems:
        return Finding(name, State.OK, good)
    return Finding(name, state, "; ".join(problems)[: 4 * _LONGEST], do)
