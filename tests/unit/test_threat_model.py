"""The page of threats names tests and files that exist, and leaves no boundary out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text()
DEFINED = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
}
ROWS = [row.strip("| ").split(" | ") for row in PAGE.splitlines() if re.match(r"\| [STRIDE](?:, [STRIDE])* \|", row)]


def test_every_test_that_the_page_names_exists():
    """A proof that was renamed or removed must not be claimed any longer."""
    named = {name for row in ROWS for name in re.findall(r"`(test_\w+)`", row[-1])}
    assert len(named) > 40
    assert named - DEFINED == set()


def test_every_row_says_threat_defence_place_and_test():
    """A row without a test is a hope."""
    assert len(ROWS) > 35
    for row in ROWS:
        assert len(row) == 5, row
        assert all(cell.strip() for cell in row), row
        assert re.search(r"`test_\w+`", row[-1]), row


def test_every_place_exists():
    """Files and folders that were moved are found here."""
    places = {place for row in ROWS for place in re.findall(r"`([^`]+)`", row[3])}
    assert [place for place in sorted(places) if not (ROOT / place).exists()] == []


@pytest.mark.parametrize(
    "boundary",
    [
        "Kafka in", "HTTP API", "Slack", "Neo4j", "Redis", "Kubernetes API", "Runbook repository", "Plug-ins",
        "Operator's command line", "Outgoing HTTP",
    ],
)  # fmt: skip
def test_no_boundary_is_left_out(boundary):
    """Each has a section with at least one row."""
    section = PAGE.partition(f"## {boundary}\n")[2].partition("\n## ")[0]
    assert re.search(r"^\| [STRIDE]", section, re.MULTILINE)
