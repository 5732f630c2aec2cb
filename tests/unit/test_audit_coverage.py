"""No change of the graph goes untold."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from cypher import loader
from safety.trail import EntryKind
from services.graph.connect import Graph

ROOT = Path(__file__).parents[2]
WRITING = [name for name in loader.query_names() if loader.writes(name)]
TOLD_BY_A_CALLER = {
    # What is no write of the graph's own: whoever notices it calls the port.
    *("access.login", "access.denied", "override.used"),
    *("token.created", "token.revoked", "autonomy.changed", "segment.begun"),
    *("gate.rebuilt", "graph.restored"),
}


@pytest.mark.parametrize("name", WRITING)
def test_every_query_that_writes_says_how_it_is_told_or_why_it_is_not(name):
    """Its header has a line 'Audit: kind, kind.' or 'Audit: nothing; why.'."""
    lines = [line for line in loader.header("queries", name).splitlines() if line.startswith("Audit:")]
    assert len(lines) == 1, f"{name}.cypher changes the graph: say in its header which entries tell of it"
    kinds = loader.audited_as(name)
    if not kinds:
        assert re.match(r"Audit: (nothing; \w.{10,}|the trail itself)\.$", lines[0]), lines[0]
    assert set(kinds) <= {kind.value for kind in EntryKind}, f"{name}: unknown kinds in {lines[0]}"


def test_queries_that_only_read_say_nothing_of_the_trail():
    """Else the line would mean nothing."""
    reading = [name for name in loader.query_names() if name not in WRITING]
    assert [name for name in reading if "Audit:" in loader.header("queries", name)] == []


def test_every_kind_of_entry_is_told_by_a_query_or_by_a_caller_of_the_port():
    """A kind that nobody tells would be a promise."""
    told = {kind for name in WRITING for kind in loader.audited_as(name)}
    assert {kind.value for kind in EntryKind} - told <= TOLD_BY_A_CALLER


@pytest.mark.parametrize("name", [name for name in WRITING if loader.audited_as(name)])
async def test_a_query_that_is_told_of_cannot_be_written_without_its_entry(name):
    """Not by a mistake of ours either: the graph refuses before anything is sent."""
    graph = Graph(SimpleNamespace())  # type: ignore[arg-type]  # nothing may be sent
    with pytest.raises(ValueError, match=f"{name} has to be told of"):
        await graph.write((name, {}))
    with pytest.raises(ValueError, match=f"{name} has to be told of"):
        await graph.write_repeatable(name)
    with pytest.raises(ValueError, match=f"{name} has to be told of"):
        await graph.write_together({name: []})


def test_nobody_writes_past_the_queries():
    """Cypher that changes something stands in a file with a header, in no Python file."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "services").rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"[\"'](\s*)(MERGE|CREATE|MATCH|DETACH DELETE) \(", line)
    ]
    assert found == []
