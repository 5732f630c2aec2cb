"""The pages about invariants and reliability name tests and files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEFINED = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
}


def _named(page):
    return re.findall(r"`((?:\.\.\._|test_)\w+)`", (ROOT / "docs" / page).read_text())


@pytest.mark.parametrize("page", ["invariants.md", "reliability.md"])
def test_every_test_that_a_page_names_exists(page):
    """A proof that was renamed or removed must not be claimed any longer."""
    names = _named(page)
    assert len(names) > 20
    endings = [name.removeprefix("...") for name in names if name.startswith("...")]
    missing = [name for name in names if name.startswith("test_") and name not in DEFINED]
    missing += [ending for ending in endings if not any(_of_an_invariant(name, ending) for name in DEFINED)]
    assert missing == []


def _of_an_invariant(name, ending):
    return re.fullmatch(rf"test_invariant_\d+{re.escape(ending)}", name) is not None


def test_every_invariant_of_this_release_has_a_test_of_its_name_that_its_row_names():
    """All twelve."""
    rows = {
        int(row[1]): row[0]
        for row in re.finditer(r"^\| (\d+) \|.*$", (ROOT / "docs" / "invariants.md").read_text(), re.MULTILINE)
    }
    assert sorted(rows) == list(range(1, 13))
    for number, row in rows.items():
        named = [name.removeprefix("...") for name in re.findall(r"`(\.\.\._\w+)`", row)]
        strangers = [name for name in named if f"test_invariant_{number}{name}" not in DEFINED]
        assert strangers == []
        assert named, f"invariant {number} names no test"


def test_every_file_that_the_table_of_invariants_names_exists():
    """A reader who looks for what holds an invariant finds it."""
    text = (ROOT / "docs" / "invariants.md").read_text()
    files = re.findall(r"`((?:safety|services|executor|runbooks|cypher|tests)/[\w/]+\.(?:py|lua|cypher))", text)
    assert len(files) > 20
    assert [name for name in files if not (ROOT / name).exists()] == []
