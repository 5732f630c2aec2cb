"""Reads that finding the target, planning and counting share."""

from __future__ import annotations

import asyncio

import pytest

from executor.errors import Unavailable
from services.kubernetes.recent import RecentCount, RecentReads


class Counting:
    """An API server with one object, which counts how often it is asked."""

    def __init__(self):
        self.asked = 0
        self.away = False
        self.empty = False

    async def get(self, kind, name, namespace=""):
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("away")
        if self.empty:
            return None
        return {"kind": kind, "metadata": {"name": name, "namespace": namespace}, "asked": self.asked}


@pytest.fixture
def cluster():
    return Counting()


async def test_those_who_ask_together_share_one_read(cluster):
    """A decision needs the same object several times; the API server is asked once."""
    reads = RecentReads(cluster, clock=lambda: 0.0)
    found = await asyncio.gather(*(reads.get("Deployment", "shop", "web") for _ in range(5)))
    assert cluster.asked == 1
    assert {one["asked"] for one in found} == {1}


async def test_another_object_is_read_by_itself(cluster):
    """Kind, namespace and name tell objects apart."""
    reads = RecentReads(cluster, clock=lambda: 0.0)
    for key in (("Deployment", "shop", "web"), ("Deployment", "shop", "eu"), ("StatefulSet", "shop", "web")):
        await reads.get(*key)
    assert cluster.asked == 3


async def test_an_answer_is_good_for_its_time_only(cluster):
    """What is older than the limit is read again."""
    now = [0.0]
    reads = RecentReads(cluster, seconds=0.25, clock=lambda: now[0])
    await reads.get("Node", "n1")
    now[0] = 0.24
    await reads.get("Node", "n1")
    assert cluster.asked == 1
    now[0] = 0.25
    await reads.get("Node", "n1")
    assert cluster.asked == 2


async def test_an_error_is_not_kept(cluster):
    """The next one who asks may have more luck."""
    reads = RecentReads(cluster, clock=lambda: 0.0)
    cluster.away = True
    with pytest.raises(Unavailable):
        await reads.get("Node", "n1")
    cluster.away = False
    assert await reads.get("Node", "n1") is not None


async def test_that_something_does_not_exist_is_not_kept(cluster):
    """It may be created the moment after."""
    reads = RecentReads(cluster, clock=lambda: 0.0)
    cluster.empty = True
    assert await reads.get("Node", "n1") is None
    cluster.empty = False
    assert await reads.get("Node", "n1") is not None


async def test_who_gives_up_does_not_take_the_answer_from_others(cluster):
    """A cancelled question goes on for those who wait for the same answer."""
    reads = RecentReads(cluster, clock=lambda: 0.0)
    first = asyncio.ensure_future(reads.get("Node", "n1"))
    second = asyncio.ensure_future(reads.get("Node", "n1"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None
    assert cluster.asked == 1


async def test_the_pods_of_the_cluster_are_counted_once_for_all_plans_of_a_while():
    """Listing thousands of pods for each plan of a storm would keep the API server busy with nothing else."""
    asked, now = [], [0.0]

    async def count():
        asked.append(now[0])
        await asyncio.sleep(0)
        return 5_000

    crowd = RecentCount(seconds=30, clock=lambda: now[0])
    assert await asyncio.gather(*(crowd.of(count) for _ in range(5))) == [5_000] * 5
    now[0] = 29.0
    await crowd.of(count)
    assert asked == [0.0]
    now[0] = 30.0
    await crowd.of(count)
    assert asked == [0.0, 30.0]


async def test_a_count_that_failed_is_kept_for_nobody():
    """The next plan asks again; an unknown number is a no for this one alone."""

    async def away():
        raise Unavailable("away")

    async def three():
        return 3

    crowd = RecentCount(clock=lambda: 0.0)
    with pytest.raises(Unavailable):
        await crowd.of(away)
    assert await crowd.of(three) == 3
