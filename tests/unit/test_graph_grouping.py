"""Callers that ask at the same time share a statement, and each has its own answer."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.graph.errors import GraphRejected, GraphUnavailable
from services.graph.grouping import Grouped


class Server:
    """Doubles numbers; refuses a group with a negative one, and waits for its door to open."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.groups: list[list[int]] = []
        self.most_at_once = self.at_once = 0
        self.entered, self.door = asyncio.Event(), asyncio.Event()
        if is_open:
            self.door.set()

    async def work(self, items):
        self.groups.append(list(items))
        self.entered.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.door.wait()
        finally:
            self.at_once -= 1
        if any(item < 0 for item in items):
            raise GraphRejected("a negative one")
        return [item * 2 for item in items]


async def test_those_who_ask_in_one_turn_go_together():
    """Ten plans of a batch are one query, and each gets the answer to its own question."""
    server = Server()
    grouped = Grouped(server.work, name="test")
    assert await asyncio.gather(*(grouped.ask(n) for n in range(10))) == [n * 2 for n in range(10)]
    assert server.groups == [list(range(10))]


async def test_one_alone_goes_at_once_and_those_who_come_meanwhile_go_next():
    """Grouping is no wait: nothing is held back to be joined by others."""
    server = Server(is_open=False)
    grouped = Grouped(server.work, name="test")
    first = asyncio.ensure_future(grouped.ask(1))
    await server.entered.wait()
    later = [asyncio.ensure_future(grouped.ask(n)) for n in (2, 3, 4)]
    await asyncio.sleep(0)
    assert server.groups == [[1]]
    server.door.set()
    assert await asyncio.gather(first, *later) == [2, 4, 6, 8]
    assert server.groups == [[1], [2, 3, 4]]


@given(items=st.lists(st.integers(-3, 20), max_size=30), most=st.integers(1, 7), at_once=st.integers(1, 3))
async def test_each_hears_its_own_answer_however_they_are_grouped(items, most, at_once):
    """A refused item fails alone, no group is too large, and no more are under way than allowed."""
    server = Server()
    grouped = Grouped(server.work, name="test", most=most, at_once=at_once)
    answers = await asyncio.gather(*(grouped.ask(item) for item in items), return_exceptions=True)
    assert [isinstance(answer, GraphRejected) for answer in answers] == [item < 0 for item in items]
    assert [answer for answer in answers if not isinstance(answer, Exception)] == [n * 2 for n in items if n >= 0]
    assert all(len(group) <= most for group in server.groups)
    assert server.most_at_once <= at_once


async def test_when_the_server_is_away_everybody_hears_of_it_and_the_next_is_asked_again():
    """Nobody waits for ever, and one failure does not stop the group for good."""
    failures = [GraphUnavailable("gone")]

    async def work(items):
        if failures:
            raise failures.pop()
        return list(items)

    grouped = Grouped(work, name="test")
    answers = await asyncio.gather(*(grouped.ask(n) for n in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [GraphUnavailable] * 3
    assert await grouped.ask(7) == 7


async def test_a_caller_that_gives_up_takes_nothing_from_the_others():
    """What it asked for is done all the same: others may wait for the same statement."""
    server = Server(is_open=False)
    grouped = Grouped(server.work, name="test")
    asked = [asyncio.ensure_future(grouped.ask(n)) for n in range(3)]
    await server.entered.wait()
    asked[1].cancel()
    server.door.set()
    assert await asyncio.gather(asked[0], asked[2]) == [0, 4]
    with pytest.raises(asyncio.CancelledError):
        await asked[1]


async def test_closing_waits_for_what_was_asked():
    """A process that ends loses no write that was handed in."""
    server = Server()
    grouped = Grouped(server.work, name="test", most=1)
    asked = [asyncio.ensure_future(grouped.ask(n)) for n in range(4)]
    await asyncio.sleep(0)
    await grouped.close()
    assert server.groups == [[0], [1], [2], [3]]
    assert await asyncio.gather(*asked) == [0, 2, 4, 6]
