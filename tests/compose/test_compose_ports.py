"""Ports are the usual ones when they are free."""

import os
import socket
import sys

import pytest

from compose import ports


@pytest.fixture
def taken():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_the_usual_port_is_taken_when_it_is_free(taken):
    """A free usual port is kept, so that addresses stay the same from day to day."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    assert ports.choose({"a": free}) == {"a": free}


def test_another_port_is_chosen_when_the_usual_one_is_in_use(taken):
    """A port that somebody listens on is left alone."""
    assert not ports.is_free(taken)
    chosen = ports.choose({"a": taken})["a"]
    assert chosen != taken
    assert ports.is_free(chosen)


def test_one_stack_gives_no_port_away_twice():
    """Two servers that would like the same port get two."""
    given = ports.choose({"a": 65010, "b": 65010}, taken=[65010])
    assert len({*given.values(), 65010}) == 3


def test_a_listener_on_all_addresses_counts():
    """A server on 0.0.0.0 answers on loopback too."""
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))  # noqa: S104 - the case under test
        holder.listen()
        assert not ports.is_free(holder.getsockname()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says who listens")
def test_an_answer_of_another_process_on_the_port_does_not_count(taken):
    """Two stacks that start at once would otherwise take each other's servers for their own."""
    assert ports.is_listened_to_by(os.getpid(), taken)
    assert not ports.is_listened_to_by(os.getppid(), taken)
