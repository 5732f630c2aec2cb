"""What the checks look at: a runbook, where its parts stand, and the actions that exist."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runbooks.findings import Finding
from runbooks.model import Runbook, Step
from runbooks.rules import finding
from runbooks.sandbox import has_template

Path = tuple[str | int, ...]
"""Where a part stands in the runbook: keys and list indexes below ``runbook:``."""

Actions = Mapping[str, Mapping[str, Any]]
"""JSON Schema of each action's parameters by name and alias; ``x-name`` in it is the canonical name."""


@dataclass(frozen=True, slots=True)
class Text:
    """One text of the runbook that may hold a template."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Subject:
    """The runbook under check.

    Attributes:
        lines: position of each key by its path.
        actions: None when nobody knows the actions; then they are not checked.
    """

    runbook: Runbook
    lines: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    actions: Actions | None = None

    def at(self, path: Path) -> tuple[int, int]:
        """Position of a part, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, (1, 1))

    def found(self, code: str, message: str, path: Path, *, advice: str = "") -> Finding:
        """A finding at a part of the runbook."""
        return finding(code, message, self.at(path), advice=advice)

    def found_in(self, code: str, message: str, text: Text, line: int, *, advice: str = "") -> Finding:
        """A finding inside a text; ``line`` counts from 1 within the text.

        A text of several lines is a block: its first line is the one after its key.
        """
        start, column = self.at(text.path)
        position = (start + line, 1) if "\n" in text.text else (start, column)
        return finding(code, message, position, advice=advice)

    def lists(self) -> Iterator[tuple[Path, Sequence[Step]]]:
        """Each list of steps with where it stands: the runbook's own first, then those that take back."""
        runbook = self.runbook
        yield ("steps",), runbook.steps
        yield from ((("procedures", name), steps) for name, steps in runbook.procedures.items())
        whole = ("rollback", "steps") in self.lines
        yield ("rollback", "steps") if whole else ("rollback",), runbook.rollback.steps

    def steps(self) -> Iterator[tuple[Path, Step]]:
        """Every step with where it stands."""
        for path, steps in self.lists():
            for index, step in enumerate(steps):
                yield (*path, index), step

    def access_of(self, step: Step) -> str:
        """What the step's action does to the world (``read``, ``write``, ``notify``, ``none``); empty when unknown."""
        return str((self.actions or {}).get(step.action, {}).get("x-access", ""))

    def action_of(self, step: Step) -> str:
        """The canonical name of the step's action, as far as it is known."""
        schema = (self.actions or {}).get(step.action, {})
        return str(schema.get("x-name", step.action))


def texts(value: Any, path: Path) -> Iterator[Text]:
    """Every text in a value that holds a template, keys of mappings included."""
    if isinstance(value, str):
        if has_template(value):
            yield Text(path, value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts(key, (*path, key))
            yield from texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from texts(item, (*path, index))
