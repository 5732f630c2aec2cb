"""Kafka's own faults: messages that are too long for it, offsets that are gone, groups that change in the middle."""

from __future__ import annotations

import asyncio
import json

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from fakes.served import mark, runbook, served, until

from services.kafka.bus import KafkaBus
from services.kafka.errors import TooLarge
from services.kafka.model import Outbound
from services.kafka.topics import ensure_topics

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

PATIENCE = 120
LIMIT = 2_000
"""Bytes that the broker takes in the topics of decisions and of dead letters."""


def counted(key):
    """A step that changes the pod template: each time that it happens is one more generation."""
    made = mark(key)
    made["params"]["patch"] = {"spec": {"template": {"metadata": {"annotations": {key: "{{ execution.id }}"}}}}}
    return made


@pytest.fixture
async def world(stack, tmp_path):
    async with served(stack, tmp_path / "kafka", settings={"kafka": {"client": {"session.timeout.ms": 6000}}}) as one:
        one.admin_client = AdminClient({"bootstrap.servers": stack.kafka_bootstrap})
        yield one


def event_of(message):
    return json.loads(message[1])["incident_id"]


async def limited(world, *shorts):
    """Topics of which the broker takes short messages only."""
    names = [world.topic(short) for short in shorts]
    await ensure_topics(world.settings["kafka"]["bootstrap_servers"], names, partitions=1)
    entry = ConfigEntry("max.message.bytes", str(LIMIT), incremental_operation=AlterConfigOpType.SET)
    asked = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry]) for name in names]
    for future in world.admin_client.incremental_alter_configs(asked).values():
        await asyncio.to_thread(future.result, 30)


async def read_to_the_end(world, count):
    """The offset of the inputs, once it has come to a number."""

    async def moved():
        return sum((await world.committed("rca")).values()) == count

    await until(moved, f"{count} inputs are committed", PATIENCE)


async def test_what_is_too_long_for_the_broker_is_shortened_and_the_partition_moves_on(world):
    """A decision loses its candidates and a dead letter its quotation; both are published, and all behind them too."""
    await limited(world, "decisions", "dlq")
    for number in range(40):
        world.runbook(f"rival-{number}", runbook("TestTrouble", mark("fixed"), id=f"rival-with-a-long-name-{number}"))
    await world.serve("--role", "decide")
    space = await world.namespace()
    await world.app("crowded", space)
    crowded, plain = world.rca("crowded", space), world.rca("plain", "nowhere", "NothingMatches")
    poison = ("rca", b'{"schema": "' + b"x" * 5_000)
    await world.send([poison, crowded, plain])
    await read_to_the_end(world, 3)
    published = {one["event_id"]: one for one in await world.read("decisions")}
    assert set(published) == {event_of(crowded), event_of(plain)}
    decision = published[event_of(crowded)]
    assert decision["candidates"] == []
    assert decision["runbook_id"].startswith("rival-with-a-long-name-")
    (letter,) = await world.read("dlq")
    assert (letter["offset"], letter["value_bytes"], letter["truncated"]) == (0, len(poison[1]), True)
    assert letter["value_base64"] == ""
    recorded = await world.decided(event_of(crowded))
    assert "rival-with-a-long-name-39" in json.dumps(recorded, default=str)


async def test_a_message_without_a_shorter_form_keeps_none_of_the_others(stack, world):
    """Three are published, the middle one too long: the others are acknowledged, and the error names the one."""
    await limited(world, "decisions")
    bus = KafkaBus(stack.kafka_bootstrap)
    await bus.start()
    try:
        topic = world.topic("decisions")
        messages = [
            Outbound(topic, key, json.dumps("x" * size).encode()) for key, size in (("a", 1), ("b", 9_000), ("c", 2))
        ]
        with pytest.raises(TooLarge, match="key b: 9002 bytes"):
            await bus.publish(messages)
        assert sorted(await world.read("decisions")) == ["x", "xx"]
    finally:
        await bus.stop()


@pytest.mark.parametrize(("policy", "decided"), [("earliest", [3, 4, 5]), ("latest", [5])])
async def test_an_offset_that_is_gone_is_left_as_the_setting_says(world, policy, decided):
    """Deleted past the committed offset: ``earliest`` goes on with what is there, ``latest`` with what comes."""
    messages = [world.rca(f"app-{number}", "nowhere") for number in range(6)]
    process = await world.serve("--role", "decide")
    await world.send(messages[:1])
    await read_to_the_end(world, 1)
    await process.stop()
    await world.send(messages[1:5])
    place = TopicPartition(world.topic("rca"), 0, 3)
    for future in world.admin_client.delete_records([place]).values():
        await asyncio.to_thread(future.result, 30)
    world.settings["kafka"]["offset_reset"] = policy
    world.write()
    process = await world.serve("--role", "decide")
    if policy == "latest":
        # Who begins with what comes has to be there when it comes.
        await read_to_the_end_of_assignment(world, messages)
    else:
        await world.send(messages[5:])
    wanted = {event_of(messages[0]), *(event_of(messages[number]) for number in decided)}

    async def all_of_them():
        return {one["event_id"] for one in await world.decisions()} >= wanted

    await until(all_of_them, "what is still there is decided", PATIENCE)
    assert {one["event_id"] for one in await world.decisions()} == wanted
    assert not process.ended


async def read_to_the_end_of_assignment(world, messages):
    """Send the last message again and again until it is decided: when the reader has come to its place is not told."""

    async def heard():
        await world.send(messages[5:])
        await asyncio.sleep(1)
        return await world.decisions(event_of(messages[5]))

    await until(heard, "the reader is at the end of its partition", PATIENCE)


async def test_a_group_that_changes_in_the_middle_of_executions_doubles_nothing(world):
    """A second process joins and leaves while plans run and messages come: one decision each, each change once."""
    world.settings["kafka"]["partitions"] = 4
    world.write()
    params = {"condition": "deployment/cue available", "timeout": "110s"}
    cue = {"id": "cue", "name": "Wait", "action": "wait", "params": params, "timeout": "115s"}
    world.runbook("slow", runbook("TestSlow", counted("one"), cue, counted("two")))
    world.runbook("fix", runbook("TestTrouble", counted("fixed")))
    first = await world.serve()
    space = await world.namespace()
    slow, quick = [f"slow-{n}" for n in range(3)], [f"quick-{n}" for n in range(6)]
    await asyncio.gather(*(world.app(app, space) for app in (*slow, *quick)))
    running = [world.rca(app, space, "TestSlow") for app in slow]
    await world.send(running)
    for message in running:
        await world.execution(event_of(message), "running", seconds=PATIENCE)
    joins = asyncio.create_task(world.serve())
    others = [world.rca(app, space) for app in quick]
    await world.send(others[:3])
    second = await joins
    await world.send(others[3:])
    leaves = asyncio.create_task(second.stop())
    await world.app("cue", space)
    await leaves
    for app, message in zip((*slow, *quick), (*running, *others), strict=True):
        done = await world.execution(event_of(message), "done", seconds=PATIENCE)
        found = await world.deployment(app, space)
        changes = 2 if app in slow else 1
        assert (done["outcome"], found["metadata"]["generation"] - 1) == ("success", changes), (app, done.get("error"))
        assert len(await world.decisions(event_of(message))) == 1
    assert not first.ended
