"""What every gate does; the same suite runs on the gate in memory and on Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.gate_rigs import LIMITS, MemoryRig, RedisRig, Rig, approval, request

from compose import docker_engine
from safety.errors import GateUnavailable
from safety.model import Answer, ApprovalNeeded, BlastRadius, GateRecord, GateRequest, Permit, Refusal

TARGET = "prod/shop/Deployment/cart"
OTHER = "prod/shop/Deployment/checkout"


CONTAINER = ["container"] if docker_engine.find().usable else []
"""Where a Docker engine answers, the suite also runs on a server of its own, as a container."""


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.stack), *CONTAINER])
async def rig(request):
    """The gate in memory, and the one on a real Redis with the same hand-moved time."""
    if request.param == "memory":
        rig = MemoryRig()
    elif request.param == "redis":
        rig = await RedisRig(request.getfixturevalue("stack").redis_url).start()
    else:
        rig = await RedisRig(request.getfixturevalue("redis_container")).start()
    yield rig
    await rig.close()


async def one(gate, asked: GateRequest) -> Answer:
    (answer,) = await gate.ask([asked])
    return answer


async def permitted(gate, asked: GateRequest) -> Permit:
    answer = await one(gate, asked)
    assert isinstance(answer, Permit), answer
    assert await gate.confirm([(asked.execution_id, asked.target_key)]) == []
    return answer


async def refused(gate, asked: GateRequest) -> str:
    answer = await one(gate, asked)
    assert isinstance(answer, Refusal), answer
    return answer.check


def record(execution_id: str, rig: Rig, **changes) -> GateRecord:
    now = rig.clock.now()
    plain = GateRecord(
        execution_id=execution_id,
        tenant="acme",
        cluster="prod",
        runbook_id="oom",
        target_key=TARGET,
        plan_hash="hash-1",
        token=int(now.timestamp() * 1000) - 5000,
        granted_at=now - timedelta(seconds=5),
        expires_at=now + timedelta(seconds=115),
        holds_target=True,
    )
    return replace(plain, **changes)


async def test_a_permit_is_for_the_plan_and_expires(rig):
    """A permit names execution, plan and target, and can be redeemed for the permit's time only."""
    answer = await one(rig.gate, request())
    assert isinstance(answer, Permit)
    assert (answer.execution_id, answer.plan_hash, answer.target_key) == ("e1", "hash-1", TARGET)
    assert answer.expires_at == rig.clock.now() + timedelta(seconds=120)
    assert answer.token == int(rig.clock.now().timestamp() * 1000)


async def test_asked_again_it_answers_the_same(rig):
    """An execution that was permitted gets the same permit again, provisional, confirmed or from another process."""
    first = await one(rig.gate, request())
    await rig.advance(30)
    assert await one(rig.gate, request()) == first
    await rig.gate.confirm([("e1", TARGET)])
    await rig.advance(30)
    assert await one(rig.another(), request()) == first


async def test_invariant_1_a_permit_is_good_for_one_plan(rig):
    """The same execution with another plan is refused while the permit lives."""
    await permitted(rig.gate, request())
    assert await refused(rig.gate, request(plan_hash="hash-2")) == "plan_changed"


async def test_invariant_1_a_permit_is_good_once(rig):
    """An execution that ended is never permitted again, not even without a cooldown."""
    await permitted(rig.gate, request())
    await rig.gate.release("e1", TARGET, 0)
    assert await refused(rig.gate, request()) == "used"


async def test_invariant_4_one_execution_holds_a_target(rig):
    """Two executions on one target: the first holds it, also within one batch."""
    first, second = await rig.gate.ask([request("e1"), request("e2", runbook_id="restart")])
    assert isinstance(first, Permit)
    assert isinstance(second, Refusal)
    assert (second.check, second.numbers["holder"]) == ("lock", "e1")


async def test_invariant_4_of_many_workers_one_gets_the_target(rig):
    """Twenty processes ask at once for one target: one permit."""
    gates = [rig.another() for _ in range(20)]
    answers = await asyncio.gather(*(one(gate, request(f"e{i}")) for i, gate in enumerate(gates)))
    assert sum(isinstance(answer, Permit) for answer in answers) == 1


async def test_the_same_name_elsewhere_is_another_target(rig):
    """Neither another cluster nor another tenant is stopped by a lock."""
    await permitted(rig.gate, request("e1"))
    await permitted(rig.gate, request("e2", "staging/shop/Deployment/cart"))
    await permitted(rig.gate, request("e3", tenant="globex"))


