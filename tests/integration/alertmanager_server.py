"""A real Alertmanager for the tests: the one on the PATH, Debian's unpacked without root, or built with Go."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import yaml

PACKAGE = "prometheus-alertmanager"
SHARE = b"/usr/share/prometheus/alertmanager"
GO_MODULE = "github.com/prometheus/alertmanager/cmd/alertmanager@v0.28.1"


class NoAlertmanager(Exception):
    """None of the ways to get an Alertmanager worked."""


def find_alertmanager() -> Path:
    """The binary, from the PATH, the cache, Debian's package, or Go's module proxy. It runs in its own folder."""
    for name in (PACKAGE, "alertmanager"):
        if found := shutil.which(name):
            return Path(found)
    cache = Path(os.environ.get("ROOTMEND_CACHE") or Path.home() / ".cache" / "rootmend")
    home = cache / "alertmanager"
    if not (home / "alertmanager").exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            made = Path(folder) / "alertmanager"
            made.mkdir()
            if not (_from_debian(Path(folder), made) or _from_go(made)):
                raise NoAlertmanager("neither apt-get download nor go install gave an Alertmanager")
            with suppress(OSError):  # another run was quicker
                made.rename(home)
    return home / "alertmanager"


def _from_debian(folder: Path, made: Path) -> bool:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return False
    with suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
        subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True, capture_output=True, timeout=120)
        (package,) = folder.glob("*.deb")
        subprocess.run(["dpkg", "-x", package, folder / "root"], check=True, capture_output=True, timeout=60)
        shutil.copytree(folder / "root" / SHARE.decode().lstrip("/"), made, dirs_exist_ok=True)
        # Debian's build reads its templates from /usr/share, which needs root to fill. A path of the same length
        # that means "here" leaves the program as it is otherwise.
        here = b"./" * (len(SHARE) // 2)
        binary = made / "alertmanager"
        binary.write_bytes((folder / "root" / "usr" / "bin" / PACKAGE).read_bytes().replace(SHARE, here))
        binary.chmod(0o755)
        return True
    return False


def _from_go(folder: Path) -> bool:
    if not shutil.which("go"):
        return False
    env = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-buildvcs=false"}
    with suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
        subprocess.run(["go", "install", GO_MODULE], env=env, check=True, capture_output=True, timeout=900)
        return True
    return False


class Alertmanager:
    """A running Alertmanager and its API."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self.log = log

    async def post(self, labels: dict, *, resolved: bool = False, annotations: dict | None = None) -> None:
        """Fire an alert, or resolve it."""
        now = datetime.now(UTC)
        alert = {
            "labels": labels,
            "annotations": annotations or {},
            "startsAt": (now - timedelta(minutes=1)).isoformat(),
            "endsAt": (now - timedelta(seconds=1) if resolved else now + timedelta(hours=1)).isoformat(),
        }
        async with httpx.AsyncClient() as http:
            (await http.post(f"{self.url}/api/v2/alerts", json=[alert])).raise_for_status()

    async def metric(self, name: str) -> float:
        """Sum over all series of one of its own metrics."""
        async with httpx.AsyncClient() as http:
            page = (await http.get(f"{self.url}/metrics")).text
        return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(name))


@asynccontextmanager
async def run_alertmanager(folder: Path, webhook: str, token: str):
    """Start one that sends everything to ``webhook``, and end it afterwards."""
    port = _free_port()
    config = {
        "route": {
            "receiver": "rootmend",
            "group_by": ["alertname", "namespace"],
            "group_wait": "100ms",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [
            {
                "name": "rootmend",
                "webhook_configs": [
                    {
                        "url": webhook,
                        "send_resolved": True,
                        "http_config": {"authorization": {"type": "Bearer", "credentials": token}},
                    }
                ],
            }
        ],
    }
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    log = folder / "alertmanager.log"
    program = find_alertmanager()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [
                program,
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            cwd=program.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        server = Alertmanager(f"http://127.0.0.1:{port}", log)
        await _until_ready(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(10)


async def _until_ready(server: Alertmanager, process: subprocess.Popen) -> None:
    async with asyncio.timeout(20), httpx.AsyncClient() as http:
        while True:
            if process.poll() is not None:
                raise NoAlertmanager(server.log.read_text())
            with suppress(httpx.TransportError):
                if (await http.get(f"{server.url}/-/ready")).is_success:
                    return
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
