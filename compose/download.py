"""Fetch many files at once: resumed where they stopped, checked by hash, put in place in one move.

A file at its final place has been checked. What is half there has the suffix `.part` and is continued by the next run.
"""

import hashlib
import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import httpx

from compose.errors import DownloadFailed, HashMismatch
from compose.events import Event, OnEvent, Throttle, ignore

_CHUNK = 1 << 18
_ATTEMPTS = 5
_WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Download:
    """A file that is wanted, where it comes from, and how it must look."""

    url: str
    target: Path
    size: int
    sha256: str

    @property
    def part(self) -> Path:
        """Where the file grows until it is whole and checked."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def present(self) -> bool:
        """Whether the checked file is there (the size guards against a full disk or a clumsy hand)."""
        return self.target.is_file() and self.target.stat().st_size == self.size


class _Interrupted(Exception):
    """The transfer broke off; what arrived is kept."""


class _Meter:
    """Counts bytes of all transfers together."""

    def __init__(self, name: str, total: int, on_event: OnEvent) -> None:
        self._name, self._total, self._on_event = name, total, Throttle(on_event)
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._on_event(Event("download", self._name, "downloading", self._done, self._total))


def fetch_all(
    downloads: Iterable[Download],
    *,
    name: str,
    on_event: OnEvent = ignore,
    workers: int = 8,
    client: httpx.Client | None = None,
) -> None:
    """Bring every file to its place; those that are there already cost nothing."""
    missing = [download for download in downloads if not download.present]
    if not missing:
        return
    meter = _Meter(name, sum(download.size for download in missing), on_event)
    own = client or web_client()
    try:
        _in_parallel(own, missing, meter, workers)
    finally:
        if client is None:
            own.close()


def web_client(seconds: float = 30) -> httpx.Client:
    """A client that trusts what the system trusts, so that it also works behind a proxy that inspects TLS."""
    return httpx.Client(
        follow_redirects=True, timeout=httpx.Timeout(seconds, pool=None), verify=ssl.create_default_context()
    )


def _in_parallel(client: httpx.Client, missing: Sequence[Download], meter: _Meter, workers: int) -> None:
    with ThreadPoolExecutor(workers, thread_name_prefix="download") as pool:
        # The largest first: the small ones fill the gaps at the end.
        ordered = sorted(missing, key=lambda download: -download.size)
        running = [pool.submit(_fetch, client, download, meter) for download in ordered]
        done, waiting = wait(running, return_when=FIRST_EXCEPTION)
        for future in waiting:
            future.cancel()
        for future in done:
            future.result()


def _fetch(client: httpx.Client, download: Download, meter: _Meter) -> None:
    download.target.parent.mkdir(parents=True, exist_ok=True)
    reason = ""
    for attempt in range(_ATTEMPTS):
        try:
            resumed = _transfer(client, download, meter)
        except (_Interrupted, httpx.TransportError) as error:
            reason = str(error) or type(error).__name__
            time.sleep(min(0.2 * 2**attempt, 3.0))
            continue
        if _check(download):
            download.part.replace(download.target)
            return
        download.part.unlink()
        meter.add(-download.size)
        if not resumed:
            # A whole transfer with another hash will not get better by asking again.
            break
        reason = "the resumed part was damaged"
    else:
        raise DownloadFailed(
            f"{download.url} could not be downloaded in {_ATTEMPTS} attempts: {reason}.",
            hint="Check the network, or set a mirror in ROOTMEND_MAVEN_URL or ROOTMEND_PYPI_URL. What arrived is kept.",
        )
    raise HashMismatch(
        f"{download.url} is not the file that the lock list names (sha256 {download.sha256}).",
        hint="A mirror or proxy may have answered with a page of its own. Try another one; nothing was installed.",
    )


def _transfer(client: httpx.Client, download: Download, meter: _Meter) -> bool:
    """Append what is missing to the part file. Returns whether it continued an earlier one."""
    have = download.part.stat().st_size if download.part.exists() else 0
    if have > download.size:
        download.part.unlink()
        have = 0
    if have == download.size:
        meter.add(have)
        return True
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with client.stream("GET", download.url, headers=headers) as answer:
        _refuse_bad_status(download, answer)
        resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT and have > 0
        received = have if resumed else 0
        meter.add(received)
        with download.part.open("ab" if resumed else "wb") as out:
            for chunk in answer.iter_raw(_CHUNK):
                received += len(chunk)
                if received > download.size:
                    break
                out.write(chunk)
                meter.add(len(chunk))
    if received < download.size:
        meter.add(-received)
        raise _Interrupted(f"{received} of {download.size} bytes arrived")
    return resumed


def _refuse_bad_status(download: Download, answer: httpx.Response) -> None:
    if answer.status_code in _WORTH_RETRYING:
        raise _Interrupted(f"the server answered {answer.status_code}")
    if answer.is_error:
        raise DownloadFailed(
            f"{download.url} answered {answer.status_code}.",
            hint="The mirror may lack this file; try without ROOTMEND_MAVEN_URL or ROOTMEND_PYPI_URL.",
        )


def _check(download: Download) -> bool:
    digest = hashlib.sha256()
    with download.part.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return download.part.stat().st_size == download.size and digest.hexdigest() == download.sha256