async def test_invariant_4_tokens_only_grow(rig):
    """Each holder of a target gets a larger token, also when no time passes."""
    tokens = []
    for i in range(3):
        tokens.append((await permitted(rig.gate, request(f"e{i}"))).token)
        await rig.gate.release(f"e{i}", TARGET, 0)
    assert tokens == sorted(set(tokens))


async def test_invariant_4_a_successor_fences_its_predecessor(rig):
    """Whoever took an execution over renews with a larger token; the predecessor's renewal is refused from then on."""
    token = (await permitted(rig.gate, request())).token
    assert await rig.gate.renew("e1", TARGET, token)
    assert await rig.another().renew("e1", TARGET, token + 1)
    assert not await rig.gate.renew("e1", TARGET, token)
    assert await rig.another().renew("e1", TARGET, token + 1)


async def test_invariant_4_a_lapsed_holder_cannot_renew_past_another(rig):
    """A holder that slept through its lease and lost the target gets False, also after the other one is gone."""
    slept = await permitted(rig.gate, request("e1"))
    await rig.advance(500)
    await permitted(rig.gate, request("e2"))
    assert not await rig.gate.renew("e1", TARGET, slept.token)
    assert not await rig.gate.renew("e1", TARGET, slept.token + 10**9)  # nor does who took it over, whatever its token
    await rig.gate.release("e2", TARGET, 0)
    assert not await rig.gate.renew("e1", TARGET, slept.token)


async def test_a_lapsed_holder_takes_a_free_target_again(rig):
    """A lease that ran out while nobody else came is simply renewed, and locks again."""
    permit = await permitted(rig.gate, request("e1"))
    await rig.advance(500)
    assert await rig.gate.renew("e1", TARGET, permit.token)
    assert await refused(rig.gate, request("e2")) == "lock"


async def test_an_execution_that_asks_again_after_its_lease_does_not_stand_in_its_own_way(rig):
    """It is left out of the count that it fills, and goes on to fill it, from the moment in which it came back."""
    again = limited("e1", max_executions_per_hour=1)
    await permitted(rig.gate, again)
    await rig.advance(1000)
    assert isinstance(await one(rig.gate, again), Permit)
    for seconds in (61, 3000):  # its reservation lapsed; then its first hour is over
        await rig.advance(seconds)
        assert await refused(rig.gate, limited("e2", deployment(2), max_executions_per_hour=1)) == "runbook_rate"
    await rig.advance(600)
    await permitted(rig.gate, limited("e2", deployment(2), max_executions_per_hour=1))


async def test_a_lock_lives_as_long_as_it_is_renewed(rig):
    """Renewing keeps the target locked past any single lease."""
    permit = await permitted(rig.gate, request("e1"))
    for _ in range(5):
        await rig.advance(250)
        assert await rig.gate.renew("e1", TARGET, permit.token)
    assert await refused(rig.gate, request("e2")) == "lock"
    await rig.advance(301)
    await permitted(rig.gate, request("e2"))


async def test_a_released_target_cools_down(rig):
    """After the release the target is left alone for the cooldown, for every runbook, then it is free."""
    await permitted(rig.gate, request("e1"))
    await rig.gate.release("e1", TARGET, 600)
    await rig.advance(599)
    assert await refused(rig.gate, request("e2", runbook_id="restart")) == "cooldown"
    await rig.advance(1)
    await permitted(rig.gate, request("e2", runbook_id="restart"))


async def test_releasing_twice_starts_one_cooldown(rig):
    """A release that is repeated after a crash does not prolong the cooldown, nor free the next holder's lock."""
    await permitted(rig.gate, request("e1"))
    await rig.gate.release("e1", TARGET, 60)
    await rig.advance(60)
    await rig.another().release("e1", TARGET, 60)
    await permitted(rig.gate, request("e2"))
    await rig.gate.release("e1", TARGET, 60)
    assert await refused(rig.gate, request("e3")) == "lock"


async def test_a_stale_release_frees_nobody_elses_lock(rig):
    """A holder that lost the target may report its end; the lock of the new holder stays."""
    await permitted(rig.gate, request("e1"))
    await rig.advance(500)
    await permitted(rig.gate, request("e2"))
    await rig.gate.release("e1", TARGET, 60)
    assert await refused(rig.gate, request("e3")) == "lock"


