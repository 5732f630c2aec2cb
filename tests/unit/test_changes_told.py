"""A change of the files in force is told once, with what it changed and who brought it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from fakes.checkouts import Checkout

from safety.trail import PIPELINE, EntryKind
from services.changes.origins import from_git
from services.changes.telling import MOST_FILES, ChangeTeller, FilesInForce, Known, Origin, differences
from services.graph.errors import GraphUnavailable
from services.policies.files import PolicyFiles, Terms


class Store:
    """What is in force, in memory; several tellers share it, and it can be away."""

    def __init__(self):
        self.files = {}
        self.told = []
        self.away = False
        self.asked = 0
        self.before_note = lambda: None

    async def known(self, name, digest):
        self.asked += 1
        if self.away:
            raise GraphUnavailable("away")
        known = self.files.get(name)
        return Known() if known is None else Known(known.digest, {} if known.digest == digest else known.hashes)

    async def note(self, files, seen, told):
        self.before_note()
        known = self.files.get(files.name)
        if (known.digest if known else "") != seen:
            return False
        self.files[files.name] = files
        self.told += told
        return True


def teller(store, process="one", origins=None):
    """A process that tells."""
    return ChangeTeller(store, lambda _: origins or {}, process)


def policies(**hashes):
    """Files of policies by name."""
    return FilesInForce("policies", EntryKind.POLICY_CHANGED, hashes)


async def test_a_content_is_told_once_however_many_processes_take_it_and_however_often():
    """Polls, restarts and other processes add nothing; coming back to a former content is a change again."""
    store = Store()
    one, other = teller(store), teller(store, "two")
    first, second = policies(a="1"), policies(a="2")
    for process in (one, other, teller(store)):
        await process.tell(first)
        await process.tell(first)
    assert [(entry.kind, entry.actor) for entry in store.told] == [(EntryKind.POLICY_CHANGED, PIPELINE)]
    assert store.asked == 3, "what was told costs nothing more"
    for process in (other, one):
        await process.tell(second)
    await one.tell(policies(a="1"))
    assert [entry.facts["after"] for entry in store.told] == [first.digest, second.digest, first.digest]
    assert [entry.facts["before"] for entry in store.told] == ["", first.digest, second.digest]
    assert [entry.facts["process"] for entry in store.told] == ["one", "two", "one"]


async def test_nothing_at_all_is_no_change_and_the_end_of_all_policies_is_one():
    """An installation without policies fills no trail; taking them away is told."""
    store = Store()
    await teller(store).tell(policies())
    assert store.told == []
    await teller(store).tell(policies(a="1"))
    await teller(store).tell(policies())
    assert store.told[-1].facts["changed"] == [{"file": "a", "before": "1", "after": ""}]
    assert store.told[-1].facts["after"] == ""


async def test_what_could_not_be_told_is_told_later():
    """The graph is away when the files change: the next sweep tries again."""
    store = Store()
    process = teller(store)
    store.away = True
    changed = policies(a="1")
    with pytest.raises(GraphUnavailable):
        await process.tell(changed)
    store.away = False
    await process.tell(changed)
    assert len(store.told) == 1


async def test_who_loses_a_race_tells_of_what_is_left_to_tell():
    """Another process notes the same content first: nothing is told twice."""
    store = Store()
    mine = policies(a="1")

    def other():
        store.files["policies"] = mine
        store.before_note = lambda: None

    store.before_note = other
    await teller(store).tell(mine)
    assert store.told == []


async def test_each_author_has_an_entry_and_what_nobody_brought_has_another():
    """Who is asked about a change finds the own part of it; only so many files are named."""
    store = Store()
    ada = Origin("c1", "Ada <ada@example.com>", "Bot <bot@example.com>", "Careful with money")
    await teller(store, origins={"a": ada}).tell(policies(a="1", b="2"))
    by = {entry.actor: entry for entry in store.told}
    assert set(by) == {PIPELINE, "git:Ada <ada@example.com>"}
    told = by["git:Ada <ada@example.com>"]
    assert told.reason == "Careful with money"
    wanted = {"file": "a", "before": "", "after": "1", "commit": "c1", "committer": "Bot <bot@example.com>"}
    assert told.facts["changed"] == [wanted]
    many = policies(**{f"n{number}": "x" for number in range(MOST_FILES + 5)})
    await teller(store).tell(many)
    assert (len(store.told[-1].facts["changed"]), store.told[-1].facts["count"]) == (MOST_FILES, MOST_FILES + 7)


def test_git_tells_who_brought_a_content_and_nothing_of_what_was_edited_since(tmp_path):
    """Author, committer and commit of each file; an edit that is not committed has no origin; a removal has one."""
    checkout = Checkout(tmp_path / "policies")
    for name in ("kept", "gone", "edited"):
        (checkout.folder / f"{name}.yaml").write_text(name)
    first = checkout.commit("Three", "Ada", "ada@example.com", committer="Bot")
    (checkout.folder / "gone.yaml").unlink()
    last = checkout.commit("One less\x1b[2J", "Eve\u202e", "eve@example.com")
    (checkout.folder / "edited.yaml").write_text("by hand")
    (checkout.folder / "new.yaml").write_text("new")
    files = PolicyFiles([checkout.folder], Terms())
    assert files.in_force.hashes == {}
    hashes = {path.name: sha(path) for path in checkout.folder.glob("*.yaml")}
    paths = {name: checkout.folder / name for name in (*hashes, "gone.yaml")}
    changed = differences({"gone.yaml": "old", "edited.yaml": "old"}, hashes, paths)
    found = from_git(changed)
    assert set(found) == {"kept.yaml", "gone.yaml"}
    assert (found["kept.yaml"].commit, found["kept.yaml"].author) == (first, "Ada <ada@example.com>")
    assert found["kept.yaml"].committer == "Bot <ada@example.com>"
    assert found["gone.yaml"].commit == last
    assert found["gone.yaml"].author.isprintable()
    assert found["gone.yaml"].subject == "One less?[2J"


def test_without_a_checkout_nobody_brought_anything(tmp_path):
    """No repository, and a file that this process never saw: no guess."""
    (tmp_path / "a.yaml").write_text("a")
    changed = differences({"b.yaml": "old"}, {"a.yaml": sha(tmp_path / "a.yaml")}, {"a.yaml": tmp_path / "a.yaml"})
    assert from_git(changed) == {}


def test_the_files_behind_policies_are_those_in_force(tmp_path):
    """A broken file keeps the hash of its last good content, and a set that contradicts itself changes nothing."""
    folder = tmp_path / "policies"
    folder.mkdir()
    first = folder / "a.yaml"
    first.write_text("policies:\n  - {id: a, deny: one}\n")
    files = PolicyFiles([folder], Terms())
    files.load()
    good = files.in_force
    assert good.hashes == {"a.yaml": sha(first)}
    assert good.paths == {"a.yaml": first}
    first.write_text("policies:\n  - {id: a, deni: one}\n")
    files.reload()
    assert files.in_force.digest == good.digest
    (folder / "b.yaml").write_text("policies:\n  - {id: b, deny: two}\n")
    files.reload()
    assert files.errors
    assert files.in_force.digest == good.digest
    first.write_text("policies:\n  - {id: a, scope: {tenants: [t]}, deny: one}\n")
    files.reload()
    assert set(files.in_force.hashes) == {"a.yaml", "b.yaml"}


def sha(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
