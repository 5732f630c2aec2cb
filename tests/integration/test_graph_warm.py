"""The graph's queries are planned before the first incident needs them."""

from __future__ import annotations

import pytest
from fakes.stores import real_store

from cypher import loader
from services.graph.journal import JOURNAL
from services.graph.ledger import TOGETHER
from services.graph.warm import warm

pytestmark = pytest.mark.stack

OF_PEOPLE = ("schema_", "orphans_", "backup_", "restore_", "executions_")
"""What only commands ask for, some of the last ones apart."""


async def test_every_query_is_run_once_and_nothing_is_left_behind(stack):
    """Warming a server runs all queries, the writing ones too, and changes nothing."""
    async with real_store(stack) as store:
        count = "MATCH (n) WHERE n.id = '' OR n.key = '' RETURN count(n) AS n"
        before = (await store.graph.driver.execute_query(count)).records[0]["n"]
        served = {name for name in loader.query_names() if not name.startswith(OF_PEOPLE)} - {*TOGETHER, *JOURNAL}
        # What a batch of decisions writes, and what the journal does, are one statement each; claims have two forms.
        assert await warm(store.graph) >= len(served) + 2
        assert (await store.graph.driver.execute_query(count)).records[0]["n"] == before == 0
