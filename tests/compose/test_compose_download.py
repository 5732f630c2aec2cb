"""Downloads are parallel, resumed, checked, and never half in place."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from compose.artifacts import wheel_url
from compose.download import Download, fetch_all
from compose.errors import DownloadFailed, HashMismatch

CONTENT = bytes(range(256)) * 4096


class Registry:
    """A file server whose answers can be spoiled."""

    def __init__(self):
        self.requests = []
        self.break_after = None
        self.statuses = []
        self.content = CONTENT
        self.ranges = True
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                registry.answer(self)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, handler):
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            handler.send_error(status)
            return
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted and self.ranges else 0
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.break_after is not None:
            body, self.break_after = body[: self.break_after], None
        handler.wfile.write(body)

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def registry():
    served = Registry()
    yield served
    served.close()


def a_download(registry, target, content=CONTENT):
    return Download(f"{registry.url}/{target.name}", target, len(content), hashlib.sha256(content).hexdigest())


def test_many_files_arrive_whole(registry, tmp_path):
    """All files of a list are at their places, and no part file is left."""
    wanted = [a_download(registry, tmp_path / "deep" / f"{number}.jar") for number in range(20)]
    fetch_all(wanted, name="test")
    assert all(download.target.read_bytes() == CONTENT for download in wanted)
    assert not list(tmp_path.rglob("*.part"))


def test_what_is_there_is_not_asked_for_again(registry, tmp_path):
    """A filled cache needs no network."""
    wanted = [a_download(registry, tmp_path / "a.jar")]
    fetch_all(wanted, name="test")
    registry.close()
    fetch_all(wanted, name="test")
    assert len(registry.requests) == 1


def test_a_broken_transfer_goes_on_where_it_stopped(registry, tmp_path):
    """After a broken connection only the rest is asked for."""
    registry.break_after = 300_000
    download = a_download(registry, tmp_path / "a.jar")
    fetch_all([download], name="test")
    assert download.target.read_bytes() == CONTENT
    (_, first), (_, second) = registry.requests
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 300_000


def test_a_later_run_goes_on_with_the_part_of_an_earlier_one(registry, tmp_path):
    """The part that a killed run left is continued."""
    download = a_download(registry, tmp_path / "a.jar")
    download.part.write_bytes(CONTENT[:1000])
    fetch_all([download], name="test")
    assert download.target.read_bytes() == CONTENT
    assert registry.requests == [("/a.jar", "bytes=1000-")]


def test_a_server_without_ranges_starts_again(registry, tmp_path):
    """A mirror that ignores ranges sends the whole file, and that is noticed."""
    registry.ranges = False
    download = a_download(registry, tmp_path / "a.jar")
    download.part.write_bytes(CONTENT[:1000])
    fetch_all([download], name="test")
    assert download.target.read_bytes() == CONTENT


def test_a_damaged_part_is_thrown_away_and_fetched_again(registry, tmp_path):
    """A part with wrong bytes costs a second transfer, not the start of the stack."""
    download = a_download(registry, tmp_path / "a.jar")
    download.part.write_bytes(b"x" * 1000)
    fetch_all([download], name="test")
    assert download.target.read_bytes() == CONTENT


def test_another_file_of_the_same_size_is_refused(registry, tmp_path):
    """A file with another hash is never put in place, and nothing of it stays."""
    registry.content = b"x" * len(CONTENT)
    download = a_download(registry, tmp_path / "a.jar")
    with pytest.raises(HashMismatch, match=r"a\.jar"):
        fetch_all([download], name="test")
    assert list(tmp_path.iterdir()) == []


def test_a_longer_file_is_refused(registry, tmp_path):
    """A page of a proxy in place of a file is refused, also when it is longer."""
    download = a_download(registry, tmp_path / "a.jar", CONTENT[:5000])
    with pytest.raises(HashMismatch):
        fetch_all([download], name="test")
    assert not download.target.exists()


def test_a_server_that_is_busy_is_asked_again(registry, tmp_path):
    """503 and 429 pass."""
    registry.statuses = [503, 429]
    download = a_download(registry, tmp_path / "a.jar")
    fetch_all([download], name="test")
    assert download.present


def test_a_file_that_is_not_there_is_said_at_once(registry, tmp_path):
    """404 is not asked again, and the error names the address."""
    registry.statuses = [404]
    with pytest.raises(DownloadFailed, match=r"a\.jar answered 404"):
        fetch_all([a_download(registry, tmp_path / "a.jar")], name="test")
    assert len(registry.requests) == 1


def test_progress_counts_every_byte_once(registry, tmp_path):
    """The last event says that all is done, also after a broken transfer."""
    registry.break_after = 300_000
    seen = []
    wanted = [a_download(registry, tmp_path / f"{number}.jar") for number in range(3)]
    fetch_all(wanted, name="test", on_event=seen.append, workers=2)
    assert (seen[-1].done, seen[-1].total) == (3 * len(CONTENT), 3 * len(CONTENT))
    assert all(event.done <= event.total for event in seen)


def test_a_wheel_is_found_wherever_the_index_keeps_it(registry, monkeypatch):
    """Links of the index may be relative and carry a hash."""
    registry.content = b'<a href="../../files/aa/demo-1-py3-none-any.whl#sha256=00">demo-1-py3-none-any.whl</a>'
    monkeypatch.setenv("ROOTMEND_PYPI_URL", f"{registry.url}/simple")
    with httpx.Client() as client:
        assert (
            wheel_url(client, "demo", "demo-1-py3-none-any.whl") == f"{registry.url}/files/aa/demo-1-py3-none-any.whl"
        )
        with pytest.raises(DownloadFailed, match="lists no"):
            wheel_url(client, "demo", "demo-2-py3-none-any.whl")
