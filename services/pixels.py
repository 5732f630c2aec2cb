"""What differs between two pictures: Pillow finds where, pixelmatch judges what is there."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from executor.errors import Invalid
from executor.screen_ports import Box, Difference

if TYPE_CHECKING:
    from PIL.Image import Image

_CELL = 64
_MARGIN = 3
"""Pixels around a cell that the detection of anti-aliasing looks at."""
_TOO_MUCH = 0.25
"""Above this share anti-aliasing explains nothing, and looking for it would take long."""
_MARK = (214, 39, 40, 255)
_PALE = 0.8
_MOST_PIXELS = 40_000_000


def difference(old: bytes, new: bytes, boxes: Sequence[Box], tolerance: float) -> Difference:
    """Compare two PNGs.

    Where the sizes differ, what only one of them has counts as different.

    Args:
        old: the baseline.
        new: what is there now.
        boxes: left out in both.
        tolerance: how far a colour may be off, from 0 to 1.

    Raises:
        Invalid: one of them is no picture.
    """
    from PIL import Image  # noqa: PLC0415 - an extra that not everybody has

    before, after = _opened(old, "the baseline"), _opened(new, "the picture")
    size = (max(before.width, after.width), max(before.height, after.height))
    shared = (min(before.width, after.width), min(before.height, after.height))
    for box in boxes:
        for image in (before, after):
            _paint_over(image, box)
    first, second = before.crop((0, 0, *shared)), after.crop((0, 0, *shared))
    marks = _marks(first, second, tolerance)
    whole = Image.new("L", size, 255)
    whole.paste(marks, (0, 0))
    changed = whole.histogram()[255]
    return Difference(
        ratio=changed / (size[0] * size[1]),
        resized=before.size != after.size,
        old_size=before.size,
        new_size=after.size,
        diff=_drawn(after, whole),
    )


def _opened(content: bytes, what: str) -> Image:
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - as above

    try:
        image = Image.open(io.BytesIO(content), formats=("PNG",))
        if image.width * image.height > _MOST_PIXELS:
            raise Invalid(f"{what} has more than {_MOST_PIXELS} pixels")
        return image.convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise Invalid(f"{what} is no PNG: {error}") from error


def _paint_over(image: Image, box: Box) -> None:
    left, top, width, height = box
    image.paste((0, 0, 0, 255), (left, top, min(left + width, image.width), min(top + height, image.height)))


def _marks(old: Image, new: Image, tolerance: float) -> Image:
    """A picture of the same size: white where they differ, black elsewhere."""
    from PIL import Image  # noqa: PLC0415 - as above

    marks = Image.new("L", old.size, 0)
    raw = _raw(old, new)
    if raw.getbbox() is None:
        return marks
    limit = round(tolerance * 255)
    strong = raw.point([255 if value > limit else 0 for value in range(256)])
    if strong.histogram()[255] > _TOO_MUCH * old.width * old.height:
        return strong
    for cell in _cells(old.size):
        if raw.crop(cell).getbbox() is not None:
            marks.paste(_judged(old, new, cell, tolerance), cell[:2])
    return marks


def _raw(old: Image, new: Image) -> Image:
    """The largest difference of any channel, for each pixel."""
    from PIL import ImageChops  # noqa: PLC0415 - as above

    red, green, blue, alpha = ImageChops.difference(old, new).split()
    return ImageChops.lighter(ImageChops.lighter(red, green), ImageChops.lighter(blue, alpha))


def _cells(size: tuple[int, int]) -> Iterator[Box]:
    """Left, top, right and bottom of squares that cover everything: only those with changes are looked at closely."""
    width, height = size
    for top in range(0, height, _CELL):
        for left in range(0, width, _CELL):
            yield left, top, min(left + _CELL, width), min(top + _CELL, height)


def _judged(old: Image, new: Image, cell: Box, tolerance: float) -> Image:
    """The marks of one cell, as pixelmatch sees it with its surroundings."""
    from PIL import Image  # noqa: PLC0415 - as above
    from pixelmatch.contrib.PIL import pixelmatch  # noqa: PLC0415 - as above

    left, top, right, bottom = cell
    around = (
        max(left - _MARGIN, 0),
        max(top - _MARGIN, 0),
        min(right + _MARGIN, old.width),
        min(bottom + _MARGIN, old.height),
    )
    first, second = old.crop(around), new.crop(around)
    mask = Image.new("RGBA", first.size)
    pixelmatch(first, second, mask, threshold=tolerance, includeAA=False, diff_mask=True)
    inner = mask.crop((left - around[0], top - around[1], right - around[0], bottom - around[1]))
    return inner.getchannel("A").point([255 if value else 0 for value in range(256)])


def _drawn(picture: Image, marks: Image) -> bytes:
    """The picture, pale, with the marks on it."""
    from PIL import Image  # noqa: PLC0415 - as above

    canvas = Image.new("RGBA", marks.size, (255, 255, 255, 255))
    canvas.paste(picture, (0, 0))
    pale = Image.blend(canvas, Image.new("RGBA", marks.size, (255, 255, 255, 255)), _PALE)
    pale.paste(_MARK, (0, 0), marks)
    out = io.BytesIO()
    pale.convert("RGB").save(out, "PNG")
    return out.getvalue()
