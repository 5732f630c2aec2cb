"""What is left of a batch is done while the next one is handled, and its offsets are committed in order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.kafka.model import Inbound
from services.kafka.settling import Settling

AT = datetime(2026, 3, 1, tzinfo=UTC)


def batch(*offsets, partition=0):
    return [Inbound("alerts", partition, offset, None, b"{}", (), AT) for offset in offsets]


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(1, 4))
def test_batches_are_committed_in_order_however_often_a_rest_fails(failures, most):
    """Each once, and none before its own rest and all before it are done."""

    async def scene():
        done, commits = [], []
        settling = Settling(commits.append, asyncio.Event(), most=most, pauses=(0,))

        def rest_of(number):
            left = [failures[number]]

            async def rest():
                assert len(done) == number
                await asyncio.sleep(0)
                if left[0]:
                    left[0] -= 1
                    raise OSError("Kafka is away")
                done.append(number)

            return rest

        for number in range(len(failures)):
            await settling.add(batch(number), rest_of(number))
            assert len(commits) <= len(done)
        await settling.done()
        assert commits == [[("alerts", 0, number + 1)] for number in range(len(failures))]

    asyncio.run(scene())


async def test_reading_waits_when_too_many_batches_are_unsettled():
    """What cannot be told must not pile up in memory."""
    free = asyncio.Event()
    settling = Settling(lambda _: None, asyncio.Event(), most=2)
    await settling.add(batch(0), free.wait)
    await settling.add(batch(1), None)
    third = asyncio.create_task(settling.add(batch(2), None))
    await turns()
    assert not third.done()
    free.set()
    await third
    await settling.done()


async def test_a_process_that_ends_commits_nothing_behind_what_is_unsettled():
    """Whoever comes next reads all of it again."""
    commits, stopping = [], asyncio.Event()
    settling = Settling(commits.append, stopping, pauses=(0,))

    async def away():
        raise OSError("Kafka is away")

    await settling.add(batch(0), None)
    await settling.add(batch(1), away)
    await settling.add(batch(2), None)
    await turns()
    assert commits == [[("alerts", 0, 1)]]
    stopping.set()
    await settling.done()
    assert commits == [[("alerts", 0, 1)]]


async def test_every_partition_of_a_batch_is_committed_behind_its_last_message():
    """A commit names what comes next, whatever was read meanwhile."""
    commits = []
    settling = Settling(commits.append, asyncio.Event())
    await settling.add([*batch(4, 5), *batch(9, partition=2)], None)
    await settling.done()
    assert commits == [[("alerts", 0, 6), ("alerts", 2, 10)]]


async def test_a_commit_that_fails_does_not_stop_the_next_one():
    """The partition may have gone to another process meanwhile; the next commit covers this one."""
    tried = []

    def commit(places):
        tried.append(places)
        if len(tried) == 1:
            raise RuntimeError("not assigned")

    settling = Settling(commit, asyncio.Event())
    await settling.add(batch(0), None)
    await settling.add(batch(1), None)
    await settling.done()
    assert len(tried) == 2
