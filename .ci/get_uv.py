"""Print the path of the pinned uv, fetching it into the user's cache when it is not there.

Only Python's standard library is used, because nothing else can be assumed on a fresh machine. The package index is the
one that uv.lock names, or the one that pip or uv are configured for in the environment.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

VERSION = "0.13.8"
WHEELS = {  # (system, machine, libc) -> end of the wheel's name, SHA-256
    ("Linux", "x86_64", "glibc"): (
        "manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984",
    ),
    ("Linux", "aarch64", "glibc"): (
        "manylinux_2_28_aarch64.whl",
        "5337c30bb893b4f9ce0ceb921ba2da0d13f649da644f40ad3bef84083bef0203",
    ),
    ("Linux", "x86_64", ""): (
        "musllinux_1_1_x86_64.whl",
        "29451c60f5e8b07403e0a175d5229efc36b0289b34143ff4aaa499a5dd52553a",
    ),
    ("Darwin", "x86_64", ""): (
        "macosx_10_12_x86_64.whl",
        "b7124ca1956ec2e476a1003ea5715a15f0266afaec37f4dc9c6972ba8183e6d1",
    ),
    ("Darwin", "arm64", ""): (
        "macosx_11_0_arm64.whl",
        "62b6943c7fd64fac6854f780bea6e0359e5a5bc3241f83ee357bb38276afac49",
    ),
}
ROOT = Path(__file__).resolve().parent.parent


def cache_folder() -> Path:
    """Where this project keeps downloads for all checkouts of a user."""
    base = os.environ.get("ROOTMEND_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rootmend"


def index() -> str:
    """Address of the package index."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if os.environ.get(name):
            return os.environ[name].rstrip("/")
    found = re.search(r'registry = "([^"]+)"', (ROOT / "uv.lock").read_text(encoding="utf-8"))
    if not found:
        sys.exit("uv.lock names no package index; set PIP_INDEX_URL")
    return found[1].rstrip("/")


def fetch(url: str) -> bytes:
    """The body of a URL, or a clear end."""
    request = urllib.request.Request(url, headers={"Accept": "text/html"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return bytes(answer.read())
    except OSError as error:
        sys.exit(f"cannot fetch {url}: {error}\nSet PIP_INDEX_URL to a package index that this machine reaches.")


def download() -> bytes:
    """The wheel, checked."""
    key = (platform.system(), platform.machine(), platform.libc_ver()[0])
    if key not in WHEELS:
        sys.exit(f"no pinned uv for {key}; install uv {VERSION} yourself and put it on the PATH")
    ending, digest = WHEELS[key]
    page = f"{index()}/uv/"
    links = re.findall(r'href="([^"]+)"', fetch(page).decode())
    wanted = [link for link in links if f"uv-{VERSION}-" in link and link.split("#")[0].endswith(ending)]
    if not wanted:
        sys.exit(f"{page} has no uv {VERSION} for this machine")
    data = fetch(urllib.parse.urljoin(page, wanted[0].split("#")[0]))
    if hashlib.sha256(data).hexdigest() != digest:
        sys.exit(f"the downloaded uv {VERSION} does not have the pinned hash {digest}")
    return data


def on_path() -> str | None:
    """A uv of the same version that is already installed."""
    found = shutil.which("uv")
    if not found:
        return None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    return found if f" {VERSION}" in said else None


def main() -> None:
    """Print the path."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this runs on whatever Python is there
        sys.exit(f"Python 3.11 or newer is needed; this is {platform.python_version()}. Try: make PYTHON=python3.12")
    program = cache_folder() / f"uv-{VERSION}" / "uv"
    existing = on_path()
    if existing or program.exists():
        print(existing or program)
        return
    print(f"Fetching uv {VERSION} ...", file=sys.stderr)
    with zipfile.ZipFile(io.BytesIO(download())) as wheel:
        body = wheel.read(f"uv-{VERSION}.data/scripts/uv")
    program.parent.mkdir(parents=True, exist_ok=True)
    part = program.with_name(f"uv.{os.getpid()}")
    part.write_bytes(body)
    part.chmod(0o755)
    part.replace(program)
    print(program)


if __name__ == "__main__":
    main()
