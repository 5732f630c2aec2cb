"""Names of the keys in Redis."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from safety.axes import Place
from safety.keys import Keys

names = st.text(alphabet="ab{}:/% é", min_size=1, max_size=6)
places = st.builds(Place, names, names, names, st.tuples(names))
KEYS = Keys("rootmend:")


def tag(key: str) -> str:
    """What Redis Cluster hashes: the text between the first opening brace and the next closing one."""
    return key.partition("{")[2].partition("}")[0]


@given(names, names, places)
def test_keys_of_a_tenant_are_on_one_node(execution, target, place):
    """Whatever the names are, the keys of a tenant share a hash tag that is not empty."""
    first, second, pointer, *counted = KEYS.of_execution(execution, target, place)
    scoped = [first, second, *counted]
    assert len({tag(key) for key in scoped}) == 1
    assert tag(scoped[0])
    assert tag(scoped[0]) == tag(KEYS.of_execution("other", "other", place)[0])
    assert "{" not in pointer


@given(st.tuples(names, names, places), st.tuples(names, names, places))
def test_different_things_have_different_keys(one, other):
    """No spelling makes two tenants, targets, runbooks, clusters or executions share a key."""
    (execution, target, place), (execution2, target2, place2) = one, other
    keys, keys2 = KEYS.of_execution(*one), KEYS.of_execution(*other)
    tenants_differ = place.tenant != place2.tenant
    runbook, cluster, namespace = (
        tenants_differ or getattr(place, name) != getattr(place2, name) for name in ("runbook", "cluster", "namespaces")
    )
    live = [runbook, namespace or cluster, cluster, tenants_differ]
    counts = [*live, tenants_differ or target != target2, runbook or target != target2]
    where = [tenants_differ or execution != execution2, tenants_differ or target != target2, execution != execution2]
    assert [a != b for a, b in zip(keys, keys2, strict=True)] == [*where, *counts, *live]
    requested = KEYS.of_request(*one)
    assert len(set(requested)) == len(requested)
