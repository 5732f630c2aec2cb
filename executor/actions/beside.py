"""Texts that may be in a file beside the runbook."""

from __future__ import annotations

from typing import Any

from executor.actions.base import TargetFacts, World
from executor.errors import PlanError

LITERAL: dict[str, Any] = {"x-literal": True}
"""Marks a text that is a program in some language: a template in it would let an alert write the program."""


async def text_or_file(
    text: str, suffixes: tuple[str, ...], facts: TargetFacts, world: World, *, max_bytes: int
) -> str:
    """The text itself, or the content of the file that it names.

    The content becomes part of the plan, so its hash binds it, and a file that changes meanwhile changes nothing.

    Raises:
        PlanError: the file is named, and the runbook did not come from a folder.
        NotFound: there is no such file.
    """
    name = text.strip()
    if "\n" in name or not name.endswith(suffixes):
        return text
    if not facts.folder:
        raise PlanError(f"{name} is a file beside the runbook, and this runbook did not come from a folder")
    return await world.files.text(facts.folder, name, max_bytes=max_bytes)
