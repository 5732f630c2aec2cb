"""Every check of the gate: what it lets pass, what it refuses, and that missing data never permit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.gate_cases import CASES, OF_THE_POLICY, Case, names
from fakes.gate_rigs import MemoryRig, RedisRig

from safety.axes import BLAST_IN_FLIGHT, CONCURRENT_CHECKS, RATE_CHECKS
from safety.model import Answer, ApprovalNeeded, GateRequest, Permit, Refusal

OF_THE_STORE = [case for case in CASES if case.missing is None]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.stack)])
async def rig(request):
    """The gate in memory, and the one on a real Redis."""
    if request.param == "memory":
        rig = MemoryRig()
    else:
        rig = await RedisRig(request.getfixturevalue("stack").redis_url).start()
    yield rig
    await rig.close()


async def _asked(rig, case: Case, asked: GateRequest) -> Answer:
    if case.before:
        await case.before(rig)
    (answer,) = await rig.gate.ask([asked])
    return answer


def test_every_check_has_its_cases():
    """A check whose yes, no and missing data nobody tries is found by its name, and so is a case without a check."""
    assert {case.check for case in CASES} == names()
    assert set(RATE_CHECKS) | set(CONCURRENT_CHECKS) | {BLAST_IN_FLIGHT} <= names()


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_check_lets_pass_what_it_is_not_for(rig, case):
    """The nearest request that the check has nothing against gets a permit."""
    assert isinstance(await _asked(rig, case, case.passes), Permit)


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_invariant_5_a_check_refuses_by_its_name_and_consumes_nothing(rig, case):
    """The refusal names the check, says why, and leaves the store as it was, approved or not."""
    if case.before:
        await case.before(rig)
    before = await rig.dump()
    for asked in (case.refused, replace(case.refused, approval_reasons=("careful",))):
        (answer,) = await rig.gate.ask([asked])
        assert isinstance(answer, Refusal), answer
        assert answer.check == case.check
        assert answer.message
    assert await rig.dump() == before


@pytest.mark.parametrize("case", OF_THE_POLICY, ids=str)
async def test_invariant_6_a_check_without_its_data_is_a_no(rig, case):
    """What the check cannot read refuses, by the same name."""
    answer = await _asked(rig, case, case.missing)
    assert isinstance(answer, Refusal), answer
    assert answer.check == case.check


@pytest.mark.parametrize("case", OF_THE_STORE, ids=str)
async def test_invariant_6_a_store_that_forgot_permits_nothing(rig, case):
    """With an emptied store nobody knows what the check compares: a human is asked, also for what would pass."""
    if case.before:
        await case.before(rig)
    await rig.empty()
    for answer in await rig.gate.ask([case.refused, case.passes]):
        assert isinstance(answer, ApprovalNeeded), answer
        assert "gate store away" in answer.reasons[0]


@pytest.mark.stack
@pytest.mark.parametrize("case", OF_THE_STORE, ids=str)
async def test_invariant_6_a_broken_key_in_redis_permits_nothing(stack, case):
    """A key that holds something else than it should is no empty one."""
    rig = await RedisRig(stack.redis_url).start()
    try:
        if case.before:
            await case.before(rig)
        assert await rig.breaks("{acme}:") + await rig.breaks("pause")
        (answer,) = await rig.gate.ask([case.refused])
        assert not isinstance(answer, Permit), answer
    finally:
        await rig.close()
