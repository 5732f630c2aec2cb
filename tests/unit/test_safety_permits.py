"""Redeeming makes a permit good only once; nobody else can make one."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.memory_gate import HandClock, MemoryPermitLedger

import safety
from safety._seal import Seal
from safety.model import Permit, Refusal
from safety.permits import adopt, redeem
from safety.ports import Claim

TARGET = "prod/shop/Deployment/cart"


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def ledger(clock):
    ledger = MemoryPermitLedger(clock)
    ledger.permit(Claim("e1", "hash-1", TARGET, 100, clock.now() + timedelta(seconds=120), "approval-1"))
    return ledger


async def no(waiting) -> str:
    answer = await waiting
    assert isinstance(answer, Refusal), answer
    return answer.message


async def test_a_permit_is_redeemed(ledger, clock):
    """The claim's facts are the permit's."""
    permit = await redeem(ledger, "e1", "hash-1", "worker-1", 30)
    assert isinstance(permit, Permit)
    assert (permit.execution_id, permit.plan_hash, permit.target_key) == ("e1", "hash-1", TARGET)
    assert (permit.token, permit.approval_id) == (100, "approval-1")


async def test_invariant_1_a_permit_is_redeemed_once(ledger):
    """A second redeeming is refused, for the same holder too."""
    await redeem(ledger, "e1", "hash-1", "worker-1", 30)
    assert await no(redeem(ledger, "e1", "hash-1", "worker-1", 30)) == "it was claimed already"


async def test_invariant_1_a_permit_is_for_one_plan_hash(ledger):
    """The plan that is about to run must be the one that was permitted."""
    assert await no(redeem(ledger, "e1", "hash-2", "worker-1", 30)) == "the permit is for another plan"


async def test_invariant_1_a_permit_expires(ledger, clock):
    """Too late is a no."""
    clock.advance(120)
    assert await no(redeem(ledger, "e1", "hash-1", "worker-1", 30)) == "the permit expired"


async def test_invariant_1_nothing_makes_a_permit_but_the_gate(clock):
    """Without the seal there is no permit, and a seal of one's own does not count."""
    for seal in (None, Seal(), object()):
        with pytest.raises(TypeError, match="only the gate"):
            Permit(seal, "e1", "hash-1", TARGET, 1, clock.now())
    genuine = await redeem_one(clock)
    with pytest.raises(TypeError, match="only the gate"):
        replace(genuine, seal=Seal())


async def redeem_one(clock) -> Permit:
    ledger = MemoryPermitLedger(clock)
    ledger.permit(Claim("e1", "hash-1", TARGET, 1, clock.now() + timedelta(seconds=120)))
    permit = await redeem(ledger, "e1", "hash-1", "worker-1", 30)
    assert isinstance(permit, Permit)
    return permit


def test_invariant_1_the_seal_stays_in_the_room():
    """No module outside of the gate's package knows the seal; within it only those that permit."""
    root = Path(safety.__file__).parents[1]
    packages = ("services", "executor", "matcher", "runbooks", "cypher", "compose", "safety")
    users = {
        str(file.relative_to(root))
        for package in packages
        for file in (root / package).rglob("*.py")
        if re.search(r"\bsafety\._seal\b|\bimport _seal\b|\bSEAL\b", file.read_text(encoding="utf-8"))
    }
    assert users == {"safety/_seal.py", "safety/model.py", "safety/permits.py", "safety/replies.py"}


async def test_invariant_4_a_held_target_is_not_claimed(ledger, clock):
    """Another execution on the same target has to wait for the lease, and for a larger token."""
    later = clock.now() + timedelta(seconds=1000)
    ledger.permit(Claim("e2", "hash-2", TARGET, 101, later))
    ledger.permit(Claim("e0", "hash-0", TARGET, 99, later))
    await redeem(ledger, "e1", "hash-1", "worker-1", 30)
    assert await no(redeem(ledger, "e2", "hash-2", "worker-2", 30)) == "the target is held"
    ledger.end("e1")
    assert await no(redeem(ledger, "e0", "hash-0", "worker-2", 30)) == "a newer holder had the target"
    assert isinstance(await redeem(ledger, "e2", "hash-2", "worker-2", 30), Permit)


async def test_invariant_4_taking_over_grows_the_token(ledger, clock):
    """A crashed holder's execution is adopted when its lease ran out, not earlier, with a larger token."""
    first = await redeem(ledger, "e1", "hash-1", "worker-1", 30)
    assert await no(adopt(ledger, "e1", "worker-2", 30)) == "the target is held"
    clock.advance(31)
    second = await adopt(ledger, "e1", "worker-2", 30)
    assert isinstance(first, Permit)
    assert isinstance(second, Permit)
    assert second.token > first.token


async def test_what_is_not_running_is_not_adopted(ledger):
    """Unknown and unclaimed executions cannot be taken over."""
    for name in ("nobody", "e1"):
        assert await no(adopt(ledger, name, "worker-2", 30)) == "it does not run"


class Confused:
    """A ledger that answers for something else."""

    def __init__(self, claim: Claim) -> None:
        self.answer = claim

    async def claim(self, execution_id, plan_hash, holder, lease_seconds):
        return self.answer

    async def adopt(self, execution_id, holder, lease_seconds):
        return self.answer


async def test_invariant_1_a_confused_ledger_makes_no_permit(clock):
    """A claim for another execution or another plan is refused, whatever the ledger says."""
    claim = Claim("e1", "hash-1", TARGET, 1, clock.now())
    for wrong in (replace(claim, execution_id="e9"), replace(claim, plan_hash="hash-9")):
        await no(redeem(Confused(wrong), "e1", "hash-1", "worker-1", 30))
    await no(adopt(Confused(replace(claim, execution_id="e9")), "e1", "worker-1", 30))
