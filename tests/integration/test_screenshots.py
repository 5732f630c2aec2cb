"""Pictures of real pages in real Chromium, from the step's parameters to the difference on disk."""

from __future__ import annotations

import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.action_rig import EXECUTION, Rig, facts
from fakes.nearby import nearby
from fakes.screens import Entities
from fakes.web import Told, web
from fakes.world import FakeWorld
from PIL import Image

from executor.errors import NotConfigured, StepFailed, Unavailable
from executor.screen_ports import Shot
from services.browser import ChromiumScreens, browser_environment, find_browser, runs_as_root

SELECTOR = "#entity-list"


def screens_of(chromium, folder, **options):
    return ChromiumScreens(
        chromium,
        folder / "reports",
        sandbox=not runs_as_root(),
        **{"environment": browser_environment(os.environ), "rules": nearby(), **options},
    )


@pytest.fixture
def screens(chromium, tmp_path):
    return screens_of(chromium, tmp_path)


@pytest.fixture
def look(screens, tmp_path):
    """Runs the step against a page, with a runbook in a folder of its own."""

    async def run(url, **params):
        world = replace(FakeWorld().ports, screens=screens)
        given = {"url": f"{url}/entities", "selector": SELECTOR, "masks": [".clock"], **params}
        return await Rig(world, "ui_screenshot", given, facts=replace(facts(), folder=str(tmp_path / "rb"))).run()

    return run


def size_of(content):
    return Image.open(io.BytesIO(content)).size


async def test_an_identical_page_passes_below_a_hundredth_of_a_percent(look):
    """Clock and animation move on, and the picture is the same."""
    page = Entities()
    async with web(page) as at:
        await look(at.url, update_baseline=True)
        for _ in range(2):
            output = await look(at.url)
            assert output["passed"] is True
            assert output["changed_ratio"] < 0.0001
    assert page.hits == 3


async def test_an_intended_change_is_flagged_with_a_picture_of_it(look, tmp_path):
    """More than one percent: the step fails, and the difference lies in the folder of the execution."""
    page = Entities()
    async with web(page) as at:
        await look(at.url, update_baseline=True)
        page.colour = "#d03030"
        with pytest.raises(StepFailed, match=r"of the pixels differ, 1\.00% may"):
            await look(at.url)
        output = await look(at.url, on_difference="report")
    assert output["passed"] is False
    assert output["changed_ratio"] > 0.01
    diff = Path(output["diff"])
    assert diff.parent == tmp_path / "reports" / EXECUTION
    assert (214, 39, 40) in {colour for _, colour in Image.open(diff).getcolors(100_000)}


async def test_a_row_more_is_a_change_of_size(look):
    """The element grows, whatever share of it differs."""
    page = Entities()
    async with web(page) as at:
        await look(at.url, update_baseline=True)
        page.rows = 9
        with pytest.raises(StepFailed, match="the size changed from"):
            await look(at.url, threshold=1)


async def test_what_is_not_masked_shows(look):
    """The clock differs from request to request; without its mask it is seen."""
    async with web(Entities()) as at:
        await look(at.url, update_baseline=True, masks=[])
        assert (await look(at.url, masks=[], on_difference="report"))["changed_ratio"] > 0


async def test_the_window_has_the_size_that_is_asked_for(screens):
    """And a full page goes down to its end."""
    async with web(Entities(rows=80)) as at:
        url = f"{at.url}/entities"
        assert size_of(await screens.capture(Shot(url, viewport=(640, 480)))) == (640, 480)
        width, height = size_of(await screens.capture(Shot(url, viewport=(640, 480), full_page=True)))
    assert width == 640
    assert height > 1000


async def test_it_waits_for_what_a_script_adds(screens):
    """A text or an element that comes late; without the wait the picture is another one."""
    async with web(Entities(late="Loaded at last")) as at:
        early = await screens.capture(Shot(f"{at.url}/entities"))
        late = await screens.capture(Shot(f"{at.url}/entities", wait_text="Loaded at last"))
        assert (await screens.compare(early, late, [], 0.1)).ratio > 0
        with pytest.raises(StepFailed, match="not within 1 s"):
            await screens.capture(Shot(f"{at.url}/entities", wait_for="#never", timeout_seconds=1))