async def test_the_rate_of_a_runbook_rolls_over_the_hour(rig):
    """Three an hour means three in any hour: a place is free again exactly an hour after it was taken."""
    for i in range(3):
        await permitted(rig.gate, request(f"e{i}", f"prod/shop/Deployment/d{i}"))
        await rig.advance(600)
    fourth = request("e3", OTHER)
    assert await refused(rig.gate, fourth) == "runbook_rate"
    await rig.advance(1799.999)
    assert await refused(rig.gate, fourth) == "runbook_rate"
    await rig.advance(0.001)
    await permitted(rig.gate, fourth)
    assert await refused(rig.gate, request("e4", "prod/shop/Deployment/d4")) == "runbook_rate"


async def test_the_rate_of_a_cluster_counts_all_runbooks(rig):
    """Six an hour for the cluster, whichever runbooks; another cluster and another tenant count for themselves."""
    for i in range(6):
        await permitted(rig.gate, request(f"e{i}", f"prod/shop/Deployment/d{i}", runbook_id=f"r{i}"))
    assert await refused(rig.gate, request("e6", OTHER, runbook_id="r6")) == "cluster_rate"
    await permitted(rig.gate, request("e7", "staging/shop/Deployment/cart", runbook_id="r7"))
    await permitted(rig.gate, request("e8", OTHER, runbook_id="r6", tenant="globex"))


async def test_a_reservation_that_nobody_confirms_lapses_whole(rig):
    """A process that dies between question and record leaves nothing behind: target and rate are free again."""
    for i in range(3):
        assert isinstance(await one(rig.gate, request(f"e{i}", f"prod/shop/Deployment/d{i}")), Permit)
    assert await refused(rig.gate, request("e3", OTHER)) == "runbook_rate"
    await rig.advance(60)
    await permitted(rig.gate, request("e4", "prod/shop/Deployment/d0"))


async def test_a_late_confirmation_is_lost_and_asked_again(rig):
    """A reservation that lapsed is not confirmed; the execution asks again and gets a larger token."""
    first = await one(rig.gate, request())
    await rig.advance(61)
    assert await rig.gate.confirm([("e1", TARGET)]) == ["e1"]
    assert (await permitted(rig.gate, request())).token > first.token


async def test_a_running_execution_counts_though_its_confirmation_got_lost(rig):
    """Renewing confirms: the rate keeps counting what really runs."""
    permit = await one(rig.gate, request("e1", limits=replace(LIMITS, max_executions_per_hour=1)))
    assert await rig.gate.renew("e1", TARGET, permit.token)
    await rig.advance(1000)
    again = request("e2", OTHER, limits=replace(LIMITS, max_executions_per_hour=1))
    assert await refused(rig.gate, again) == "runbook_rate"


async def test_cancelling_gives_everything_back(rig):
    """A permit whose decision was not recorded frees target and rate; the token still grows."""
    limits = replace(LIMITS, max_executions_per_hour=1)
    first = await one(rig.gate, request("e1", limits=limits))
    await rig.gate.cancel("e1", TARGET)
    second = await permitted(rig.gate, request("e2", limits=limits))
    assert second.token > first.token


async def test_confirming_what_nobody_knows_is_lost(rig):
    """A confirmation without a reservation, as after an emptied store, says so."""
    assert await rig.gate.confirm([("never-asked", TARGET)]) == ["never-asked"]


async def test_renewing_what_nobody_knows_is_no_loss(rig):
    """The truth is in the graph; a store that knows nothing takes no lock away."""
    assert await rig.gate.renew("never-asked", TARGET, 1)


async def test_the_pause_switch_stops_every_tenant(rig):
    """While paused nothing new is permitted, whoever asks; the refusal says who paused and why."""
    await rig.gate.pause("ada", "deploy freeze")
    assert await rig.another().paused() == "paused by ada: deploy freeze"
    for i, tenant in enumerate(("acme", "globex")):
        answer = await one(rig.gate, request(f"e{i}", tenant=tenant, approval=approval()))
        assert isinstance(answer, Refusal)
        assert (answer.check, answer.numbers) == ("pause", {"by": "ada", "reason": "deploy freeze"})
    await rig.gate.resume("ada")
    assert await rig.gate.paused() is None
    await permitted(rig.gate, request())


