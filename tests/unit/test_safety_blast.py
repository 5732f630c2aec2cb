"""How much an execution may affect."""

from __future__ import annotations

import asyncio

import pytest

from safety.blast import GraphSays, Touched, combine, count, measure, weigh

CART = "Deployment/shop/cart"


@pytest.mark.parametrize(
    ("item", "weight"),
    [
        (Touched(CART, "Deployment", replicas=6), 6),
        (Touched(CART, "Deployment", replicas=0), 1),
        (Touched(CART, "StatefulSet"), None),
        (Touched(CART, "DaemonSet", replicas=-1), None),
        (Touched("Node/n1", "Node", pods=12), 13),
        (Touched("Node/n1", "Node", pods=0), 1),
        (Touched("Node/n1", "Node"), None),
        (Touched("Pod/shop/cart-1", "Pod"), 1),
        (Touched("Secret/shop/pull", "Secret"), 1),
    ],
)
def test_what_an_object_stands_for(item, weight):
    """A workload its replicas, a node itself and its pods, the rest one; unknown stays unknown."""
    assert weigh(item) == weight


def test_each_object_counts_once():
    """Several steps on one object are one object."""
    cart = Touched(CART, "Deployment", replicas=3)
    assert count([cart, cart, Touched("ConfigMap/shop/cart", "ConfigMap")]) == 4


@pytest.mark.parametrize("items", [[], [Touched(CART, "Deployment")], [Touched("a", "Pod"), Touched("n", "Node")]])
def test_invariant_6_an_unknown_part_makes_the_count_unknown(items):
    """Nothing to count, or one object that cannot be counted: no count."""
    assert count(items) is None


def test_the_larger_count_is_the_radius():
    """Both sources are kept, the larger one counts, and neither is less than what the plan names."""
    radius = combine([CART, "Secret/shop/pull", CART], live=6, graph=0)
    assert (radius.live, radius.graph, radius.count) == (6, 2, 6)
    assert radius.resources == (CART, "Secret/shop/pull")


@pytest.mark.parametrize(("live", "graph"), [(None, 3), (3, None), (-1, 3), (None, None)])
def test_invariant_6_a_silent_source_makes_the_radius_unknown(live, graph):
    """One source does not stand in for the other."""
    assert combine([CART], live=live, graph=graph).count is None


class Sources:
    """Two sources that answer, fail or hang."""

    def __init__(self, live, graph):
        self.answers = {"live": live, "graph": graph}

    async def _tell(self, name):
        answer = self.answers[name]
        if answer == "hang":
            await asyncio.sleep(60)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def live(self, touched):
        return await self._tell("live")

    async def graph(self, touched):
        return GraphSays(await self._tell("graph"), 1.0)


@pytest.mark.parametrize(
    ("live", "graph", "radius"),
    [(4, 7, 7), (RuntimeError("API away"), 7, None), (4, RuntimeError("graph away"), None), (4, "hang", None)],
)
async def test_invariant_6_a_source_that_fails_or_hangs_does_not_know(live, graph, radius):
    """An error or no answer in time is unknown, never zero, and the other source is heard all the same."""
    measured = await measure([CART], Sources(live, graph), timeout_seconds=0.05)
    assert measured.count == radius
    assert measured.live == (live if isinstance(live, int) else None)
