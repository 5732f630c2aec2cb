"""What every store of API tokens does; the same suite runs on the one in memory and on Neo4j."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from fakes.tokens import MemoryTokens

from safety.access import Grant, Limits
from services.access.tokens import issue

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def memory():
    return MemoryTokens()


@pytest.fixture
async def neo4j(stack):
    from services.graph.connect import GraphSettings, connect  # noqa: PLC0415 - only where the server is wanted
    from services.graph.migrate import migrate  # noqa: PLC0415 - as above
    from services.graph.tokens import Neo4jTokens  # noqa: PLC0415 - as above

    graph = connect(GraphSettings(stack.neo4j_uri, stack.neo4j_user, stack.neo4j_password))
    await migrate(graph)
    yield Neo4jTokens(graph, f"contract-{uuid4()}:")
    await graph.driver.execute_query("MATCH (t:ApiToken) WHERE t.scope STARTS WITH 'contract-' DELETE t")
    await graph.close()


@pytest.fixture(params=["memory", pytest.param("neo4j", marks=pytest.mark.stack)])
def store(request):
    return request.getfixturevalue(request.param)


def made(at=NOW, **changes):
    """A new token."""
    grants = (Grant("operator", Limits(namespaces=("shop", "web-*"))), Grant("viewer"))
    given = {"owner": "ada", "by": "user:ada", "now": at, "lasts": timedelta(days=1), **changes}
    return issue("laptop", grants, **given)


async def test_a_token_comes_back_as_it_was_made_and_never_with_its_text(store):
    """Roles, limits and times are kept; the text is not."""
    text, token = made()
    await store.create(token)
    await store.create(token)
    assert await store.find(token.id) == token
    assert text not in repr(await store.find(token.id))
    assert await store.find("0" * 16) is None


async def test_tokens_are_listed_newest_first(store):
    """What was made last is what one looks for."""
    tokens = [made(NOW + n * MINUTE)[1] for n in range(3)]
    for token in tokens:
        await store.create(token)
    assert [one.id for one in await store.list()] == [one.id for one in reversed(tokens)]


async def test_the_first_revocation_counts_and_is_kept(store):
    """Who ended it, when and why does not change any more."""
    _, token = made()
    await store.create(token)
    assert await store.revoke(token.id, "user:ada", "lost", NOW + MINUTE)
    assert await store.revoke(token.id, "user:bob", "again", NOW + 2 * MINUTE)
    found = await store.find(token.id)
    assert (found.revoked_by, found.revoked_because, found.revoked_at) == ("user:ada", "lost", NOW + MINUTE)
    assert found.status(NOW) == "revoked"
    assert not await store.revoke("0" * 16, "user:ada", "none", NOW)


async def test_the_last_use_only_goes_forward(store):
    """A slow process that notes an earlier time changes nothing."""
    _, token = made()
    await store.create(token)
    await asyncio.gather(*(store.used(token.id, NOW + n * MINUTE) for n in (3, 1, 2)))
    assert (await store.find(token.id)).last_used_at == NOW + 3 * MINUTE


@pytest.mark.stack
async def test_a_token_of_one_installation_opens_no_other(neo4j):
    """Several installations may share a graph."""
    from services.graph.tokens import Neo4jTokens  # noqa: PLC0415 - only where the server is wanted

    _, token = made()
    await neo4j.create(token)
    other = Neo4jTokens(neo4j._graph, f"contract-{uuid4()}:")
    assert await other.find(token.id) is None
    assert await other.list() == []
    assert not await other.revoke(token.id, "user:eve", "mine", NOW)
    assert (await neo4j.find(token.id)).revoked_at is None
