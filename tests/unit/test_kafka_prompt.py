"""When a reader hands on what it has."""

from __future__ import annotations

import pytest

from services.kafka.prompt import PromptConsumer


class Queue:
    """Stands for the client: gives what waits, and remembers how long it was allowed to wait."""

    def __init__(self, waiting):
        self.waiting = list(range(waiting))
        self.calls = []

    def consume(self, num_messages, timeout):
        self.calls.append((num_messages, timeout))
        taken, self.waiting = self.waiting[:num_messages], self.waiting[num_messages:]
        return taken

    def close(self):
        return "closed"


def test_a_single_message_is_handed_on_at_once():
    """Only the first message is waited for: the second look takes what is there, and nobody collects."""
    queue = Queue(1)
    assert PromptConsumer(queue, 0.01).consume(500, 0.25) == [0]
    assert queue.calls == [(1, 0.25), (499, 0)]


def test_nothing_is_nothing():
    """An idle reader asks once."""
    queue = Queue(0)
    assert PromptConsumer(queue, 0.01).consume(500, 0.25) == []
    assert queue.calls == [(1, 0.25)]


def test_a_storm_is_collected_for_a_moment():
    """Many messages at once are worth a larger batch."""
    queue = Queue(40)
    assert len(PromptConsumer(queue, 0.01).consume(500, 0.25)) == 40
    assert queue.calls[-1] == (460, 0.01)


@pytest.mark.parametrize("most", [1, 2, 16, 20])
def test_a_batch_is_never_larger_than_asked_for(most):
    """Whatever waits."""
    queue = Queue(1000)
    assert PromptConsumer(queue, 0.01).consume(most, 0.25) == list(range(most))


def test_everything_else_is_the_clients():
    """Commit, seek and close go through."""
    assert PromptConsumer(Queue(0), 0.01).close() == "closed"
