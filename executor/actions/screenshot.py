"""Take a picture of a page, and compare it with the one that its author approved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from executor.actions.base import Action, Params, Planned, Stamp, TargetFacts, World
from executor.actions.masking import Revealed, reveal
from executor.actions.needs import NO_RIGHTS
from executor.errors import PlanError, StepFailed
from executor.model import Access, PlannedStep
from executor.screen_ports import Difference, Shot

FOLDER = "screenshots"
"""Baselines lie in this folder beside the runbook."""
_SPARE_SECONDS = 5.0


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | Mapping) else value


class Area(BaseModel):
    """A rectangle in pixels of the picture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    width: int = Field(gt=0)
    height: int = Field(gt=0)


class Viewport(BaseModel):
    """The size of the window in pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(1280, ge=100, le=4096)
    height: int = Field(720, ge=100, le=4096)


class ScreenshotParams(Params):
    """Parameters of ``ui_screenshot``."""

    url: str = Field(description="http or https; may hold secrets as templates")
    selector: str = Field("", description="CSS selector of the element; left out, the whole window")
    name: str = Field(
        "", pattern=r"^[A-Za-z0-9._-]*$", description="Of the picture; left out, made from the selector, else `page`"
    )
    baseline: str = Field(
        "",
        description="File of the approved picture, below `screenshots/` beside the runbook; left out, "
        "`screenshots/baseline-NAME.png` if it is there, else nothing is compared",
    )
    update_baseline: bool = Field(False, description="Write what is seen as the new baseline instead of comparing")
    threshold: float = Field(0.01, ge=0, le=1, description="Share of the pixels that may differ")
    tolerance: float = Field(0.1, ge=0, le=1, description="How far the colour of a pixel may be off")
    on_difference: Literal["fail", "report"] = Field("fail", description="What a difference means for the step")
    masks: Annotated[tuple[str | Area, ...], BeforeValidator(_as_list)] = Field(
        (), description="What is left out: CSS selectors, or rectangles `{x, y, width, height}`"
    )
    viewport: Viewport = Field(Viewport(), description="Size of the window: `{width, height}`")
    full_page: bool = Field(False, description="The page down to its end")
    headers: dict[str, str] = Field({}, description="Sent to the page's own origin only; may hold secrets")
    wait_until: Literal["load", "domcontentloaded", "networkidle"] = Field("load", description="When a page is there")
    wait_for: str = Field("", description="CSS selector that must be visible first")
    wait_text: str = Field("", description="Text that must be visible first")
    wait_seconds: float = Field(0, ge=0, le=60, description="Pause before the picture")
    timeout: float = Field(30.0, gt=0, le=300, description="Seconds for the page to come")

    @model_validator(mode="after")
    def _one_area(self) -> Self:
        if self.selector and self.full_page:
            raise ValueError("a picture shows either the element of the selector or the full page")
        return self

    @property
    def shown_name(self) -> str:
        """The name of the picture."""
        return self.name or re.sub(r"[^A-Za-z0-9._-]+", "-", self.selector).strip("-.") or "page"


class Screenshot(Action[ScreenshotParams]):
    """Take a picture of a page in Chromium and compare it with its baseline; anti-aliasing does not count.

    The output is ``screenshot`` and ``diff`` (paths in the report folder), ``changed_ratio`` and ``passed``; the last
    three are null where nothing is compared. A size that differs is a difference. A baseline is written only with
    ``update_baseline`` or the setting ``screenshots.update_baselines``.
    """

    name = "ui_screenshot"
    aliases = ("screenshot", "ui/screenshot")
    access = Access.READ
    params_model = ScreenshotParams
    rights = NO_RIGHTS
    simulated = "nothing is opened; the address and the baseline are checked"
    undone = "nothing to undo: it only reads"
    targets = "nothing: it only looks"
    example = """\
action: ui_screenshot
params:
  url: https://shop.example.com/status
  selector: "#orders"
  masks: [".clock", {x: 0, y: 0, width: 120, height: 20}]
