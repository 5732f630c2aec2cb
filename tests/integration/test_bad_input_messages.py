"""Malformed messages through the running pipeline on the real Kafka: dead letters, and nothing else is disturbed."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from importlib import util
from pathlib import Path

import pytest
from fakes.served import served, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

LIMIT = 400_000
SETTINGS = {"kafka": {"max_message_bytes": LIMIT}, "api": {"enabled": False, "max_body_bytes": 10_000}}
SMALLER_LIMITS = {"oversize", "too many alerts", "too many labels", "too many causes"}


def _table():
    """The rows of the unit test, with those that break a limit made for the limits of a real process."""
    path = Path(__file__).parents[1] / "unit" / "test_intake_malformed.py"
    spec = util.spec_from_file_location("malformed_messages", path)
    unit = util.module_from_spec(spec)
    spec.loader.exec_module(unit)
    rows = [row for row in unit.MALFORMED if row[0] not in SMALLER_LIMITS]
    many = {str(n): "x" for n in range(200)}
    return [
        *rows,
        ("oversize", unit.event(message="x" * LIMIT), "oversize"),
        ("far too large, below the broker's limit", b'"' + b"x" * 900_000 + b'"', "oversize"),
        ("too many alerts", unit.alerts(*[unit.ALERT] * 1_001), "too_many"),
        ("too many labels", unit.event(labels=many), "too_many"),
        ("too many causes", unit.rca(causes=[unit.CAUSE] * 1_001), "too_many"),
    ]


MALFORMED = _table()


@pytest.fixture
async def world(stack, tmp_path):
    async with served(stack, tmp_path / "bad", settings=SETTINGS) as one:
        (one.folder / "runbooks").rmdir()
        one.settings["runbooks"] = {"paths": ["packaged"]}
        one.write()
        yield one


async def test_every_malformed_message_becomes_a_dead_letter_and_every_good_one_is_decided(world):
    """One bad, one good, all the way: each ends where it belongs, with error, origin and the bytes that were sent."""
    assert len(MALFORMED) >= 60
    process = await world.serve("--role", "decide")
    bad = [(("alerts", "events", "enriched", "rca")[n % 4], row[1]) for n, row in enumerate(MALFORMED)]
    good = [world.rca(f"app-{n}", "nowhere") for n in range(len(bad))]
    sent = await world.send([message for pair in zip(bad, good, strict=True) for message in pair])
    last = world.rca("the-last-one", "nowhere")
    await world.send([last])
    await world.decided(json.loads(last[1])["incident_id"])

    async def all_dead():
        letters = await world.read("dlq")
        return letters if len(letters) >= len(bad) else None

    letters = await until(all_dead, "every dead letter is written")
    assert len(letters) == len(bad)
    by_origin = {(one["topic"], one["partition"], one["offset"]): one for one in letters}
    wrong = {}
    for (title, value, code), place in zip(MALFORMED, sent[::2], strict=True):
        letter = by_origin[place]
        if letter["error"] != code or not holds(letter, value) or not letter["detail"]:
            wrong[title] = letter
    assert not wrong

    decided = {d["event_id"]: d for d in await world.decisions()}
    events = [json.loads(message[1])["incident_id"] for message in good]
    assert sorted(decided) == sorted([*events, json.loads(last[1])["incident_id"]])
    assert {d["repeat_count"] for d in decided.values()} == {1}
    assert {d["kind"] for d in decided.values()} == {"no_target"}

    async def at_the_end():
        committed = await world.committed("alerts", "events", "enriched", "rca")
        ends = {(topic, partition): offset + 1 for topic, partition, offset in sent}
        ends[world.topic("rca"), 0] += 1
        return committed == ends

    await until(at_the_end, "the offsets are at the end of every topic")
    assert not process.ended
    assert process.log("batch.failed") == []


def holds(letter, value):
    """Whether a dead letter gives the original bytes back, or says that it is cut and what the whole was."""
    if value is None:
        return letter["value_base64"] is None
    whole = letter["value_sha256"] == sha256(value).hexdigest() and letter["value_bytes"] == len(value)
    kept = base64.b64decode(letter["value_base64"])
    return whole and (value.startswith(kept) and len(kept) > LIMIT if letter["truncated"] else kept == value)


async def test_bytes_of_every_kind_in_one_partition_do_not_stop_it(world):
    """Hundreds of messages of noise: none is lost, none stops the partition."""
    await world.serve("--role", "decide")
    noise = [bytes((n * 7 + i * i) % 256 for i in range(n % 90 + 1)) for n in range(300)]
    await world.send([("alerts", value) for value in noise])
    message = world.rca("behind-the-noise", "nowhere")
    await world.send([message, ("alerts", b"the end")])
    await world.decided(json.loads(message[1])["incident_id"])

    async def all_dead():
        return len(await world.read("dlq")) == len(noise) + 1

    await until(all_dead, "every message of noise is a dead letter")

    async def all_committed():
        return (await world.committed("alerts"))[world.topic("alerts"), 0] == len(noise) + 1

    await until(all_committed, "the offset is behind the last of them")
