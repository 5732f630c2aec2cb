"""Every Cypher file says what it does, and the loader finds it."""

from __future__ import annotations

import re

import pytest

from cypher import loader


@pytest.mark.parametrize(
    ("folder", "name"),
    [("queries", name) for name in loader.query_names()]
    + [("audit", query.name) for query in loader.audit_queries()]
    + [("migrations", f"{step.version:04}_{step.name}") for step in loader.migrations()],
)
def test_a_file_opens_with_what_it_does_its_parameters_and_its_result(folder, name):
    """Nobody should have to read the query to know what it is for."""
    opening = loader.header(folder, name)
    assert opening.splitlines()[0].endswith((".", ":", ",")) or len(opening.splitlines()) > 1
    assert "Parameters:" in opening
    assert "Returns:" in opening


@pytest.mark.parametrize("name", loader.query_names())
def test_a_header_names_every_parameter(name):
    """The header is the contract of the query."""
    opening = loader.header("queries", name)
    used = set(re.findall(r"\$(\w+)", loader.query(name)))
    assert all(f"${parameter}" in opening for parameter in used)


def test_a_query_is_given_without_its_comments():
    """The server need not read our prose, and the text is the same each time."""
    assert loader.query("schema_versions").startswith("MATCH (m:SchemaMigration)")
    assert loader.query("schema_versions") is loader.query("schema_versions")


def test_queries_are_done_together_each_with_rows_of_its_own():
    """One statement, in the order that was asked for."""
    text = loader.together(("runbook_versions", "decisions_repeat"))
    assert text.index("UNWIND $runbook_versions AS row") < text.index("UNWIND $decisions_repeat AS row")
    assert text.count("CALL () {") == 2
    assert "$rows" not in text


def test_a_query_is_done_for_each_of_several_rows():
    """What was a parameter comes from the row, and each answer says whose it is."""
    text = loader.each("permit_claim")
    assert text.startswith("UNWIND $rows AS row\nCALL (row) {")
    assert re.findall(r"\$\w+", text) == ["$rows"]
    assert "row.claim_id" in text
    assert text.splitlines()[-1].startswith("RETURN row.n AS n, refusal, plan_hash")
    with pytest.raises(ValueError, match="runbook_versions"):
        loader.each("runbook_versions")


@pytest.mark.parametrize("name", ["journal_steps", "permit_claim"])
def test_a_query_whose_answer_counts_is_not_hidden_among_others(name):
    """What it returns would be lost."""
    with pytest.raises(ValueError, match=name):
        loader.together(("runbook_versions", name))


def test_an_unknown_query_is_a_mistake():
    """A misspelt name fails at once."""
    with pytest.raises(KeyError):
        loader.query("no_such_query")


def test_migrations_are_numbered_without_gaps_and_touch_only_our_own_labels():
    """KGroot's constraints are KGroot's."""
    steps = loader.migrations()
    assert [step.version for step in steps] == list(range(1, len(steps) + 1))
    statements = [statement for step in steps for statement in step.statements]
    assert len(statements) > 10
    assert all("IF NOT EXISTS" in statement and ";" not in statement for statement in statements)
    assert not any(re.search(r":(Resource|Episodic|Incident)\b", statement) for statement in statements)


def test_people_find_at_least_ten_audit_queries_with_titles():
    """Each pastes into Neo4j Browser as it is: no parameters to set."""
    queries = loader.audit_queries()
    assert len(queries) >= 10
    assert all(query.title and "$" not in query.text for query in queries)
