"""In order for each key, side by side across keys, bounded."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.keyed import KeyedRunner


@given(keys=st.lists(st.sampled_from("abc"), max_size=30), limit=st.integers(1, 4))
async def test_jobs_of_a_key_run_in_order_and_never_more_than_the_limit(keys, limit):
    """Whatever arrives, each key's jobs keep their order and never overlap."""
    runner, done, running, most = KeyedRunner(limit), [], set(), 0

    def job(number, key):
        async def work():
            nonlocal most
            assert key not in running
            running.add(key)
            most = max(most, len(running))
            await asyncio.sleep(0)
            running.discard(key)
            done.append((key, number))

        return work

    futures = [runner.submit(key, job(number, key)) for number, key in enumerate(keys)]
    await asyncio.gather(*futures)
    await runner.join()
    assert most <= limit
    for key in "abc":
        numbers = [number for its_key, number in done if its_key == key]
        assert numbers == sorted(numbers)
    assert len(done) == len(keys)
    assert runner.pending == 0


async def test_keys_run_side_by_side():
    """A slow target does not hold up another."""
    runner, gate = KeyedRunner(2), asyncio.Event()
    slow = runner.submit("a", gate.wait)

    async def quick():
        return "done"

    assert await runner.submit("b", quick) == "done"
    assert not slow.done()
    gate.set()
    assert await slow is True


async def test_an_error_is_the_callers_and_the_next_job_runs():
    """One failing execution does not block its target for ever."""
    runner = KeyedRunner(1)

    async def bad():
        raise ValueError("no")

    async def good():
        return 1

    first, second = runner.submit("a", bad), runner.submit("a", good)
    with pytest.raises(ValueError, match="no"):
        await first
    assert await second == 1


async def test_stop_lets_running_jobs_finish_and_cancels_the_rest():
    """What never started leaves nothing behind."""
    runner, gate, started = KeyedRunner(1), asyncio.Event(), []

    async def long():
        started.append("long")
        await gate.wait()
        return "finished"

    async def never():
        started.append("never")

    first, second, third = runner.submit("a", long), runner.submit("a", never), runner.submit("b", never)
    await asyncio.sleep(0)
    stopping = asyncio.create_task(runner.stop())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="stopping"):
        runner.submit("c", never)
    assert not stopping.done()
    gate.set()
    await stopping
    assert await first == "finished"
    assert second.cancelled()
    assert third.cancelled()
    assert started == ["long"]


async def test_a_limit_of_nothing_is_refused():
    """It would wait for ever."""
    with pytest.raises(ValueError, match="at least 1"):
        KeyedRunner(0)
