"""Invariants 2, 7 and 12 over the whole pipeline, dying at every moment."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

import pytest
from fakes.actions import SetValue
from fakes.journal import Crash
from fakes.pipeline_rig import TOPICS, Process, Rig, runbook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from executor.errors import Unavailable
from runbooks.secret_refs import resolve_references
from safety.approvals import Verb
from services.kafka.errors import BusUnavailable
from services.records import DecisionKind


@dataclass
class Partitions:
    """Kafka as far as it matters here: messages, and how far each partition was committed."""

    rig: Rig
    committed: dict[tuple[str, int], int] = field(default_factory=dict)

    def batch(self, size: int) -> list:
        """The next messages that were not committed, as one poll gives them."""
        left = [m for m in self.rig.sent if m.offset >= self.committed.get((m.topic, m.partition), 0)]
        return left[:size]

    async def deliver(self, process: Process, size: int) -> None:
        """One batch; committed when the handler returned, as the bus does."""
        batch = self.batch(size)
        await process.ingest.on_batch(batch)
        for message in batch:
            self.committed[message.topic, message.partition] = message.offset + 1


def durable(rig: Rig) -> set:
    """Inputs that are in a recorded decision or in the DLQ."""
    dead = {(m["topic"], m["partition"], m["offset"]) for m in rig.published(TOPICS.dlq)}
    return set(rig.store.taken) | dead


@pytest.mark.parametrize("moment", ["before ask", "after ask", "before record", "after record", "before publish"])
@pytest.mark.parametrize("error", [Crash("kill -9"), Unavailable("neo4j is away"), BusUnavailable("kafka is away")])
async def test_invariant_2_an_offset_is_committed_only_after_its_decision_is_durable(moment, error):
    """Wherever it fails, what is committed is recorded; afterwards everything is, once."""
    rig = Rig()
    kafka = Partitions(rig)
    for number in range(6):
        rig.event(pod=str(number))
    rig.raw(b"poison")
    process = rig.process()
    rig.points.fail(moment, error)
    with pytest.raises(type(error)):
        await kafka.deliver(process, 4)
    assert not kafka.committed
    while kafka.batch(4):
        await kafka.deliver(process, 4)
        done = {(m.topic, m.partition, m.offset) for m in rig.sent} - {
            (m.topic, m.partition, m.offset) for m in kafka.batch(100)
        }
        assert done <= durable(rig)
    await process.quiet()
    permit = rig.only(DecisionKind.PERMIT)
    assert (rig.count(permit), rig.effects()) == (6, ["set app=512Mi"])


async def test_invariant_2_a_dead_letter_is_acknowledged_before_its_offset():
    """Poison that could not be written to the DLQ is read again."""
    rig = Rig()
    kafka = Partitions(rig)
    rig.raw(b"\xff")
    rig.points.fail("before publish", BusUnavailable("kafka is away"))
    with pytest.raises(BusUnavailable):
        await kafka.deliver(rig.process(), 10)
    assert not kafka.committed
    await kafka.deliver(rig.process(), 10)
    assert len(rig.published(TOPICS.dlq)) == 1


FIRING = ("explained", "unexplained", "rca", "poison", "empty", "stranger")
KINDS = (*FIRING, "resolved", "alertmanager")


def messages_of(*kinds: str) -> st.SearchStrategy:
    """Lists of messages of these kinds, about two pods of each of two apps, on two partitions."""
    one = st.tuples(st.sampled_from(kinds), st.sampled_from(["app", "web"]), st.sampled_from("12"), st.integers(0, 1))
    return st.lists(one, min_size=1, max_size=14)


EVENTS = st.lists(st.integers(0, 20), max_size=6)


def send(rig: Rig, kind: str, app: str, pod: str, partition: int) -> None:
    """One message of a kind."""
    if kind == "poison":
        rig.raw(b'{"alerts": 7', partition=partition)
    elif kind == "empty":
        rig.raw(None, TOPICS.alerts, partition)
    elif kind == "rca":
        events = [json.loads(m.value)["event_id"] for m in rig.sent if m.topic == TOPICS.events and _is_event(m)]
        rig.rca(events[-1] if events else "unknown", app, pod)
    elif kind == "alertmanager":
        alerts = [_alert("firing", app, pod), _alert("resolved", app, "1"), {"status": 7}]
        rig.raw(json.dumps({"version": "4", "status": "firing", "alerts": alerts}).encode(), TOPICS.alerts, partition)
    elif kind == "stranger":
        rig.event("nobody", pod=pod, partition=partition)
    else:
        status = "resolved" if kind == "resolved" else "firing"
        rig.event(app, pod=pod, status=status, explained=kind == "explained", partition=partition)


def _is_event(message) -> bool:
    return bool(message.value) and b"event_id" in message.value


def _alert(status: str, app: str, pod: str) -> dict:
    labels = {"alertname": "KubePodCrashLooping", "namespace": "shop", "pod": f"{app}-{pod}"}
    return {"status": status, "labels": labels, "startsAt": "2026-01-02T03:04:05Z", "fingerprint": f"{app}{pod}"}


def inputs(rig: Rig) -> tuple[set, set]:
    """Every message that holds an alert, and every message that holds something unreadable."""
    process = rig.process()
    alerts, dead = set(), set()
    for message in rig.sent:
        received, letters = process.ingest._parse([message])
        place = (message.topic, message.partition, message.offset)
        alerts |= {place} if received else set()
        dead |= {place} if letters else set()
    return alerts, dead


MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=4)


@MANY
@given(messages=messages_of(*FIRING), size=st.integers(1, 8), deaths=EVENTS, waits=EVENTS)
async def test_invariant_7_every_input_ends_in_exactly_one_recorded_decision(messages, size, deaths, waits):
    """Any messages, dying at any moments and reading the batch again: an input is counted once, in one decision.

    Unreadable ones are in the DLQ at least once. Alerts that end in the batch in which they fired follow below.
    """
    rig = Rig()
    rig.app("web")
    for message in messages:
        send(rig, *message)
    await _read_all(rig, [size], deaths, waits)
    assert {place: ids for place, ids in rig.store.taken.items() if len(ids) > 1} == {}
    _complete(rig)


@MANY
@given(messages=messages_of(*KINDS), sizes=SIZES, deaths=EVENTS, waits=EVENTS)
async def test_invariant_7_no_input_is_lost_when_what_was_read_is_cut_into_other_batches(
    messages, sizes, deaths, waits
):
    """Alerts that end and fire again, many in one message, other batches after a crash: no input is without decision.

    And no decision counts one twice, and nothing is done twice.
    """
    rig = Rig()
    rig.app("web")
    for message in messages:
        send(rig, *message)
    await _read_all(rig, sizes, deaths, waits)
    _complete(rig)


def _complete(rig: Rig) -> None:
    """Every readable input is in a decision, every unreadable one in the DLQ, and the counts are right."""
    alerts, dead = inputs(rig)
    assert set(rig.store.taken) == alerts
    counted = Counter(number for ids in rig.store.taken.values() for number in ids)
    assert {number: stored.count for number, stored in rig.store.decisions.items() if stored.count} == dict(counted)
    assert {(m["topic"], m["partition"], m["offset"]) for m in rig.published(TOPICS.dlq)} == dead
    assert not rig.decisions(DecisionKind.WAITING)
    assert len(rig.effects()) == len(set(rig.effects())), "nothing is done twice within a cooldown"


async def _read_all(rig: Rig, sizes: list[int], deaths: list[int], waits: list[int]) -> None:
    """Read everything, with deaths after so many moments; then let time pass until nothing waits."""
    kafka = Partitions(rig)
    plan, process, turn = list(deaths), rig.process(), 0
    while kafka.batch(1) or plan:
        rig.points.at = len(rig.points.reached) + plan.pop(0) + 1 if plan else None
        turn += 1
        try:
            while kafka.batch(1):
                await kafka.deliver(process, sizes[turn % len(sizes)])
            await process.bridge.sweep()
        except Crash:
            await process.die()
            process = rig.process()
            rig.clock.passed += waits[turn % len(waits)] if waits else 0
    rig.points.at = None
    await process.quiet()
    for _ in range(60):
        rig.clock.passed += 31
        await process.bridge.sweep()


async def dies(rig: Rig, batch: list, moment: str) -> None:
    """A process that dies while it handles a batch."""
    process = rig.process()
    rig.points.crash(moment)
    with pytest.raises(Crash):
        await process.ingest.on_batch(batch)
    await process.die()


async def test_invariant_7_an_input_that_is_read_again_keeps_its_decision_whatever_has_changed():
    """There was no target; now there is one. The next delivery acts on that, not the one that was decided."""
    rig = Rig()
    message = rig.event("late-app")
    await dies(rig, [message], "before publish")
    rig.app("late-app")
    rig.clock.passed += 5
    process = rig.process()
    await process.ingest.on_batch([message])
    await process.quiet()
    assert (rig.count(rig.only(DecisionKind.NO_TARGET)), len(rig.decisions())) == (1, 1)
    assert rig.effects() == []


async def test_invariant_7_a_delivery_that_was_counted_is_taken_out_of_a_later_batch():
    """Read and unread deliveries of one alert come together after a crash; only the unread one is new."""
    rig = Rig()
    batch = [rig.event(), rig.event(explained=False), rig.event(explained=False)]
    await dies(rig, batch[:2], "before publish")
    process = rig.process()
    await process.ingest.on_batch(batch[:1])
    await process.ingest.on_batch(batch[1:])
    await process.quiet()
    assert rig.count(rig.only(DecisionKind.PERMIT)) == 3
    assert len(rig.decisions()) == 1


async def test_invariant_7_a_repeat_that_is_read_again_after_its_incident_was_closed_opens_no_other():
    """It came before the end of the alert; acting on it would be acting on what is over."""
    rig = Rig(runbook(trigger={"root_cause_reason": "Evicted"}))
    await rig.process().ingest.on_batch([rig.event()])
    batch = [rig.event(), rig.event(status="resolved")]
    await dies(rig, batch, "after close")
    rig.runbooks[:] = [runbook()]
    process = rig.process()
    await process.ingest.on_batch(batch)
    await process.quiet()
    assert rig.count(rig.only(DecisionKind.NO_MATCH)) == 2
    assert (rig.decisions(DecisionKind.PERMIT), rig.effects()) == ([], [])


async def test_invariant_7_a_resolution_that_is_read_again_still_says_what_it_closed():
    """The second time nothing is open any more, which is not what happened."""
    rig = Rig(runbook(trigger={"root_cause_reason": "Evicted"}))
    await rig.process().ingest.on_batch([rig.event()])
    end = rig.event(status="resolved")
    await dies(rig, [end], "before publish")
    await rig.process().ingest.on_batch([end])
    decision = rig.only(DecisionKind.RESOLVED)
    assert (rig.count(decision), "closes" in decision.message) == (1, True)


async def test_invariant_7_a_delivery_that_ends_a_waiting_decision_counts_in_the_incident_it_belongs_to():
    """Explained and fixed, then unexplained, explained: the one that waited belongs to the incident that was open."""
    rig = Rig()
    process = rig.process()
    for explained in (True, False, True):
        await process.ingest.on_batch([rig.event(explained=explained)])
        await process.quiet()
    assert rig.count(rig.only(DecisionKind.PERMIT)) == 2
    assert rig.count(rig.only(DecisionKind.JOINED)) == 1


CANARY = "correct-horse-battery-staple"


class SetSecret(SetValue):
    """Puts secrets in at the moment of use, as the real actions do."""

    name = "set_secret"
    aliases = ()

    async def perform(self, step, saved, stamp, world):
        value = await resolve_references(step.params["value"], world.secrets.get)
        return await super().perform(
            step.model_copy(update={"params": {**step.params, "value": value}}), saved, stamp, world
        )


async def test_invariant_12_secrets_never_reach_kafka_or_the_store():
    """A runbook writes a secret, and the server repeats it in its error: it is nowhere but in the world."""
    steps = [
        {"name": "write", "action": "set_secret", "params": {"name": "password", "value": "{{ secrets.db_password }}"}},
        {"name": "raise", "action": "set", "params": {"name": "{{ target.name }}", "value": "512Mi"}},
    ]
    rig = Rig(runbook(steps=steps, safety={"require_approval": True}))
    rig.secrets.values["db_password"] = CANARY
    rig.actions["set_secret"] = SetSecret(rig.tiny)
    rig.redact = lambda text: text.replace(CANARY, "***")
    process = rig.process()

    async def repeat():
        rig.tiny.performing = None
        raise Unavailable(f"the server says: {CANARY} is no good")

    with capture_logs() as lines:
        await process.ingest.on_batch([rig.event()])
        (question,) = await rig.store.list()
        rig.tiny.performing = repeat
        await rig.store.answer(
            question.id, Verb.APPROVE, by="ada", reason="ok", now=rig.clock.now(), plan_hash=question.plan_hash
        )
        await process.desk.sweep()
        await process.quiet()
    assert rig.outcomes() == ["success"]
    assert rig.tiny.values["password"] == CANARY, "the world has it"
    written = [
        *(m.value for m in rig.kafka.messages),
        *(repr(m.headers).encode() for m in rig.kafka.messages),
        *(repr(d).encode() for d in rig.store.decisions.values()),
        *(repr(e).encode() for e in rig.store.executions.values()),
        *(repr(a).encode() for a in rig.store.approvals.values()),
        *(repr(line).encode() for line in lines),
        repr(rig.hooks.events).encode(),
        repr(rig.chat.posted).encode(),
        repr(rig.gate_state).encode(),
    ]
    assert [text for text in written if CANARY.encode() in text] == []
