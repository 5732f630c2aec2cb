"""A real OCI registry for tests: Debian's, unpacked without rights, or built from its Go module."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from integration.fetched import Program, find_program, free_port

REGISTRY = Program(
    "registry", "docker-registry", "github.com/distribution/distribution/cmd/registry@v2.8.3+incompatible"
)


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """A running registry; gives its host and port."""
    port = free_port()
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    log = (folder / "registry.log").open("wb")
    child = subprocess.Popen([find_program(REGISTRY), "serve", str(config)], stdout=log, stderr=log)
    try:
        _wait(f"http://127.0.0.1:{port}/v2/", child)
        yield f"127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(10)
        log.close()


def _wait(url: str, child: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if child.poll() is not None:
            raise AssertionError("the registry ended")
        try:
            if httpx.get(url).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError(f"{url} does not answer")
