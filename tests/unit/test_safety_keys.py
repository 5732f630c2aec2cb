"""Names of the keys in Redis."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from safety.keys import Keys, Place

names = st.text(alphabet="ab{}:/% é", min_size=1, max_size=6)
places = st.builds(Place, names, names, names)
KEYS = Keys("rootmend:")


def tag(key: str) -> str:
    """What Redis Cluster hashes: the text between the first opening brace and the next closing one."""
    return key.partition("{")[2].partition("}")[0]


@given(names, names, places)
def test_keys_of_a_tenant_are_on_one_node(execution, target, place):
    """Whatever the names are, the keys of a tenant share a hash tag that is not empty."""
    *scoped, pointer = KEYS.of_execution(execution, target, place)
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
    differ = [
        tenants_differ or execution != execution2,
        tenants_differ or target != target2,
        tenants_differ or place.runbook != place2.runbook,
        tenants_differ or place.runbook != place2.runbook,
        tenants_differ or place.cluster != place2.cluster,
        tenants_differ or place.runbook != place2.runbook,
        tenants_differ or place.runbook != place2.runbook,
        tenants_differ or (place.runbook, target) != (place2.runbook, target2),
        execution != execution2,
    ]
    assert [a != b for a, b in zip(keys, keys2, strict=True)] == differ
    assert len(set(KEYS.of_request(*one))) == 11