async def test_invariant_10_the_pause_is_seen_before_the_next_step(rig):
    """A running execution reads the pause the moment after it was set, from another process."""
    await permitted(rig.gate, request())
    assert await rig.another().paused() is None
    await rig.gate.pause("ada", "stop")
    assert await rig.another().paused() == "paused by ada: stop"


async def test_invariant_10_the_gate_blocks_neither_pause_nor_the_way_back(rig):
    """With everything refused, pausing works; while paused, executions that roll back keep and free their target."""
    await rig.gate.ask([request(f"e{i}", f"prod/shop/Deployment/d{i}") for i in range(5)])
    await rig.gate.pause("ada", "stop")
    assert await rig.gate.confirm([("e0", "prod/shop/Deployment/d0")]) == []
    token = int(rig.clock.now().timestamp() * 1000)
    assert await rig.gate.renew("e0", "prod/shop/Deployment/d0", token)
    await rig.gate.release("e0", "prod/shop/Deployment/d0", 60)
    await rig.gate.cancel("e1", "prod/shop/Deployment/d1")
    await rig.gate.resume("ada")
    assert await refused(rig.gate, request("e9", "prod/shop/Deployment/d0")) == "cooldown"
    await permitted(rig.gate, request("e8", "prod/shop/Deployment/d1"))


async def test_invariant_10_an_emptied_store_can_be_paused(rig):
    """The pause switch works before anything was restored, and survives the restoring."""
    await rig.empty()
    await rig.gate.pause("ada", "stop")
    await rig.gate.restore([])
    assert await rig.gate.paused() == "paused by ada: stop"


async def test_an_approval_is_asked_for_only_when_nothing_else_speaks_against_it(rig):
    """A human is not bothered with what would be refused anyhow, and the question holds nothing."""
    reasons = ("the runbook asks for it",)
    before = await rig.dump()
    assert await one(rig.gate, request("e1", approval_reasons=reasons)) == ApprovalNeeded(reasons)
    assert await rig.dump() == before
    await permitted(rig.gate, request("e2"))
    assert await refused(rig.gate, request("e1", approval_reasons=reasons)) == "lock"


async def test_an_approved_plan_is_permitted(rig):
    """With a human's yes to this plan the permit carries the approval."""
    permit = await permitted(rig.gate, request(approval_reasons=("careful",), approval=approval()))
    assert permit.approval_id == "approval-1"


async def test_invariant_1_an_approval_is_for_one_plan(rig):
    """A yes to another plan counts for nothing, even where no approval would be needed."""
    for reasons in (("careful",), ()):
        answer = await one(rig.gate, request(approval_reasons=reasons, approval=approval("hash-0")))
        assert isinstance(answer, ApprovalNeeded)


async def test_an_approval_does_not_lift_the_rate(rig):
    """A human's yes answers the approval rule, not the limits."""
    for i in range(3):
        await permitted(rig.gate, request(f"e{i}", f"prod/shop/Deployment/d{i}"))
    assert await refused(rig.gate, request("e3", OTHER, approval=approval())) == "runbook_rate"


async def test_a_limit_of_zero_never_runs_by_itself(rig):
    """Zero executions an hour: each one is asked for, and runs when a human said yes."""
    limits = replace(LIMITS, max_executions_per_hour=0)
    assert isinstance(await one(rig.gate, request(limits=limits)), ApprovalNeeded)
    await permitted(rig.gate, request(limits=limits, approval=approval()))


REFUSED = {
    "request": request(plan_hash=""),
    "limits": request(limits=replace(LIMITS, cooldown_seconds=float("nan"))),
    "protected_namespace": request(namespaces=("kube-system",)),
    "confidence": request(confidence=0.79),
    "blast_radius": request(blast=BlastRadius(11, 1, (TARGET,))),
    "lock": request("new", "prod/shop/Deployment/held"),
    "cooldown": request("new", "prod/shop/Deployment/cooling"),
    "runbook_rate": request("new", limits=replace(LIMITS, max_executions_per_hour=2)),
    "cluster_rate": request("new", runbook_id="fresh"),
    "plan_changed": request("held", "prod/shop/Deployment/held", plan_hash="hash-2"),
    "used": request("cooling", "prod/shop/Deployment/cooling"),
    "pause": request("new", runbook_id="fresh"),
}


