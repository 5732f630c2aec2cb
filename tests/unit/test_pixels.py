"""What counts as a difference between two pictures."""

from __future__ import annotations

import io
import time

import pytest
from fakes.screens import SIZE, png
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pixelmatch.contrib.PIL import pixelmatch

from executor.errors import Invalid
from services.pixels import difference

BOXES = st.tuples(st.integers(0, 190), st.integers(0, 90), st.integers(1, 40), st.integers(1, 20))
COLOURS = st.sampled_from(["red", "black", "#eeeeee", "#2a9d4b", "white"])


def as_image(content):
    return Image.open(io.BytesIO(content)).convert("RGBA")


def test_the_same_picture_does_not_differ_at_all():
    """Not one pixel, and the size stays."""
    found = difference(png(), png(), [], 0.1)
    assert (found.ratio, found.resized) == (0, False)


def test_a_changed_area_counts_its_pixels():
    """A box of 20 by 10 pixels in a picture of 200 by 100 is one percent; it is marked in the difference."""
    found = difference(png(), png(SIZE, ((60, 60, 20, 10), "red")), [], 0.1)
    assert found.ratio == pytest.approx(0.01)
    marked = as_image(found.diff)
    assert marked.size == SIZE
    assert marked.getpixel((65, 65)) == (214, 39, 40, 255)
    assert marked.getpixel((5, 5)) == (255, 255, 255, 255)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(BOXES, COLOURS), max_size=4), st.lists(st.tuples(BOXES, COLOURS), max_size=4))
def test_looking_at_cells_gives_what_the_whole_picture_gives(before, after):
    """Only the changed cells are looked at closely; the result is that of the library on everything."""
    old, new = png(SIZE, *before), png(SIZE, *before, *after)
    found = difference(old, new, [], 0.1)
    whole = pixelmatch(as_image(old), as_image(new), threshold=0.1, includeAA=False) / (SIZE[0] * SIZE[1])
    if whole < 0.2:
        assert found.ratio == pytest.approx(whole)
    else:
        assert found.ratio > 0.1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(BOXES, COLOURS), max_size=4), BOXES)
def test_what_is_left_out_never_differs(boxes, hidden):
    """Whatever happens inside of a masked rectangle."""
    left, top, width, height = hidden
    inside = ((left, top, width, height), "blue")
    assert difference(png(SIZE, *boxes), png(SIZE, *boxes, inside), [hidden], 0.1).ratio == 0


def test_smoother_edges_are_no_difference():
    """Anti-aliasing changes with the graphics of the machine; people do not see it."""

    def circle(smooth):
        scale = 4 if smooth else 1
        image = Image.new("RGB", (400 * scale, 400 * scale), "white")
        ImageDraw.Draw(image).ellipse((50 * scale, 50 * scale, 350 * scale, 350 * scale), fill="black")
        out = io.BytesIO()
        image.resize((400, 400), Image.Resampling.BOX).save(out, "PNG")
        return out.getvalue()

    assert difference(circle(smooth=True), circle(smooth=False), [], 0.1).ratio < 0.001


@pytest.mark.parametrize(("tolerance", "differs"), [(0.01, True), (0.3, False)])
def test_slightly_other_colours_are_a_matter_of_tolerance(tolerance, differs):
    """A shade that people would not notice."""
    found = difference(png(SIZE, ((0, 0, 50, 50), "#808080")), png(SIZE, ((0, 0, 50, 50), "#8a8a8a")), [], tolerance)
    assert (found.ratio > 0) is differs


def test_another_size_is_a_difference():
    """What only one of them has counts, and both sizes are told."""
    found = difference(png((200, 100)), png((200, 125)), [], 0.1)
    assert found.resized
    assert (found.old_size, found.new_size) == ((200, 100), (200, 125))
    assert found.ratio == pytest.approx(0.2)
    assert as_image(found.diff).size == (200, 125)


def test_a_page_that_changed_as_a_whole_is_judged_at_once():
    """The worst case must not take a minute: anti-aliasing cannot explain it."""
    began = time.process_time()
    found = difference(png((1280, 1024)), png((1280, 1024), ((0, 0, 1280, 1024), "black")), [], 0.1)
    assert found.ratio == 1
    assert time.process_time() - began < 5


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_picture_is_refused(content):
    """A damaged baseline is named, and never passes."""
    with pytest.raises(Invalid, match="the baseline is no PNG"):
        difference(content, png(), [], 0.1)
