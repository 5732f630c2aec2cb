"""What can go wrong between us and Neo4j.

RemediationError (executor)
├── Unavailable
│   └── GraphUnavailable    the server does not answer, or cannot serve now: worth retrying
└── Permanent
    └── GraphRejected       the server refused: wrong credentials, a bad query, a violated constraint
        └── SchemaTooNew    a newer release has migrated this database
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from neo4j.exceptions import DriverError, Neo4jError

from executor.errors import Permanent, Unavailable


class GraphUnavailable(Unavailable):
    """Neo4j does not answer, or cannot serve now."""


class GraphRejected(Permanent):
    """Neo4j refused."""


class SchemaTooNew(GraphRejected):
    """A newer release has migrated this database."""


def translated(error: Neo4jError | DriverError) -> GraphUnavailable | GraphRejected:
    """The same failure in our words. What the driver would retry is unavailable, the rest is refused."""
    text = f"{type(error).__name__}: {error}"
    return GraphUnavailable(text) if _is_temporary(error) else GraphRejected(text)


def _is_temporary(error: Neo4jError | DriverError) -> bool:
    # An incomplete commit is not retried by the driver; all our writes recognise themselves, so we may. A transaction
    # that ran into its time limit met a busy server: our own queries are short.
    timed_out = isinstance(error, Neo4jError) and "TransactionTimedOut" in (error.code or "")
    return timed_out or error.is_retryable() or type(error).__name__ in _TEMPORARY


_TEMPORARY = {"IncompleteCommit", "ConnectionAcquisitionTimeoutError", "ConnectionPoolError", "ServiceUnavailable"}


@contextmanager
def translation() -> Iterator[None]:
    """Translate the driver's errors, with their cause."""
    try:
        yield
    except (Neo4jError, DriverError) as error:
        raise translated(error) from error
    except (OSError, TimeoutError) as error:
        raise GraphUnavailable(f"{type(error).__name__}: {error}") from error