@pytest.mark.parametrize("check", REFUSED)
async def test_invariant_5_a_refusal_consumes_nothing(rig, check):
    """Whichever check says no, the store is byte for byte what it was, and so are the times of expiry."""
    for name in ("held", "cooling"):
        await permitted(rig.gate, request(name, f"prod/shop/Deployment/{name}"))
    await rig.gate.release("cooling", "prod/shop/Deployment/cooling", 600)
    if check == "cluster_rate":
        for i in range(4):
            await permitted(rig.gate, request(f"f{i}", f"prod/shop/Deployment/f{i}", runbook_id=f"f{i}"))
    if check == "pause":
        await rig.gate.pause("ada", "stop")
    await rig.advance(1)
    before = await rig.dump()
    assert await refused(rig.gate, REFUSED[check]) == check
    assert await rig.dump() == before


MISSING = {
    "confidence": request(confidence=None),
    "confidence is not a number": request(confidence=float("nan")),
    "count of the graph": request(blast=BlastRadius(None, 1, (TARGET,))),
    "count of the live cluster": request(blast=BlastRadius(1, None, (TARGET,))),
    "resources": request(blast=BlastRadius(0, 0, ())),
    "tenant": request(tenant=""),
    "cluster": request(cluster=""),
    "cluster of the target": request(target_key="shop/Deployment/cart"),
    "plan": request(plan_hash=" "),
    "limit": request(limits=replace(LIMITS, min_confidence=float("nan"))),
    "name of who approved": request(approval=replace(approval(), answered_by="")),
}


@pytest.mark.parametrize("what", MISSING)
async def test_invariant_6_missing_data_never_permits(rig, what):
    """Each thing that cannot be read is a no."""
    assert isinstance(await one(rig.gate, MISSING[what]), Refusal)


async def test_invariant_6_an_emptied_store_permits_nothing_by_itself(rig):
    """Forgotten locks, rates and pauses are missing data: approval only, and no word on the pause, until restored."""
    await permitted(rig.gate, request("e1"))
    await rig.empty()
    assert isinstance(await one(rig.gate, request("e2", OTHER)), ApprovalNeeded)
    with pytest.raises(GateUnavailable):
        await rig.gate.paused()
    await rig.gate.restore([])
    await permitted(rig.gate, request("e2", OTHER))


async def test_what_was_held_is_restored(rig):
    """A running execution gets its lock back with its token, and answers its own question with the same permit."""
    await rig.empty()
    mine = record("e1", rig)
    await rig.gate.restore([mine])
    assert await refused(rig.gate, request("e2")) == "lock"
    answer = await one(rig.gate, request("e1"))
    assert isinstance(answer, Permit)
    assert (answer.token, answer.expires_at) == (mine.token, mine.expires_at)
    assert await rig.gate.renew("e1", TARGET, mine.token)
    await rig.gate.release("e1", TARGET, 60)
    assert await refused(rig.gate, request("e2")) == "cooldown"


async def test_what_cools_down_is_restored(rig):
    """The rest of a cooldown is kept, and the next token is larger than the last one."""
    await rig.empty()
    late = rig.clock.now() + timedelta(seconds=90)
    token = int(late.timestamp() * 1000)
    await rig.gate.restore([record("e1", rig, holds_target=False, cooldown_until=late, token=token)])
    assert await refused(rig.gate, request("e1")) == "used"
    assert await refused(rig.gate, request("e2")) == "cooldown"
    await rig.advance(90)
    assert (await permitted(rig.gate, request("e2"))).token > token


async def test_rates_are_restored(rig):
    """Executions of the last hour count on, older ones do not."""
    await rig.empty()
    now = rig.clock.now()
    minutes = (61, 59, 10, 5)
    records = [
        record(
            f"e{i}",
            rig,
            target_key=f"prod/s/Deployment/d{i}",
            granted_at=now - timedelta(minutes=m),
            holds_target=False,
        )
        for i, m in enumerate(minutes)
    ]
    await rig.gate.restore(records)
    assert await refused(rig.gate, request("new")) == "runbook_rate"
    await rig.advance(60)
    await permitted(rig.gate, request("new"))


async def test_a_long_list_is_restored_and_asked_whole(rig):
    """Hundreds of records and questions are all heard, each in its place."""
    await rig.empty()
    targets = [f"prod/shop/Deployment/d{i}" for i in range(450)]
    await rig.gate.restore([record(f"e{i}", rig, target_key=target) for i, target in enumerate(targets)])
    answers = await rig.gate.ask([request(f"n{i}", target) for i, target in enumerate(targets)])
    assert [answer.numbers["holder"] for answer in answers] == [f"e{i}" for i in range(450)]


