"""Reading a file of another dialect part by part, and building the canonical form with the places of the original."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runbooks.findings import Finding, did_you_mean
from runbooks.rules import finding
from runbooks.yaml_source import Path, Source


@dataclass(slots=True)
class Report:
    """What is said about a file while it is translated.

    Attributes:
        findings: mistakes in it.
        notes: what was decided, by the place in the canonical form; comments for those who convert it.
        lost: what the canonical form cannot say.
    """

    findings: list[Finding] = field(default_factory=list)
    notes: dict[Path, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Made:
    """A part of the canonical form.

    Attributes:
        value: plain data, or a mapping or list of further parts.
        origin: where in the file it comes from.
    """

    value: Any
    origin: Path


@dataclass(slots=True)
class Node:
    """A part of the file. Every key that is asked for is known; what is left at the end is not."""

    source: Source
    report: Report
    path: Path
    value: Any
    asked: set[str] = field(default_factory=set)

    def child(self, key: str | int) -> Node:
        """A part of this part."""
        return Node(self.source, self.report, (*self.path, key), self.value[key])

    def take(self, *keys: str) -> Node | None:
        """The value of the first of these keys that is there; a key without a value counts as left out."""
        self.asked.update(keys)
        if isinstance(self.value, Mapping):
            for key in keys:
                if self.value.get(key) is not None:
                    return self.child(key)
        return None

    def word(self, key: str) -> str:
        """A text, or nothing."""
        node = self.take(key)
        return node.text() if node is not None else ""

    def text(self) -> str:
        """The value as the file writes it."""
        return self.source.bare.get(self.path, str(self.value))

    def items(self) -> list[Node]:
        """The parts of a list; anything else is an error, told once."""
        if isinstance(self.value, list):
            return [self.child(index) for index in range(len(self.value))]
        self.wrong("RB104", f"{self.name} is no list")
        return []

    def fields(self) -> Iterator[tuple[str, Node]]:
        """The parts of a mapping, all of them known."""
        if not self.is_mapping():
            return
        for key in self.value:
            self.asked.add(key)
            yield key, self.child(key)

    def is_mapping(self) -> bool:
        """Whether it has parts; what has none is an error, told here."""
        if isinstance(self.value, Mapping):
            return True
        self.wrong("RB104", f"{self.name} is no mapping")
        return False

    @property
    def name(self) -> str:
        """The place as people write it: ``steps[0].params``."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return text.removeprefix(".") or "the file"

    def wrong(self, code: str, message: str, *, advice: str = "", at_key: bool = False) -> None:
        """Report a mistake here."""
        position = self.source.key_at(self.path) if at_key else self.source.value_at(self.path)
        self.report.findings.append(finding(code, message, position, advice=advice))

    def one_of(self, words: Mapping[str, Any]) -> Any:
        """What a word means; an unknown one is an error."""
        if isinstance(self.value, str) and self.value in words:
            return words[self.value]
        self.wrong("RB106", f"{self.name}: {self.value!r:.60} is not one of its words", advice=self._near(words))
        return None

    def _near(self, words: Mapping[str, Any]) -> str:
        return did_you_mean(str(self.value), words)

    def finish(self, dialect: str) -> None:
        """Report every key that nobody asked for."""
        if not isinstance(self.value, Mapping):
            return
        for key in self.value:
            if key not in self.asked:
                message = f"{self.name} has no key {key} in {dialect}"[:200]
                self.child(key).wrong("RB102", message, advice=did_you_mean(str(key), self.asked), at_key=True)

    def made(self, value: Any) -> Made:
        """A part of the canonical form that comes from here."""
        return Made(value, self.path)

    def copy(self, rewrite: Callable[[Node, str], str] | None = None) -> Made:
        """This part as it stands; every text through ``rewrite``."""
        value = self.value
        if isinstance(value, Mapping):
            return self.made({key: self.child(key).copy(rewrite) for key in value})
        if isinstance(value, list):
            return self.made([self.child(index).copy(rewrite) for index in range(len(value))])
        if isinstance(value, str) and rewrite is not None:
            return self.made(rewrite(self, value))
        return self.made(value)


def grown(origin: Node, value: Any) -> Made:
    """Plain data as parts, all of which come from one place."""
    if isinstance(value, Made):
        return value
    if isinstance(value, Mapping):
        return origin.made({key: grown(origin, item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return origin.made([grown(origin, item) for item in value])
    return origin.made(value)


def canonical_source(original: Source, body: Made, top: str) -> Source:
    """The canonical form as a source of its own, with the places of the original file."""
    made = Source(findings=list(original.findings))
    made.value = {top: _laid(original, made, body, (top,))}
    made.values[()] = original.value_at(())
    return made


def _laid(original: Source, made: Source, part: Made, path: Path) -> Any:
    made.keys[path] = original.key_at(part.origin)
    made.values[path] = original.value_at(part.origin)
    value = part.value
    if isinstance(value, Mapping):
        return {key: _laid(original, made, item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_laid(original, made, item, (*path, index)) for index, item in enumerate(value)]
    if part.origin in original.bare and not isinstance(value, str):
        made.bare[path] = original.bare[part.origin]
    return value
