"""A browser that paints what it is told, and pages for the real one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fakes.web import Asked, Told
from PIL import Image, ImageDraw

from executor.errors import StepFailed
from executor.screen_ports import Box, Difference, Shot
from services.pixels import difference

SIZE = (200, 100)


def png(size: tuple[int, int] = SIZE, *boxes: tuple[Box, str]) -> bytes:
    """A white picture with coloured boxes."""
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for (left, top, width, height), colour in boxes:
        draw.rectangle((left, top, left + width - 1, top + height - 1), fill=colour)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@dataclass(slots=True)
class FakeScreens:
    """Keeps everything in memory; ``pages`` by address.

    Attributes:
        shots: what was asked for.
    """

    pages: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    shots: list[Shot] = field(default_factory=list)
    updates: bool = False

    async def capture(self, shot: Shot) -> bytes:
        self.shots.append(shot)
        if shot.url not in self.pages:
            raise StepFailed(f"{shot.url} answered 404")
        return self.pages[shot.url]

    async def compare(self, old: bytes, new: bytes, boxes: Sequence[Box], tolerance: float) -> Difference:
        return difference(old, new, boxes, tolerance)

    async def baseline(self, path: Path) -> bytes | None:
        return self.files.get(str(path))

    async def keep(self, path: Path, content: bytes) -> None:
        self.files[str(path)] = content

    async def report(self, execution: str, name: str, content: bytes) -> str:
        path = f"/reports/{execution}/{name}"
        self.files[path] = content
        return path


_PAGE = """<!doctype html><html><head><meta charset="utf-8"><style>
body {{ margin: 0; font: 16px/1.4 sans-serif; }}
#entity-list {{ width: 600px; padding: 10px; border-radius: 8px; border: 1px solid #888; }}
.bar {{ height: 60px; width: 100%; background: {colour}; }}
.clock {{ display: inline-block; width: 200px; }}
@keyframes turn {{ to {{ transform: rotate(360deg); }} }}
.busy {{ animation: turn .3s linear infinite; width: 20px; height: 20px; background: #06c; }}
</style></head><body><h1>Entities</h1><div id="entity-list"><ul>{rows}</ul>
<div class="bar"></div><span class="clock">{clock}</span><div class="busy"></div></div>{more}</body></html>"""


@dataclass(slots=True)
class Entities:
    """A page with a list, a clock that never stands still, and an animation.

    Attributes:
        colour: of a bar; changing it is the intended change.
        late: a text that a script adds after 300 ms.
        hits: how often the page was asked for.
        seen: headers of each request, by path.
    """

    colour: str = "#2a9d4b"
    rows: int = 8
    late: str = ""
    more: str = ""
    hits: int = 0
    seen: list[Asked] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Told:
        self.seen.append(asked)
        if asked.path != "/entities":
            return Told(404, "nothing here")
        self.hits += 1
        rows = "".join(f"<li>Entity {number}: <b>resolved</b></li>" for number in range(self.rows))
        more = self.more
        if self.late:
            more += f"<script>setTimeout(() => document.body.append('{self.late}'), 300)</script>"
        return Told(200, _PAGE.format(colour=self.colour, rows=rows, clock=f"request {self.hits}", more=more))
