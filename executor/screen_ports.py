"""Pictures of pages, and what differs between two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol

from executor.errors import NotConfigured

Box = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture to take.

    Attributes:
        selector: of the element; empty for the whole window.
        full_page: the page down to its end, not only the window.
        masks: selectors of elements that are painted over.
        headers: sent to the page's own origin only; they may hold credentials.
        wait_until: what the browser calls a loaded page.
        wait_for: selector of an element that must be visible.
        wait_text: text that must be visible.
        wait_seconds: pause after everything else.
    """

    url: str
    selector: str = ""
    full_page: bool = False
    masks: Sequence[str] = ()
    viewport: tuple[int, int] = (1280, 720)
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_until: Literal["load", "domcontentloaded", "networkidle"] = "load"
    wait_for: str = ""
    wait_text: str = ""
    wait_seconds: float = 0.0
    timeout_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two pictures.

    Attributes:
        ratio: of the pixels that differ, from 0 to 1.
        diff: PNG: the new picture, pale, with the changes marked.
    """

    ratio: float
    resized: bool
    old_size: tuple[int, int]
    new_size: tuple[int, int]
    diff: bytes


class Screens(Protocol):
    """A browser without a window, a folder for reports, and a judge of pictures.

    Errors: ``NotConfigured`` (no browser, or what drives it is not installed), ``StepFailed`` (the page or the element
    did not come), ``Unavailable`` (the browser died).
    """

    @property
    def updates(self) -> bool:
        """Whether baselines are written anew in this process, whatever the step says."""
        ...

    async def capture(self, shot: Shot) -> bytes:
        """A PNG."""
        ...

    async def compare(self, old: bytes, new: bytes, boxes: Sequence[Box], tolerance: float) -> Difference:
        """Compare two PNGs; boxes are left out, anti-aliasing does not count.

        Args:
            old: the baseline.
            new: what the page looks like now.
            boxes: left out in both.
            tolerance: how far a colour may be off, from 0 to 1.
        """
        ...

    async def baseline(self, path: Path) -> bytes | None:
        """A baseline, or None."""
        ...

    async def keep(self, path: Path, content: bytes) -> None:
        """Write a baseline, in one move."""
        ...

    async def report(self, execution: str, name: str, content: bytes) -> str:
        """Put a picture into the folder of an execution; gives its path."""
        ...


class NoScreens:
    """Stands for the browser of a process that was made without."""

    updates = False

    def _no(self) -> NoReturn:
        raise NotConfigured("this process was started without a browser")

    async def capture(self, *_: object, **__: object) -> Any:
        """No browser."""
        self._no()

    async def compare(self, *_: object, **__: object) -> Any:
        """No browser."""
        self._no()

    async def baseline(self, *_: object, **__: object) -> Any:
        """No browser."""
        self._no()

    async def keep(self, *_: object, **__: object) -> Any:
        """No browser."""
        self._no()

    async def report(self, *_: object, **__: object) -> Any:
        """No browser."""
        self._no()
