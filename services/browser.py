"""A browser without a window: Playwright on the Chromium of the machine. Nothing is downloaded."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from executor.errors import Forbidden, NotConfigured, StepFailed, Unavailable
from executor.screen_ports import Box, Difference, Shot
from services.outgoing.network import GuardedBackend
from services.outgoing.proxy import Gateway, gateway
from services.outgoing.rules import Rules

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page, Route

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")
"""What Chromium is called on the PATH."""
_MISSING = "pictures of pages need the extra: install rootmend[screenshots]"
_ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
    "--disable-dev-shm-usage",
    # Nothing may pass by the proxy that holds the rules.
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-quic",
    # The same letters and colours on each machine, as far as its fonts allow.
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--disable-lcd-text",
)
_MASK_COLOUR = "#000000"
_QUOTED = 300
_PAGE_BYTES = 64 * 1024 * 1024
"""Most that a page and all that it asks for may weigh."""
_NO_EXCEPTIONS = Rules()


class ChromiumScreens:
    """Implements ``executor.screen_ports.Screens``. Each picture has a browser of its own, with nothing left over.

    Args:
        browser: its path; None when there is none.
        reports: folder for pictures.
        updates: write baselines anew.
        sandbox: off for root, whom Chromium refuses otherwise.
        max_parallel: most browsers at a time.
        environment: of the browser: what it needs, and no secrets.
        rules: what pages may call; everything that the browser asks for is held by them.
    """

    def __init__(
        self,
        browser: Path | None,
        reports: Path,
        *,
        updates: bool = False,
        sandbox: bool = True,
        max_parallel: int = 2,
        environment: Mapping[str, str] | None = None,
        rules: Rules = _NO_EXCEPTIONS,
    ) -> None:
        self._browser = browser
        self._reports = reports
        self._updates = updates
        self._sandbox = sandbox
        self._slots = asyncio.Semaphore(max_parallel)
        self._environment = dict(environment or {})
        self._network = GuardedBackend(rules)

    @property
    def updates(self) -> bool:
        """Whether baselines are written anew."""
        return self._updates

    async def capture(self, shot: Shot) -> bytes:
        """A PNG of a page or of an element of it.

        Raises:
            NotConfigured: there is no browser, or Playwright is not installed.
            StepFailed: the page or the element did not come.
            Unavailable: the browser died.
        """
        if self._browser is None:
            raise NotConfigured("there is no Chromium: set screenshots.browser, or run `rb browser`")
        try:
            from playwright.async_api import Error, TimeoutError, async_playwright  # noqa: PLC0415, A004 - an extra
        except ImportError as error:
            raise NotConfigured(_MISSING) from error
        async with self._slots, async_playwright() as playwright, gateway(self._network, _PAGE_BYTES) as way:
            with tempfile.TemporaryDirectory(prefix="rootmend-browser-") as home:
                try:
                    browser = await playwright.chromium.launch(
                        executable_path=self._browser,
                        headless=True,
                        chromium_sandbox=self._sandbox,
                        args=list(_ARGUMENTS),
                        env={**self._environment, "HOME": home},
                        # Chromium would go to this machine directly; Playwright takes this exception away.
                        proxy={"server": way.address, "username": way.user, "password": way.password},
                        timeout=shot.timeout_seconds * 1000,
                    )
                except Error as error:
                    raise Unavailable(f"{self._browser} does not start: {_said(error)}") from error
                try:
                    return await _taken(browser, shot)
                except StepFailed as error:
                    raise _explained(error, way) from error
                except TimeoutError as error:
                    told = f"{_where(shot.url)}: not within {shot.timeout_seconds:g} s: {_first(error, shot.url)}"
                    raise _explained(StepFailed(told), way) from error
                except Error as error:
                    if browser.is_connected():
                        raise _explained(StepFailed(f"{_where(shot.url)}: {_first(error, shot.url)}"), way) from error
                    raise Unavailable(f"the browser died: {_first(error, shot.url)}") from error
                finally:
                    await browser.close()

    async def compare(self, old: bytes, new: bytes, boxes: Sequence[Box], tolerance: float) -> Difference:
        """Compare two PNGs; in a thread, because it is work."""
        try:
            import PIL  # noqa: F401, PLC0415 - whether it can be imported is the question
            import pixelmatch  # noqa: F401, PLC0415 - as above
        except ImportError as error:
            raise NotConfigured(_MISSING) from error
        from services.pixels import difference  # noqa: PLC0415 - needs the extra

        return await asyncio.to_thread(difference, old, new, boxes, tolerance)

    async def baseline(self, path: Path) -> bytes | None:
        """A baseline, or None."""
        return await asyncio.to_thread(lambda: path.read_bytes() if path.is_file() else None)

    async def keep(self, path: Path, content: bytes) -> None:
        """Write a baseline, in one move.

        Raises:
            Forbidden: the folder cannot be written.
        """
        await asyncio.to_thread(_written, path, content)

    async def report(self, execution: str, name: str, content: bytes) -> str:
        """Put a picture into the folder of an execution; gives its path."""
        path = self._reports / _file_name(execution) / _file_name(name)
        await asyncio.to_thread(_written, path, content)
        return str(path)


def find_browser(named: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The browser of the settings, else the first on the PATH, else the one that ``rb browser`` fetched."""
    if named is not None:
        return named
    for name in NAMES:
        if found := shutil.which(name, path=environment.get("PATH")):
            return Path(found)
    return next(_fetched(environment), None)