output_var: picture
"""

    async def plan(self, params: ScreenshotParams, facts: TargetFacts, world: World) -> Planned:
        """Check the address, and find the baseline; the picture is taken in the step's turn."""
        if not params.url.startswith(("http://", "https://")):
            raise PlanError(f"{params.url!r} is no http or https address")
        path = _baseline(params, facts.folder)
        asked = bool(params.baseline) or _updates(params, world)
        if path is not None and not asked and await world.screens.baseline(path) is None:
            path = None
        if path is None and params.update_baseline:
            raise PlanError("the runbook is no file, so there is no place beside it for a baseline")
        given = params.model_dump(mode="json")
        return Planned(params={**given, "baseline": str(path) if path else ""})

    async def perform(self, step: PlannedStep, saved: Mapping[str, Any], stamp: Stamp, world: World) -> Any:
        """Take the picture and compare it.

        Raises:
            StepFailed: it differs, its baseline is missing, or the page did not come.
        """
        params = ScreenshotParams.model_validate(step.params)
        revealed = await reveal({"url": params.url, "headers": params.headers}, world.secrets)
        with revealed.hiding():
            new = await world.screens.capture(_shot(params, revealed))
        return await _judged(params, new, stamp, world)


def _updates(params: ScreenshotParams, world: World) -> bool:
    return params.update_baseline or world.screens.updates


def _baseline(params: ScreenshotParams, folder: str) -> Path | None:
    """Where the baseline is, or would be; None for a runbook that is no file and names none.

    Raises:
        PlanError: it lies outside of the folder for it.
    """
    if not folder:
        if params.baseline:
            raise PlanError(f"the runbook is no file, so {params.baseline!r} beside it cannot be found")
        return None
    home = Path(folder).resolve() / FOLDER
    given = Path(params.baseline or f"baseline-{params.shown_name}.png")
    # A step that is planned again has the whole path already.
    path = given if given.is_absolute() else home / (Path(*given.parts[1:]) if given.parts[0] == FOLDER else given)
    if path.suffix.lower() != ".png" or not path.resolve().is_relative_to(home.resolve()):
        raise PlanError(f"the baseline {params.baseline!r} must be a .png file below {FOLDER}/ beside the runbook")
    return path


async def _judged(params: ScreenshotParams, new: bytes, stamp: Stamp, world: World) -> dict[str, Any]:
    """Keep the picture, and say what differs from the baseline."""
    stem = f"{stamp.step}-{params.shown_name}"
    output: dict[str, Any] = {
        "screenshot": await world.screens.report(stamp.execution, f"{stem}.png", new),
        "diff": None,
        "changed_ratio": None,
        "passed": None,
        "baseline": params.baseline or None,
    }
    if not params.baseline:
        return output
    path = Path(params.baseline)
    if _updates(params, world):
        await world.screens.keep(path, new)
        return {**output, "updated": True}
    old = await world.screens.baseline(path)
    if old is None:
        raise StepFailed(
            f"there is no baseline {path.name} in {path.parent}; look at {output['screenshot']}, "
            "and write it with update_baseline: true"
        )
    boxes = [(mask.x, mask.y, mask.width, mask.height) for mask in params.masks if isinstance(mask, Area)]
    found = await world.screens.compare(old, new, boxes, params.tolerance)
    passed = found.ratio <= params.threshold and not found.resized
    if found.ratio or found.resized:
        output["diff"] = await world.screens.report(stamp.execution, f"{stem}-diff.png", found.diff)
    output |= {"changed_ratio": round(found.ratio, 6), "passed": passed}
    if not passed and params.on_difference == "fail":
        raise StepFailed(_told(params, found, output["diff"]), output=output)
    return output


def _told(params: ScreenshotParams, found: Difference, diff: str) -> str:
    if found.resized:
        sizes = (f"{width} x {height}" for width, height in (found.old_size, found.new_size))
        return f"the size changed from {' to '.join(sizes)}, {found.ratio:.2%} of the pixels differ: {diff}"
    return f"{found.ratio:.2%} of the pixels differ, {params.threshold:.2%} may: {diff}"


def _shot(params: ScreenshotParams, revealed: Revealed) -> Shot:
    return Shot(
        url=revealed.value["url"],
        selector=params.selector,
        full_page=params.full_page,
        masks=tuple(mask for mask in params.masks if isinstance(mask, str)),
        viewport=(params.viewport.width, params.viewport.height),
        headers=revealed.value["headers"],
        wait_until=params.wait_until,
        wait_for=params.wait_for,
        wait_text=params.wait_text,
        wait_seconds=params.wait_seconds,
        timeout_seconds=params.timeout,
    )
