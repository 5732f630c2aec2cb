"""A full disk: the book of anchors takes a whole line or none."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from services.audit.books import BookFile

_FULL = """
import resource, sys
from pathlib import Path
from safety.anchors import Seal
from services.audit.books import BookFile
from services.audit.errors import AuditMisconfigured

class Signer:
    key = "a key"
    def sign(self, message):
        return "signed"

book, signer = BookFile(Path(sys.argv[1])), Signer()
def append():
    return book.append(Seal("2026-01-01T00:00:00Z", "w", "store", (), (), ()), signer)
append()
size = book.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    append()
except AuditMisconfigured as error:
    print(error)
assert book.path.stat().st_size == size, "half a line is left"
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
append()
"""


@pytest.mark.parametrize("room", [0, 1, 100])
def test_an_anchor_that_does_not_fit_leaves_nothing_and_the_next_one_follows(tmp_path, room):
    """Room for a part of a line: the error names the book, what was there stays, and with room again it goes on."""
    book = tmp_path / "anchors.jsonl"
    command = [sys.executable, "-c", _FULL, str(book), str(room)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert f"the book of anchors {book} cannot be written: File too large" in ran.stdout
    assert len([json.loads(line) for line in BookFile(book).lines()]) == 2
