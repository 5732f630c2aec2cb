"""The graph's queries are planned before the first incident needs them."""

from __future__ import annotations

import pytest
from fakes.stores import real_store

from cypher import loader
from services.graph.journal import JOURNAL
from services.graph.ledger import TOGETHER
from services.graph.warm import warm

pytestmark = pytest.mark.stack


async def test_every_query_is_run_once_and_nothing_is_left_behind(stack):
    """Warming a server runs all queries, the writing ones too, and changes nothing."""
    async with real_store(stack) as store:
        count = "MATCH (n) WHERE n.id = '' OR n.key = '' RETURN count(n) AS n"
        before = (await store.graph.driver.execute_query(count)).records[0]["n"]
        ours = {name for name in loader.query_names() if not name.startswith("schema_")} - {*TOGETHER, *JOURNAL}
        # And what a batch of decisions writes, and what the journal does, as one statement each.
        assert await warm(store.graph) == len(ours) + 2
        assert (await store.graph.driver.execute_query(count)).records[0]["n"] == before == 0
