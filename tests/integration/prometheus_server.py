"""A real Prometheus that reads a real Pushgateway several times a second."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from integration.fetched import NotFetched, Program, find_program, free_port

PROMETHEUS = Program("prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus@v0.305.0")
PUSHGATEWAY = Program("pushgateway", "prometheus-pushgateway", "github.com/prometheus/pushgateway@v1.11.1")
SCRAPE_SECONDS = 0.2


@dataclass(frozen=True)
class Monitoring:
    """Addresses of both."""

    prometheus: str
    pushgateway: str

    async def push(self, group: str, text: str) -> None:
        """Put metrics into the Pushgateway, in the text format."""
        async with httpx.AsyncClient() as http:
            answer = await http.put(f"{self.pushgateway}/metrics/job/{group}", content=text)
            assert answer.is_success, answer.text

    async def value(self, query: str) -> float | None:
        """What a query gives now, when it is one series."""
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"{self.prometheus}/api/v1/query", params={"query": query})
            found = answer.json()["data"]["result"]
            return float(found[0]["value"][1]) if len(found) == 1 else None


@asynccontextmanager
async def run_monitoring(folder: Path):
    """Start both, and end them afterwards."""
    ports = free_port(), free_port()
    server = Monitoring(*(f"http://127.0.0.1:{port}" for port in ports))
    scrape = {
        "job_name": "pushed",
        "honor_labels": True,
        "scrape_interval": f"{int(SCRAPE_SECONDS * 1000)}ms",
        "scrape_timeout": f"{int(SCRAPE_SECONDS * 1000)}ms",
        "static_configs": [{"targets": [f"127.0.0.1:{ports[1]}"]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    commands = (
        [
            find_program(PROMETHEUS),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{ports[0]}",
        ],
        [find_program(PUSHGATEWAY), f"--web.listen-address=127.0.0.1:{ports[1]}"],
    )
    with (folder / "monitoring.log").open("wb") as log:
        processes = [
            subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)  # noqa: ASYNC220 - at once
            for command in commands
        ]
    try:
        for url in (server.prometheus, server.pushgateway):
            await _until_ready(url, processes, folder / "monitoring.log")
        yield server
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(10)


async def _until_ready(url: str, processes: list[subprocess.Popen], log: Path) -> None:
    async with asyncio.timeout(30), httpx.AsyncClient() as http:
        while True:
            if any(process.poll() is not None for process in processes):
                raise NotFetched(log.read_text())  # noqa: ASYNC240 - the test ends here
            with suppress(httpx.TransportError):
                if (await http.get(f"{url}/-/ready")).is_success:
                    return
            await asyncio.sleep(0.05)
