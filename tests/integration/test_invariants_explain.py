"""Invariants 5 and 7 through the whole running pipeline, on the real servers."""

from __future__ import annotations

import asyncio
import json

import pytest
from fakes.served import mark, runbook, served, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

SETTINGS = {
    "matching": {"bridge": {"first_delay": "500ms", "max_delay": "1s", "deadline": "20s"}},
    "gate": {"protected_namespaces": ["kube-system", "inv-*-1"]},
}


@pytest.fixture(scope="module")
async def world(stack, tmp_path_factory):
    async with served(stack, tmp_path_factory.mktemp("explain"), settings=SETTINGS) as one:
        one.runbook("fix", runbook("TestTrouble", mark("fixed")))
        one.runbook("ask", runbook("TestRisk", mark("fixed"), safety={"require_approval": True}))
        one.runbook("wide", runbook("TestWide", mark("fixed"), safety={"blast_radius_limit": 2}))
        one.runbook("once", runbook("TestOnce", mark("fixed"), safety={"max_executions_per_hour": 1}))
        one.runbook("cool", runbook("TestCool", mark("fixed"), safety={"cooldown": "10m"}))
        one.runbook("secret", runbook("TestNoPlan", mark("fixed", "{{ incident.labels.team }}")))
        await one.serve()
        yield one


@pytest.fixture(scope="module")
async def namespace(world):
    return await world.namespace()


def event_of(message):
    return json.loads(message[1]).get("incident_id") or json.loads(message[1])["event_id"]


async def told(world, event_id):
    answer = await world.rb("explain", event_id)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


async def test_invariant_7_every_input_ends_in_one_decision_that_explain_can_tell(world, namespace):
    """Whatever came of an input, also nothing: there is one decision about it, and `rb explain` says why."""
    protected = await world.namespace()
    await world.app("untouchable", protected)
    for app in ("good", "asked", "wide", "dim", "planless", "silent", "over"):
        await world.app(app, namespace, replicas=3 if app == "wide" else 1)
    cases = {
        "permitted": world.rca("good", namespace),
        "a human has to say yes first": world.rca("asked", namespace, "TestRisk"),
        "refused by the check 'blast_radius'": world.rca("wide", namespace, "TestWide"),
        "refused by the check 'confidence'": world.rca("dim", namespace, confidence=0.3),
        "refused by the check 'protected_namespace'": world.rca("untouchable", protected),
        "nothing was done: no runbook answers this": world.rca("good", namespace, "NeverHeardOf"),
        "nothing was done: what to act on could not be found": world.rca("ghost", namespace),
        "nothing was done: no plan could be made": world.rca("planless", namespace, "TestNoPlan"),
        "nothing was done: no root cause appeared in time": world.event("silent", namespace),
        "nothing was done: it was over": world.event("over", namespace, status="resolved"),
    }
    await world.send(cases.values())
    events = {event_of(message): said for said, message in cases.items()}
    waiting = next(e for e, said in events.items() if "root cause" in said)
    assert (await world.decided(waiting))["kind"] == "waiting"
    assert "looks again" in await told(world, waiting)
    await world.decided(waiting, "no_cause")
    stories = dict(zip(events, await asyncio.gather(*(told(world, event) for event in events)), strict=True))
    missing = {said: stories[event] for event, said in events.items() if said not in stories[event]}
    assert not missing, json.dumps(missing, indent=1)
    decisions = await world.decisions()
    assert sorted(d["event_id"] for d in decisions) == sorted(events)
    assert sum(d["repeat_count"] for d in decisions) == len(cases)


async def test_invariant_7_a_repeat_is_counted_by_the_decision_that_stands(world, namespace):
    """The same problem reported ten more times is one decision, and each report is found by its own id."""
    await world.app("again", namespace)
    messages = [world.rca("again", namespace, "NeverHeardOf") for _ in range(11)]
    await world.send(messages[:1])
    first = await world.decided(event_of(messages[0]))
    await world.send(messages[1:])

    async def counted():
        (now,) = await world.decisions(event_of(messages[0]))
        return now["repeat_count"] == len(messages)

    await until(counted, "all repeats are counted")
    assert "11 inputs" in await told(world, event_of(messages[-1]))
    assert first["id"] in await told(world, event_of(messages[-1]))


async def test_invariant_5_a_refusal_consumes_nothing_in_redis(world, namespace):
    """Refused by confidence, radius, rate or cooldown: every key of the gate is as it was before."""
    for app in ("first", "second", "chilled", "broad", "vague"):
        await world.app(app, namespace, replicas=3 if app == "broad" else 1)
    used = [world.rca("first", namespace, "TestOnce"), world.rca("chilled", namespace, "TestCool")]
    await world.send(used)
    for message in used:
        await world.execution(event_of(message), "done")

    async def released():
        kept = (await world.dump()).items()
        held = [v for k, v in kept if b":target:" in k and b":count:" not in k and v.get(b"holder")]
        return not held

    await until(released, "the targets are free")
    before = await world.dump()
    assert any(b":count:runbook:fix-testonce" in key for key in before)
    refused = {
        "runbook_rate": world.rca("second", namespace, "TestOnce"),
        "cooldown": world.rca("chilled", namespace, "TestTrouble"),
        "blast_radius": world.rca("broad", namespace, "TestWide"),
        "confidence": world.rca("vague", namespace, confidence=0.3),
    }
    await world.send(refused.values())
    for check, message in refused.items():
        decision = await world.decided(event_of(message))
        assert (decision["kind"], decision["check"]) == ("refusal", check)
    assert await world.dump() == before
