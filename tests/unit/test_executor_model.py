"""The executor's models: copies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from executor.model import Access, PlannedStep

STEP = PlannedStep(index=1, id="raise", name="Raise", action="kubectl_patch", access=Access.WRITE, idempotent=True,
                   timeout_seconds=60, params={"resource": "deployment"})  # fmt: skip
UPDATES = st.fixed_dictionaries(
    {},
    optional={
        "when": st.booleans(),
        "result": st.none() | st.integers(),
        "params": st.dictionaries(st.text(), st.integers()),
        "deferred": st.lists(st.text()).map(tuple),
        "each": st.just((STEP,)),
    },
)


@given(UPDATES, UPDATES)
def test_a_copy_is_what_pydantic_makes(first, second):
    """Copies of copies are equal to pydantic's own, know the same fields as set, and leave the original alone."""
    before = STEP.model_dump_json()
    ours = STEP.model_copy(update=first).model_copy(update=second)
    theirs = BaseModel.model_copy(BaseModel.model_copy(STEP, update=first), update=second)
    assert ours == theirs
    assert ours.model_fields_set == theirs.model_fields_set
    assert ours.model_dump_json(exclude_unset=True) == theirs.model_dump_json(exclude_unset=True)
    assert PlannedStep.model_validate_json(ours.model_dump_json()).model_dump() == ours.model_dump()
    assert STEP.model_dump_json() == before


def test_a_deep_copy_shares_nothing():
    """A deep copy has parameters of its own."""
    copied = STEP.model_copy(deep=True)
    assert copied == STEP
    assert copied.params is not STEP.params
