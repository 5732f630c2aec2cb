"""The hostile inputs in ``tests/hostile``: data, by category, each with what must happen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "hostile"


def cases(category: str) -> list[dict[str, Any]]:
    """The cases of a category."""
    found: list[dict[str, Any]] = json.loads((FOLDER / f"{category}.json").read_text())["cases"]
    return found


def params(category: str, **wanted: Any) -> list[Any]:
    """The cases as parameters of a test; those whose fields are as wanted."""
    chosen = (one for one in cases(category) if all(one.get(name) == value for name, value in wanted.items()))
    return [pytest.param(one, id=one["id"]) for one in chosen]


def content(case: dict[str, Any]) -> bytes:
    """The bytes of a case: its text, its bytes in hex, or a long text told by its parts."""
    if "hex" in case:
        return bytes.fromhex(case["hex"])
    if "repeat" in case:
        before, piece, times, after = case["repeat"]
        return (before + piece * times + after).encode()
    return str(case["text"]).encode("utf-8", "surrogatepass")
