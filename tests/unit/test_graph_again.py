"""What Neo4j answers while its cluster chooses another leader is tried again; what it answers for good is not."""

from __future__ import annotations

import pytest
from neo4j.exceptions import Neo4jError

from services.graph.connect import Graph
from services.graph.errors import GraphRejected

PASSING = (
    "Neo.ClientError.Cluster.NotALeader",
    "Neo.ClientError.General.ForbiddenOnReadOnlyDatabase",
    "Neo.TransientError.Transaction.DeadlockDetected",
    "Neo.TransientError.General.DatabaseUnavailable",
    "Neo.TransientError.Transaction.LockAcquisitionTimeout",
)
FOR_GOOD = ("Neo.ClientError.Statement.SyntaxError", "Neo.ClientError.Schema.ConstraintValidationFailed")


class Result:
    async def fetch(self, _):
        return []


class Session:
    """Refuses what is sent by itself with an error, and does what is sent in a transaction that is tried again."""

    def __init__(self, driver):
        self._driver = driver

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def run(self, *_):
        self._driver.alone += 1
        raise self._driver.error

    async def execute_write(self, work):
        self._driver.again += 1
        return await work(Transaction())

    execute_read = execute_write


class Transaction:
    async def run(self, *_):
        return Result()


class Driver:
    def __init__(self, code):
        self.error = Neo4jError._hydrate_neo4j(code=code, message="not now")
        self.alone = self.again = 0

    def session(self, **_):
        return Session(self)


@pytest.mark.parametrize("code", PASSING)
async def test_a_refusal_that_passes_is_tried_again_in_a_transaction(code):
    """A deadlock, or a server that is no longer the leader: the write goes the way that the driver tries again."""
    driver = Driver(code)
    assert await Graph(driver).run_repeatable("RETURN 1", {}) == []
    assert (driver.alone, driver.again) == (1, 1)


@pytest.mark.parametrize("code", FOR_GOOD)
async def test_a_refusal_for_good_is_told_at_once(code):
    """Trying a wrong statement again helps nobody."""
    driver = Driver(code)
    with pytest.raises(GraphRejected):
        await Graph(driver).run_repeatable("RETURN 1", {})
    assert (driver.alone, driver.again) == (1, 0)
