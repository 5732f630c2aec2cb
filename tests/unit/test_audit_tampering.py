"""Whoever can write to the graph cannot change the trail unnoticed."""

from __future__ import annotations

import random
from dataclasses import asdict

import pytest
from fakes.audited import MemoryEntries, book_of, key, trail_of

from safety.anchors import Seal, anchor, read, written
from safety.trail import FIELDS, Head, Sealed, recomputed
from services.audit.keys import TrustedKeys
from services.audit.verifying import Verification

SIGNER = key()
TRUST = TrustedKeys([SIGNER.key])
SIZES = (9, 1, 14, 5)


@pytest.fixture
async def trail():
    return await trail_of(SIZES)


async def verified(entries, lines, folder, tenant=""):
    book = folder / "anchors.jsonl"
    book.write_bytes(b"".join(lines))
    return await Verification(entries, [book], TRUST, page=4).run(tenant)


# Each takes the entries, the lines of the book and a source of chance, and changes one of the first two.


def change_a_property(entries, _, chance):
    node = entries.nodes[chance.choice(entries.there)]
    name = chance.choice([name for name in FIELDS if name != "seq"])
    node[name] = chance.choice([node[name] + "x", node[name][:-1] if node[name] else "?", "", 7])
    return node[name]


def change_a_number(entries, _, chance):
    entries.nodes[chance.choice(entries.there)]["seq"] += chance.choice([-1, 1, 1000])


def remove_a_property(entries, _, chance):
    del entries.nodes[chance.choice(entries.there)][chance.choice(FIELDS)]


def add_a_property(entries, _, chance):
    entries.nodes[chance.choice(entries.there)]["note"] = "harmless"


def remove_an_entry(entries, _, chance):
    entries.remove(chance.choice(entries.there))


def cut_a_tail(entries, _, chance):
    whole = entries.of(chance.choice(segments(entries)))
    for number in whole[chance.randrange(len(whole)) :]:
        entries.remove(number)


def remove_a_segment(entries, _, chance):
    for number in entries.of(chance.choice(segments(entries))):
        entries.remove(number)


def swap_two_entries(entries, _, chance):
    whole = entries.of(chance.choice([one for one in segments(entries) if len(entries.of(one)) > 2]))
    one, other = chance.sample(whole, 2)
    first, second = entries.nodes[one], entries.nodes[other]
    first["seq"], second["seq"] = second["seq"], first["seq"]


def write_a_tail_again(entries, _, chance):
    """With hashes that fit: only what is outside the graph can tell."""
    whole = entries.of(chance.choice(segments(entries)))
    start = chance.randrange(len(whole))
    entries.nodes[whole[start]]["reason"] += " (as I wish)"
    chain_again(entries, whole[start:], entries.nodes[whole[start - 1]]["hash"] if start else None)


def leave_one_out_and_write_the_rest_again(entries, _, chance):
    whole = entries.of(chance.choice([one for one in segments(entries) if len(entries.of(one)) > 2]))
    out = chance.randrange(1, len(whole))
    entries.remove(whole[out])
    rest = whole[out + 1 :]
    for number in rest:
        entries.nodes[number]["seq"] -= 1
    if rest:
        entries.edges.append((whole[out - 1], rest[0]))
    chain_again(entries, rest, entries.nodes[whole[out - 1]]["hash"])


def put_one_behind_the_end(entries, _, chance):
    """A perfect successor of the last entry."""
    last = entries.of(chance.choice(segments(entries)))[-1]
    node = {**entries.nodes[last], "seq": entries.nodes[last]["seq"] + 1, "prev": entries.nodes[last]["hash"]}
    node.pop("begins", None)
    node["hash"] = recomputed(Sealed(**node))
    entries.nodes.append(node)
    entries.edges.append((last, len(entries.nodes) - 1))


def splice_two_segments(entries, _, chance):
    one, other = chance.sample([each for each in segments(entries) if len(entries.of(each)) > 3], 2)
    first, second = entries.of(one)[2:], entries.of(other)[2:]
    for number in first:
        entries.nodes[number]["segment"] = other
    for number in second:
        entries.nodes[number]["segment"] = one


def give_a_segment_to_another_tenant(entries, _, chance):
    whole = entries.of(chance.choice(segments(entries)))
    for number in whole:
        entries.nodes[number]["tenant"] = "others"
    entries.nodes[whole[0]]["begins"] = "others"
    chain_again(entries, whole, None)


def join_otherwise(entries, _, chance):
    place = chance.randrange(len(entries.edges))
    entries.edges[place] = chance.choice([(entries.edges[place][0], 0), entries.edges[place][::-1]])


def cut_a_join(entries, _, chance):
    del entries.edges[chance.randrange(len(entries.edges))]


def change_an_anchor(_, lines, chance):
    place = chance.randrange(len(lines))
    line = bytearray(lines[place])
    at = chance.randrange(2, len(line) - 4)
    line[at] = ord("0") if line[at] != ord("0") else ord("1")
    lines[place] = bytes(line)


def remove_an_anchor(_, lines, chance):
    del lines[chance.randrange(len(lines) - 1)]


def swap_two_anchors(_, lines, chance):
    one, other = chance.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]


def sign_an_anchor_oneself(entries, lines, chance):
    """A perfect anchor for what is there, by somebody else's key."""
    cut_a_tail(entries, lines, chance)
    last = read(lines[-1])
    heads = tuple(Head("acme", one, len(entries.of(one)) - 1, "0" * 64) for one in segments(entries))
    made = anchor(Seal(last.at, last.writer, last.store, heads), last.book, last, key())
    lines.append(written(made).encode() + b"\n")