@pytest.mark.parametrize(
    ("path", "selector", "said"),
    [
        ("/nowhere", "", "answered 404"),
        ("/entities", "#missing", "not within 2 s"),
        ("/entities", "li", "8 elements"),
        ("/entities", "li[", "(?i)selector|li\\["),
    ],
)
async def test_a_page_that_is_not_what_it_should_be_fails(screens, path, selector, said):
    """A picture of an error page must never become a baseline."""
    async with web(Entities()) as at:
        with pytest.raises(StepFailed, match=said):
            await screens.capture(Shot(at.url + path, selector, timeout_seconds=2))


async def test_nobody_at_home_fails_without_what_may_be_a_secret(screens):
    """The query of an address may hold a token."""
    with pytest.raises(StepFailed) as caught:
        await screens.capture(Shot("http://127.0.0.1:9/status?key=k3y-value", timeout_seconds=5))
    assert "127.0.0.1" in str(caught.value)
    assert "k3y-value" not in str(caught.value)


async def test_headers_go_to_the_page_and_to_no_other_host(screens):
    """A picture from elsewhere must not see the credentials of the page."""
    elsewhere = Entities()
    async with web(elsewhere) as other, web(Entities(more=f'<img src="{other.url}/pixel.png">')) as at:
        await screens.capture(Shot(f"{at.url}/entities", headers={"Authorization": "Bearer k3y"}))
        assert at.asked[0].headers["authorization"] == "Bearer k3y"
        assert [asked.path for asked in elsewhere.seen] == ["/pixel.png"]
        assert "authorization" not in elsewhere.seen[0].headers


async def test_every_picture_is_taken_in_a_browser_of_its_own(screens):
    """Cookies of one page are unknown to the next look."""
    seen = []

    def answer(asked):
        seen.append((asked.path, asked.headers.get("cookie", "")))
        return Told(200, "<p>hi</p>", {"Set-Cookie": "who=me"})

    async with web(answer) as at:
        for _ in range(2):
            await screens.capture(Shot(at.url))
    assert [cookie for path, cookie in seen if path == "/"] == ["", ""]


async def test_the_browser_gets_no_secrets_of_ours(monkeypatch):
    """A page that breaks out of its renderer finds nothing in the environment."""
    monkeypatch.setenv("ROOTMEND_SECRET_DB", "hunter2")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter3")
    assert not {"hunter2", "hunter3"} & set(browser_environment(os.environ).values())


async def test_a_missing_or_broken_browser_is_said(tmp_path):
    """Which one, and what to do."""
    with pytest.raises(NotConfigured, match="rb browser"):
        await screens_of(None, tmp_path).capture(Shot("http://x.example"))
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho no libfoo.so here >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(Unavailable, match=r"does not start: no libfoo\.so here"):
        await screens_of(broken, tmp_path).capture(Shot("http://x.example", timeout_seconds=5))


@pytest.mark.parametrize("missing", ["playwright.async_api", "pixelmatch", "PIL"])
async def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch, missing):
    """A process without pictures does not need what takes them."""
    monkeypatch.setitem(sys.modules, missing, None)
    made = screens_of(tmp_path / "chromium", tmp_path)
    with pytest.raises(NotConfigured, match=r"install rootmend\[screenshots\]"):
        await (made.capture(Shot("http://x.example")) if "playwright" in missing else made.compare(b"", b"", [], 0.1))


def test_the_browser_is_looked_for_in_the_settings_on_the_path_and_in_the_cache(tmp_path):
    """In this order; whoever names one gets that one."""
    fetched = tmp_path / "cache" / "browsers" / "chromium-1" / "chromium"
    fetched.parent.mkdir(parents=True)
    fetched.touch()
    environment = {"PATH": str(tmp_path / "bin"), "ROOTMEND_CACHE": str(tmp_path / "cache")}
    assert find_browser(None, {**environment, "ROOTMEND_CACHE": str(tmp_path / "none")}) is None
    assert find_browser(None, environment) == fetched
    (tmp_path / "bin").mkdir()
    own = tmp_path / "bin" / "google-chrome"
    own.touch(mode=0o755)
    assert find_browser(None, environment) == own
    assert find_browser(tmp_path / "named", environment) == tmp_path / "named"