async def test_restoring_weakens_nothing(rig):
    """Old records neither free a lock, nor shorten a cooldown, nor let an ended execution run again."""
    await permitted(rig.gate, request("e1"))
    await rig.gate.release("e1", TARGET, 600)
    holder = await permitted(rig.gate, request("e2", OTHER))
    stale = rig.clock.now() + timedelta(seconds=1)
    ended = record("e0", rig, target_key=OTHER, holds_target=False, cooldown_until=stale)
    await rig.gate.restore([record("e1", rig), ended, record("e9", rig, target_key=OTHER)])
    assert await rig.gate.renew("e2", OTHER, holder.token)
    await rig.advance(2)
    assert await refused(rig.gate, request("e1")) == "used"
    assert await refused(rig.gate, request("e3")) == "cooldown"
    assert await refused(rig.gate, request("e3", OTHER)) == "lock"


async def test_restoring_ends_what_the_records_say_ended(rig):
    """A release that never reached the store is made up for: the lock is gone, the cooldown is there."""
    permit = await permitted(rig.gate, request("e1"))
    until = rig.clock.now() + timedelta(seconds=60)
    await rig.gate.restore([record("e1", rig, token=permit.token, holds_target=False, cooldown_until=until)])
    assert await refused(rig.gate, request("e2")) == "cooldown"
    await rig.advance(60)
    await permitted(rig.gate, request("e2"))


async def test_a_length_of_time_makes_sense(rig):
    """A cooldown that is no number is an error of the caller, not a free target."""
    await permitted(rig.gate, request("e1"))
    for wrong in (float("nan"), -1, float("inf")):
        with pytest.raises(ValueError, match="not a length of time"):
            await rig.gate.release("e1", TARGET, wrong)
    assert await refused(rig.gate, request("e2")) == "lock"


async def test_a_batch_is_answered_in_order(rig):
    """Answers stand where their questions stood, whatever they are."""
    asked = [
        request("e0", confidence=0.1),
        request("e1"),
        request("e2", OTHER, approval_reasons=("careful",)),
        request("e3"),
        request("e4", OTHER),
    ]
    kinds = [type(answer) for answer in await rig.gate.ask(asked)]
    assert kinds == [Refusal, Permit, ApprovalNeeded, Refusal, Permit]
    assert await rig.gate.ask([]) == []


def limited(execution_id: str, target: str = TARGET, **limits) -> GateRequest:
    return request(execution_id, target, limits=replace(LIMITS, **limits))


def deployment(number: int) -> str:
    return f"prod/shop/Deployment/d{number}"


@pytest.mark.parametrize(
    ("name", "check", "seconds"),
    [
        ("max_executions_per_minute", "runbook_rate_minute", 60),
        ("max_executions_per_day", "runbook_rate_day", 86_400),
    ],
)
async def test_a_rate_counts_in_its_own_window(rig, name, check, seconds):
    """Two a minute or two a day: the third waits until exactly one window after the first."""
    for number in range(2):
        await permitted(rig.gate, limited(f"e{number}", deployment(number), **{name: 2}))
        await rig.advance(10)
    third = limited("e2", deployment(2), **{name: 2, "max_executions_per_hour": 100})
    answer = await one(rig.gate, third)
    assert isinstance(answer, Refusal)
    assert (answer.check, answer.numbers) == (check, {"used": 2.0, "limit": 2.0})
    await rig.advance(seconds - 20.001)
    assert await refused(rig.gate, third) == check
    await rig.advance(0.001)
    await permitted(rig.gate, third)


async def test_a_rate_that_came_later_counts_what_ran_before(rig):
    """Every window is counted for every runbook, so that a new limit need not begin at nothing."""
    for number in range(2):
        await permitted(rig.gate, request(f"e{number}", deployment(number)))
    assert await refused(rig.gate, limited("e2", OTHER, max_executions_per_day=2)) == "runbook_rate_day"