def _fetched(environment: Mapping[str, str]) -> Iterator[Path]:
    own, shared = environment.get("ROOTMEND_CACHE"), environment.get("XDG_CACHE_HOME")
    home = Path(environment.get("HOME", "~")).expanduser() / ".cache"
    cache = Path(own) if own else (Path(shared) if shared else home) / "rootmend"
    yield from sorted((cache / "browsers").glob("chromium-*/chromium"), reverse=True)


def runs_as_root() -> bool:
    """Chromium refuses its sandbox to root."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def browser_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the browser gets of our variables: none that may hold a secret."""
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "FONTCONFIG_PATH", "FONTCONFIG_FILE")
    return {name: environment[name] for name in kept if name in environment}


async def _taken(browser: Browser, shot: Shot) -> bytes:
    width, height = shot.viewport
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=1,
        locale="en-US",
        timezone_id="UTC",
        color_scheme="light",
        reduced_motion="reduce",
        service_workers="block",
        accept_downloads=False,
    )
    context.set_default_timeout(shot.timeout_seconds * 1000)
    page = await context.new_page()
    if shot.headers:
        await page.route("**/*", _with_headers(shot))
    answer = await page.goto(shot.url, wait_until=shot.wait_until)
    if answer is not None and not answer.ok:
        raise StepFailed(f"{_where(shot.url)} answered {answer.status}")
    await _settled(page, shot)
    masks: list[Locator] = [page.locator(mask) for mask in shot.masks]
    options: dict[str, Any] = {
        "animations": "disabled",
        "caret": "hide",
        "scale": "css",
        "mask": masks,
        "mask_color": _MASK_COLOUR,
    }
    if not shot.selector:
        return await page.screenshot(full_page=shot.full_page, **options)
    element = page.locator(shot.selector)
    await element.first.wait_for(state="visible")
    if (count := await element.count()) > 1:
        raise StepFailed(f"{shot.selector} is the name of {count} elements; one is needed")
    return await element.screenshot(**options)


async def _settled(page: Page, shot: Shot) -> None:
    if shot.wait_for:
        await page.locator(shot.wait_for).first.wait_for(state="visible")
    if shot.wait_text:
        await page.get_by_text(shot.wait_text).first.wait_for(state="visible")
    await page.evaluate("document.fonts.ready.then(() => true)")
    if shot.wait_seconds:
        await page.wait_for_timeout(shot.wait_seconds * 1000)


def _with_headers(shot: Shot) -> Any:
    """Adds the headers to calls of the page's own origin: others must not see its credentials."""
    own = urlsplit(shot.url)[:2]

    async def handle(route: Route) -> None:
        more = shot.headers if urlsplit(route.request.url)[:2] == own else {}
        await route.continue_(headers={**route.request.headers, **more})

    return handle


def _explained(error: StepFailed, way: Gateway) -> StepFailed:
    """With what the rules for outgoing connections refused: the browser itself only sees that something failed."""
    return StepFailed(f"{error}; {'; '.join(way.refused[:3])}") if way.refused else error


def _written(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
            part.write(content)
        Path(part.name).chmod(0o644)
        Path(part.name).replace(path)
    except OSError as error:
        raise Forbidden(f"{path} cannot be written: {error.strerror or error}") from error


def _file_name(text: str) -> str:
    """A name that is no way out of its folder."""
    return "".join(each if each.isalnum() or each in "._-" else "-" for each in text).lstrip(".")[:200] or "picture"


def _where(url: str) -> str:
    """The address without what may be a credential in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _said(error: Exception) -> str:
    """What the browser itself said when it did not start, else what Playwright says."""
    own = (line.partition("[err]")[2].strip() for line in str(error).splitlines())
    return next(filter(None, own), "")[:_QUOTED] or _first(error, "")


def _first(error: Exception, url: str) -> str:
    """What happened, without the browser's log and without the secret parts of the address."""
    text = str(error).partition("Call log:")[0].partition("Browser logs:")[0]
    parts = urlsplit(url)
    for hidden in filter(None, (url, parts.query, parts.fragment, parts.netloc.rpartition("@")[0])):
        text = text.replace(hidden, _where(url) if hidden == url else "***")
    return " ".join(text.split())[:_QUOTED]
