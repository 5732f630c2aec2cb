"""What can go wrong with the bus."""

from __future__ import annotations


class BusError(Exception):
    """Base of the bus errors."""


class BusUnavailable(BusError):
    """Kafka did not acknowledge in time. Nothing is lost: the batch is read again."""


class TooLarge(BusError):
    """Kafka takes no message of this length, now or later. All others were acknowledged."""


class TopicsMissing(BusError):
    """Topics that the pipeline needs do not exist, and it may not create them."""