async def test_a_runbook_runs_no_more_often_at_the_same_time_than_it_allows(rig):
    """Of two at once the second waits until the first is over; another runbook and another tenant do not."""
    first = await permitted(rig.gate, limited("e1", max_concurrent=1))
    second = limited("e2", OTHER, max_concurrent=1)
    answer = await one(rig.gate, second)
    assert isinstance(answer, Refusal)
    assert (answer.check, answer.numbers) == ("concurrent", {"used": 1.0, "limit": 1.0})
    await permitted(rig.gate, replace(second, execution_id="e3", runbook_id="restart"))
    await permitted(rig.gate, replace(second, execution_id="e4", tenant="globex"))
    for _ in range(3):
        await rig.advance(250)
        assert await rig.gate.renew("e1", TARGET, first.token)
    assert await refused(rig.gate, limited("e5", deployment(5), max_concurrent=1)) == "concurrent"
    await rig.gate.release("e1", TARGET, 0)
    await permitted(rig.gate, limited("e6", deployment(6), max_concurrent=1))


async def test_what_lapses_or_is_cancelled_does_not_count_as_running(rig):
    """A dead process keeps nobody from running longer than its lease."""
    await one(rig.gate, limited("e1", deployment(1), max_concurrent=1))
    await rig.advance(60)
    await one(rig.gate, limited("e2", deployment(2), max_concurrent=1))
    assert await refused(rig.gate, limited("e3", deployment(3), max_concurrent=1)) == "concurrent"
    await rig.gate.cancel("e2", deployment(2))
    await permitted(rig.gate, limited("e3", deployment(3), max_concurrent=1))
    await rig.advance(500)
    await permitted(rig.gate, limited("e4", deployment(4), max_concurrent=1))


async def test_the_second_execution_for_a_target_within_the_time_asks_a_human(rig):
    """Once a day by itself; then a human decides, and the question holds nothing."""
    again = {"ask_again_after": 1, "ask_again_seconds": 86_400}
    await permitted(rig.gate, limited("e1", **again))
    await rig.gate.release("e1", TARGET, 0)
    await rig.advance(3600)
    before = await rig.dump()
    answer = await one(rig.gate, limited("e2", **again))
    assert answer == ApprovalNeeded(("the runbook ran for this target once in the last 1d already",))
    assert await rig.dump() == before
    await permitted(rig.gate, limited("e3", OTHER, **again))
    await permitted(rig.gate, replace(limited("e4", **again), runbook_id="restart"))
    await rig.gate.release("e4", TARGET, 0)
    yes = replace(limited("e2", **again), approval=approval())
    assert (await permitted(rig.gate, yes)).approval_id == "approval-1"


async def test_the_question_about_a_repeat_comes_with_the_other_reasons(rig):
    """One question tells everything that speaks for asking; a yes to another plan is none."""
    again = {"ask_again_after": 1}
    await permitted(rig.gate, limited("e1", **again))
    await rig.gate.release("e1", TARGET, 0)
    asked = replace(limited("e2", **again), approval_reasons=("careful",))
    answer = await one(rig.gate, asked)
    assert isinstance(answer, ApprovalNeeded)
    assert answer.reasons == ("careful", "the runbook ran for this target once in the last 1d already")
    assert isinstance(await one(rig.gate, replace(asked, approval=approval("hash-0"))), ApprovalNeeded)


async def test_after_its_time_the_same_target_is_asked_for_no_longer(rig):
    """Exactly a window after it was permitted an execution is forgotten; a shorter look back sees less."""
    await permitted(rig.gate, limited("e1", ask_again_after=1))
    await rig.gate.release("e1", TARGET, 0)
    await rig.advance(86_399.999)
    assert isinstance(await one(rig.gate, limited("e2", ask_again_after=1)), ApprovalNeeded)
    await rig.advance(0.001)
    long = limited("e2", ask_again_after=1, ask_again_seconds=30 * 86_400)
    assert isinstance(await one(rig.gate, long), ApprovalNeeded)
    await permitted(rig.gate, limited("e2", ask_again_after=1))


async def test_what_never_ran_is_no_earlier_execution(rig):
    """A reservation that lapsed or was given back did nothing to the target."""
    await one(rig.gate, limited("e1", ask_again_after=1))
    await rig.gate.cancel("e1", TARGET)
    await one(rig.gate, limited("e2", ask_again_after=1))
    await rig.advance(61)
    await permitted(rig.gate, limited("e3", ask_again_after=1))