TAMPERINGS = (
    change_a_property,
    change_a_number,
    remove_a_property,
    add_a_property,
    remove_an_entry,
    cut_a_tail,
    remove_a_segment,
    swap_two_entries,
    write_a_tail_again,
    leave_one_out_and_write_the_rest_again,
    put_one_behind_the_end,
    splice_two_segments,
    give_a_segment_to_another_tenant,
    join_otherwise,
    cut_a_join,
    change_an_anchor,
    remove_an_anchor,
    swap_two_anchors,
    sign_an_anchor_oneself,
)


def segments(entries):
    return sorted({entries.nodes[number]["segment"] for number in entries.there})


def chain_again(entries, numbers, prev):
    for number in numbers:
        node = entries.nodes[number]
        node["prev"] = node["prev"] if prev is None else prev
        node["hash"] = prev = recomputed(Sealed(**{name: node[name] for name in FIELDS}))


async def test_invariant_11_a_trail_that_nobody_touched_holds(trail, tmp_path):
    """Else nobody would listen to the check."""
    report = await verified(MemoryEntries(trail), book_of(trail, SIGNER), tmp_path)
    assert (report.problems, report.entries, report.segments) == ([], sum(SIZES) + len(SIZES), len(SIZES))
    assert report.sealed == len(SIZES)


async def test_invariant_11_every_one_of_a_thousand_random_tamperings_is_found(trail, tmp_path):
    """Changed, removed, put in, reordered, cut off, spliced, written again with fitting hashes, anchored by others."""
    missed, tried = [], 0
    for seed in range(1_000):
        chance = random.Random(seed)  # noqa: S311 - the same each time
        entries, lines = MemoryEntries(trail), book_of(trail, SIGNER)
        before = (state(entries), list(lines))
        tampering = TAMPERINGS[seed % len(TAMPERINGS)]
        while (state(entries), lines) == before:  # a change to what was there already is none
            tampering(entries, lines, chance)
        report = await verified(entries, lines, tmp_path, "acme" if seed % 2 else "")
        tried += 1
        if report.holds:
            missed.append((seed, tampering.__name__))
    assert (tried, missed) == (1_000, [])


def state(entries):
    nodes = [dict(entries.nodes[number]) for number in entries.there]
    return nodes, sorted(entries.edges)


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda one: one.__name__)
async def test_invariant_11_the_first_broken_entry_is_named(tampering, trail, tmp_path):
    """'Something is wrong' helps nobody at three in the morning."""
    entries, lines = MemoryEntries(trail), book_of(trail, SIGNER)
    tampering(entries, lines, random.Random(5))  # noqa: S311 - as above
    report = await verified(entries, lines, tmp_path)
    first = report.problems[0]
    assert first.detail
    assert first.what in {"changed", "missing", "inserted", "reordered", "truncated", "unlinked", "anchor"}
    assert first.entry.partition(":")[0] in {one.segment for one in trail.entries} or first.what in {
        "anchor",
        "inserted",
    }


async def test_the_check_of_one_tenant_leaves_the_others_alone(tmp_path):
    """What is wrong with the trail of another tenant is another tenant's business."""
    trail, other = await trail_of((4,)), await trail_of((6,), "globex")
    trail.entries += other.entries
    entries, lines = MemoryEntries(trail), book_of(trail, SIGNER)
    entries.remove(2)
    assert not (await verified(entries, lines, tmp_path, "acme")).holds
    report = await verified(entries, lines, tmp_path, "globex")
    assert (report.holds, report.entries) == (True, 7)


async def test_anchors_of_another_database_are_counted_and_not_believed(trail, tmp_path):
    """A practice stack that was made anew has lost nothing."""
    empty = MemoryEntries(await trail_of(()))
    report = await verified(empty, book_of(trail, SIGNER, store="another"), tmp_path)
    assert (report.holds, report.foreign) == (True, len(book_of(trail, SIGNER)))


async def test_a_book_that_was_removed_is_missed_by_the_segments_that_name_its_anchors(tmp_path):
    """Each segment begins with the last anchor that its writer knew."""
    trail = await trail_of((3,))
    lines = book_of(trail, SIGNER)
    trail.segments = type(trail.segments)("memory", lambda: f"book:{read(lines[-1]).hash}")
    await trail.append("acme", [entry_after()])
    assert (await verified(MemoryEntries(trail), lines, tmp_path)).holds
    for left in ([], lines[:-1]):
        report = await verified(MemoryEntries(trail), left, tmp_path)
        assert "anchor" in [problem.what for problem in report.problems]


async def test_an_anchor_of_a_book_that_was_not_given_is_counted(tmp_path):
    """Another host wrote it, and keeps its book itself."""
    trail = await trail_of((3,))
    lines = book_of(trail, SIGNER)
    trail.segments = type(trail.segments)("memory", lambda: f"another:{'0' * 64}")
    await trail.append("acme", [entry_after()])
    report = await verified(MemoryEntries(trail), lines, tmp_path)
    assert (report.holds, report.elsewhere) == (True, 1)


def entry_after():
    from fakes.audited import entry  # noqa: PLC0415 - beside its use

    return entry(99)


def test_an_entry_is_stored_as_it_is_sealed():
    """The fields of an entry and those that are checked are the same."""
    blank = Sealed("t", "s", 0, "", "", "", "", "", "", "", "{}", "", "")
    assert tuple(asdict(blank)) == FIELDS
