"""What a stack remembers, and where."""

import stat

import pytest

from compose import paths, state
from compose.errors import StackBusy


def test_the_folders_are_found_in_order(tmp_path):
    """A variable wins, then the nearest .rootmend upward, then one here."""
    project = tmp_path / "project"
    deep = project / "a" / "b"
    deep.mkdir(parents=True)
    assert paths.folders(env={"HOME": "/"}, cwd=deep).state == deep / ".rootmend"
    (project / ".rootmend").mkdir()
    assert paths.folders(env={}, cwd=deep).state == project / ".rootmend"
    found = paths.folders(env={"ROOTMEND_STATE": str(tmp_path / "s"), "ROOTMEND_CACHE": str(tmp_path / "c")}, cwd=deep)
    assert (found.state, found.cache) == (tmp_path / "s", tmp_path / "c")
    assert paths.folders(env={"XDG_CACHE_HOME": str(tmp_path)}, cwd=deep).cache == tmp_path / "rootmend"


def test_secrets_are_made_once_and_closed_to_others(tmp_path):
    """Passwords stay the same between commands, in a file of mode 0600 in a folder of mode 0700."""
    folders = paths.folders(tmp_path)
    folders.create()
    first = state.read_secrets(folders)
    assert state.read_secrets(folders) == first
    assert stat.S_IMODE((folders.stack / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folders.stack.stat().st_mode) == 0o700
    assert len(first.neo4j_password) >= 16


def test_nothing_that_is_passed_to_a_tool_looks_like_an_option():
    """A password or id with a leading dash would stop the first start of a stack, one in sixty times."""
    made = [state.Secrets() for _ in range(500)]
    assert not [one for one in made if one.neo4j_password.startswith("-") or one.kafka_cluster_id.startswith("-")]


def test_a_damaged_state_file_counts_as_none(tmp_path):
    """Half a file does not stop `rb up`; the processes are found by their mark."""
    folders = paths.folders(tmp_path)
    folders.create()
    (folders.stack / "state.json").write_text('{"schema": 1, "serv')
    assert state.read_state(folders) == state.StackState()


def test_the_state_comes_back_as_it_was_written(tmp_path):
    """Written and read again it is the same."""
    folders = paths.folders(tmp_path)
    folders.create()
    record = state.ServerRecord(pid=7, started="x:1", ports={"redis": 1}, fingerprint="f", version="9")
    known = state.StackState(practice_id="p", ready=["redis"], servers={"redis": record})
    state.write_state(folders, known)
    assert state.read_state(folders) == known


def test_two_commands_do_not_change_one_stack_at_once(tmp_path):
    """The second `rb up` says that the first one is at work."""
    folders = paths.folders(tmp_path)
    with state.exclusive(folders), pytest.raises(StackBusy, match="Another rb command"), state.exclusive(folders):
        pass
    with state.exclusive(folders):
        pass