@pytest.mark.parametrize(
    ("blast", "percent", "check"),
    [
        (BlastRadius(graph=2, live=3, resources=(TARGET,), graph_age_seconds=1, pods=30), 10, None),
        (BlastRadius(graph=2, live=3, resources=(TARGET,), graph_age_seconds=1, pods=29), 10, "blast_share"),
        (BlastRadius(graph=2, live=3, resources=(TARGET,), graph_age_seconds=1, pods=0), 99, "blast_share"),
        (BlastRadius(graph=2, live=3, resources=(TARGET,), graph_age_seconds=1, pods=0), 100, None),
        (BlastRadius(graph=2, live=3, resources=(TARGET,), graph_age_seconds=1, pods=None), 100, "blast_share"),
    ],
)
async def test_a_share_of_the_pods_is_limited_beside_their_number(rig, blast, percent, check):
    """The larger count over the pods that are there, or that are wanted; uncounted pods are a no."""
    answer = await one(rig.gate, replace(limited("e1", blast_percent=percent), blast=blast))
    assert (answer.check if isinstance(answer, Refusal) else None) == check


@pytest.mark.parametrize(
    ("labels", "check"),
    [
        ({TARGET: {"tier": "web"}}, None),
        ({TARGET: {}}, None),
        ({TARGET: {"tier": "payment"}}, "protected_label"),
        ({TARGET: {"tier": "web"}, "Pod/shop/cart-1": {"tier": "pay-2"}}, "protected_label"),
        ({TARGET: None}, "protected_label"),
        ({}, "protected_label"),
        (None, "protected_label"),
    ],
)
async def test_objects_with_a_protected_label_are_never_touched(rig, labels, check):
    """Values are globs, one object is enough, and labels that could not be read are a no, approved or not."""
    for given in (None, approval()):
        asked = limited("e1", protected_labels={"tier": "pay*"})
        answer = await one(rig.gate, replace(asked, labels=labels, approval=given))
        assert (answer.check if isinstance(answer, Refusal) else None) == check


async def test_a_runbook_protects_namespaces_of_its_own(rig):
    """Beside those of the policy, with globs."""
    assert await refused(rig.gate, limited("e1", protected_namespaces=("sh*",))) == "protected_namespace"
    await permitted(rig.gate, limited("e2", protected_namespaces=("bank",)))


async def test_an_emptied_store_learns_every_count_again(rig):
    """Rates of the minute and the day, what runs, and who ran for which target come back with the records."""
    await rig.empty()
    now = rig.clock.now()
    ended = {"holds_target": False, "cooldown_until": now}
    await rig.gate.restore(
        [
            record("e1", rig, runbook_id="minute", granted_at=now - timedelta(seconds=59), **ended),
            record("e2", rig, runbook_id="day", granted_at=now - timedelta(hours=23), **ended),
            record("e3", rig, runbook_id="runs", target_key=deployment(3)),
            record("e4", rig, runbook_id="again", granted_at=now - timedelta(days=20), **ended),
        ]
    )
    minute = replace(limited("n1", OTHER, max_executions_per_minute=1), runbook_id="minute")
    assert await refused(rig.gate, minute) == "runbook_rate_minute"
    assert await refused(rig.gate, replace(limited("n2", OTHER, max_executions_per_day=1), runbook_id="day")) == (
        "runbook_rate_day"
    )
    assert await refused(rig.gate, replace(limited("n3", OTHER, max_concurrent=1), runbook_id="runs")) == "concurrent"
    long = {"ask_again_after": 1, "ask_again_seconds": 21 * 86_400}
    assert isinstance(await one(rig.gate, replace(limited("n4", **long), runbook_id="again")), ApprovalNeeded)
    await permitted(rig.gate, replace(limited("n5", ask_again_after=1), runbook_id="again"))


@pytest.mark.parametrize(
    "limits",
    [
        {"max_executions_per_minute": -1},
        {"max_executions_per_day": float("nan")},
        {"max_concurrent": 0},
        {"ask_again_after": 0},
        {"ask_again_seconds": 31 * 86_400},
        {"blast_percent": 101},
    ],
)
async def test_a_limit_that_makes_no_sense_permits_nothing(rig, limits):
    """It is never replaced by a default."""
    assert await refused(rig.gate, limited("e1", **limits)) == "limits"


@pytest.mark.parametrize("name", ["max_executions_per_minute", "max_executions_per_hour", "max_executions_per_day"])
async def test_a_rate_of_zero_means_never_by_itself(rig, name):
    """A human can say yes to each run; nothing else can."""
    asked = limited("e1", **{name: 0})
    answer = await one(rig.gate, asked)
    assert isinstance(answer, ApprovalNeeded)
    assert name in answer.reasons[0]
    await permitted(rig.gate, replace(asked, approval=approval()))
