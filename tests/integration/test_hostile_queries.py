"""Hostile values are data in the real graph and in databases, and no query is put together from values."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from fakes.hostile import cases
from neo4j import AsyncGraphDatabase

from cypher import loader
from services.sql import Database, SqlDatabases

ROOT = Path(__file__).parents[2]
TEXTS = [one["text"].encode("utf-8", "replace").decode() for one in cases("texts")]
CALLS = {"run", "execute", "execute_query", "exec_driver_sql", "text", "read", "write", "query"}
STATEMENT = re.compile(r"\b(MATCH|MERGE|DETACH DELETE|UNWIND|SELECT .* FROM|INSERT INTO|UPDATE .* SET|DELETE FROM)\b")


@pytest.mark.stack
async def test_hostile_values_are_data_in_the_real_graph(stack):
    """Each comes back as it went in, and nothing else was done: one query with parameters."""
    async with AsyncGraphDatabase.driver(stack.neo4j_uri, auth=(stack.neo4j_user, stack.neo4j_password)) as driver:
        found = await driver.execute_query("UNWIND $texts AS text RETURN text, {key: text}.key AS again", texts=TEXTS)
    assert [row["text"] for row in found.records] == TEXTS
    assert [row["again"] for row in found.records] == TEXTS


async def test_hostile_values_are_data_in_a_database(tmp_path):
    """Bound, written and read back through the adapter that runbooks use; the table is still there."""
    path = tmp_path / "x.db"

    async def secret(_name):
        return f"sqlite:///{path}"

    databases = SqlDatabases({"x": Database("x_url", write=True)}, secret)
    options = {"max_rows": 1_000, "timeout_seconds": 60}
    await databases.write("x", "CREATE TABLE t (n integer, v text)", {}, **options)
    for number, value in enumerate(TEXTS):
        await databases.write("x", "INSERT INTO t VALUES (:n, :v)", {"n": number, "v": value}, **options)
    answer = await databases.read("x", "SELECT v FROM t ORDER BY n", {}, **options)
    assert [row["v"] for row in answer.rows] == TEXTS
    for value in TEXTS:
        answer = await databases.read("x", "SELECT count(*) AS c FROM t WHERE v = :v", {"v": value}, **options)
        assert answer.rows[0]["c"] >= 1


def built(node):
    """Whether a text is put together from parts that are not known when it is written."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod):
        return any(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in (node.left, node.right))
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and isinstance(node.func.value, ast.Constant)
    )


def literal_parts(node):
    return " ".join(one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str))


def test_no_query_is_put_together_from_values():
    """Cypher lives in files and takes parameters; a statement in the code holds no value of others."""
    found = []
    for room in ("services", "executor", "safety", "matcher", "runbooks", "cypher"):
        for path in (ROOT / room).rglob("*.py"):
            found += [
                f"{path.relative_to(ROOT)}:{node.lineno}"
                for node in ast.walk(ast.parse(path.read_text()))
                if built(node) and STATEMENT.search(literal_parts(node))
            ]
    assert {one.partition(":")[0] for one in found} == REASONED, found


REASONED = {
    # A link for people to paste: the id is one of ours, made of hex digits.
    "services/cli/moments.py",
    # Files of queries that are put together with each other; no value is among them.
    "cypher/loader.py",
}


@pytest.mark.parametrize("name", loader.query_names())
def test_a_query_takes_values_as_parameters_only(name):
    """No place for a value to be put in: neither format braces nor dynamic labels of a procedure that runs text."""
    text = loader.query(name)
    assert not re.search(r"%s|%\(|\{\{|\$\{", text)
    assert not re.search(r"apoc\.cypher|apoc\.do|LOAD CSV", text, re.IGNORECASE)
