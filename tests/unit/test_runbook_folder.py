"""Folders of runbooks reload while they are used; a bad file never takes a good runbook away silently."""

from __future__ import annotations

import asyncio
import os

import pytest

from runbooks.folder import RunbookFolder

GOOD = (
    "runbook: {{id: {id}, version: {version}, trigger: {{root_cause_reason: a}}, steps: [{{name: a, action: wait}}]}}\n"
)


def _write(path, id_, version="1"):
    path.write_text(GOOD.format(id=id_, version=version))


@pytest.fixture
def folder(tmp_path):
    _write(tmp_path / "one.yaml", "one")
    _write(tmp_path / "two.yml", "two")
    made = RunbookFolder([tmp_path])
    made.reload()
    return made


def test_the_first_load_reports_everything_as_added(tmp_path):
    """Files of both suffixes count, in subfolders too; hidden ones do not."""
    _write(tmp_path / "one.yaml", "one")
    (tmp_path / "sub").mkdir()
    _write(tmp_path / "sub" / "two.yml", "two")
    (tmp_path / "..2024").mkdir()
    _write(tmp_path / "..2024" / "one.yaml", "hidden")
    (tmp_path / "notes.txt").write_text("no runbook")
    changes = RunbookFolder([tmp_path]).reload()
    assert (changes.added, changes.changed, changes.removed, changes.rejected) == (("one", "two"), (), (), ())


def test_nothing_changes_when_no_file_changed(folder):
    """A reload without reason is quiet and keeps the same objects."""
    before = folder.current.runbooks["one"]
    assert not folder.reload()
    assert folder.current.runbooks["one"] is before


def test_a_changed_file_replaces_its_runbook(folder, tmp_path):
    """The new version is in force, and the old snapshot is as it was."""
    before = folder.current
    _write(tmp_path / "one.yaml", "one", version="2")
    assert folder.reload().changed == ("one",)
    assert folder.current.runbooks["one"].runbook.version == "2"
    assert before.runbooks["one"].runbook.version == "1"


def test_a_bad_file_keeps_the_last_good_version_and_says_so_once(folder, tmp_path):
    """The runbook stays in force; the finding stays visible until the file is good again."""
    (tmp_path / "one.yaml").write_text("runbook:\n  id: one\n  id: one\n")
    changes = folder.reload()
    assert [(rejected.path.name, rejected.kept) for rejected in changes.rejected] == [("one.yaml", "one")]
    assert "RB005" in str(changes.rejected[0])
    assert "last good version of one stays in use" in str(changes.rejected[0])
    assert folder.current.runbooks["one"].runbook.version == "1"
    assert [finding.code for finding in folder.current.findings] == ["RB005"]
    assert not folder.reload()
    assert [finding.code for finding in folder.current.findings] == ["RB005"]
    _write(tmp_path / "one.yaml", "one", version="3")
    assert folder.reload().changed == ("one",)
    assert folder.current.findings == ()


def test_a_file_that_was_never_good_gives_no_runbook(folder, tmp_path):
    """There is no version to keep."""
    (tmp_path / "three.yaml").write_text("runbook: 3\n")
    changes = folder.reload()
    assert [rejected.kept for rejected in changes.rejected] == [None]
    assert set(folder.current.runbooks) == {"one", "two"}


def test_a_removed_file_removes_its_runbook(folder, tmp_path):
    """Removing the file is how a runbook is taken out of force, also after it was bad."""
    (tmp_path / "two.yml").unlink()
    assert folder.reload().removed == ("two",)
    (tmp_path / "one.yaml").write_text("bad")
    folder.reload()
    (tmp_path / "one.yaml").unlink()
    assert folder.reload().removed == ("one",)
    assert folder.current.runbooks == {}


def test_of_two_files_with_one_id_the_first_stays(folder, tmp_path):
    """The one in force keeps its id, also against a file that comes first in order."""
    _write(tmp_path / "0-new.yaml", "one", version="9")
    changes = folder.reload()
    assert [(item.path.name, item.findings[0].code) for item in changes.rejected] == [("0-new.yaml", "RB414")]
    assert folder.current.runbooks["one"].runbook.version == "1"
    (tmp_path / "one.yaml").unlink()
    assert folder.reload().changed == ("one",)
    assert folder.current.runbooks["one"].runbook.version == "9"


def test_two_files_may_swap_their_ids(folder, tmp_path):
    """Renaming is no conflict."""
    _write(tmp_path / "one.yaml", "two", version="2")
    _write(tmp_path / "two.yml", "one", version="2")
    changes = folder.reload()
    assert (changes.changed, changes.rejected) == (("one", "two"), ())


def test_a_path_that_does_not_exist_is_loud(tmp_path):
    """A misspelt folder must not look like a folder without runbooks."""
    made = RunbookFolder([tmp_path / "nosuch"])
    assert [item.findings[0].code for item in made.reload().rejected] == ["RB014"]


def test_a_config_map_that_is_swapped_is_noticed(tmp_path):
    """Kubernetes replaces a mounted ConfigMap by moving one symbolic link."""
    for version in ("1", "2"):
        (tmp_path / f"..v{version}").mkdir()
        _write(tmp_path / f"..v{version}" / "one.yaml", "one", version)
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "one.yaml").symlink_to("..data/one.yaml")
    made = RunbookFolder([tmp_path])
    assert made.reload().added == ("one",)
    (tmp_path / "..new").symlink_to("..v2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert made.reload().changed == ("one",)


async def test_the_watch_reports_a_change_soon(folder, tmp_path):
    """Saving a file is enough."""
    stop = asyncio.Event()
    watch = folder.watch(stop)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.5)
    temporary = tmp_path / ".one.swp"
    _write(temporary, "one", version="2")
    os.replace(temporary, tmp_path / "one.yaml")  # noqa: PTH105  # as editors save
    changes = await asyncio.wait_for(waiting, 10)
    assert changes.changed == ("one",)
    stop.set()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(watch), 10)
