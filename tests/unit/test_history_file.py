"""Files of recorded incidents: the same bytes for the same records, and nothing is taken for more than it is."""

from __future__ import annotations

import gzip
import json

import pytest

from services.logs import Masker
from services.testing.history import HistoryError, HistoryWriter, intact, read_lines
from services.testing.masking import masked


def written(path, incidents=({"id": "i1", "executions": []}, {"id": "i2", "executions": []})):
    """A file with a runbook and incidents."""
    with HistoryWriter(path) as file:
        file.runbook({"id": "r", "version": "1", "sha": "s", "text": "runbook:"})
        for incident in incidents:
            file.incident(incident)
    return path


def test_the_same_incidents_are_the_same_bytes(tmp_path):
    """Neither the file's name nor the time of writing is in it."""
    first, second = written(tmp_path / "a.gz"), written(tmp_path / "b.gz")
    assert first.read_bytes() == second.read_bytes()


def test_what_was_written_is_read(tmp_path):
    """Runbooks and incidents come back in their order, plain text as well as compressed."""
    packed = written(tmp_path / "a.jsonl.gz")
    plain = tmp_path / "a.jsonl"
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    for path in (packed, plain):
        assert [kind for kind, _ in read_lines(path)] == ["runbook", "incident", "incident"]
        assert [json.loads(line).get("id") for _, line in read_lines(path)] == ["r", "i1", "i2"]


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_a_file_that_was_cut_off_is_refused(tmp_path, lines):
    """Fewer incidents would look like fewer differences."""
    whole = gzip.decompress(written(tmp_path / "a.gz").read_bytes()).splitlines(keepends=True)
    (tmp_path / "cut").write_bytes(b"".join(whole[:lines]))
    with pytest.raises(HistoryError, match="cut off"):
        list(read_lines(tmp_path / "cut"))


def test_a_cut_archive_is_refused(tmp_path):
    """Half a download says so, with the file's name."""
    data = written(tmp_path / "a.gz", [{"id": str(n), "text": str(n) * 50} for n in range(2000)]).read_bytes()
    (tmp_path / "half.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(HistoryError, match=r"half\.gz:\d+: the file is damaged or was cut off"):
        list(read_lines(tmp_path / "half.gz"))


def test_a_missing_line_is_noticed(tmp_path):
    """The end of the file says how many incidents there were."""
    whole = gzip.decompress(written(tmp_path / "a.gz").read_bytes()).splitlines(keepends=True)
    (tmp_path / "less").write_bytes(b"".join([*whole[:2], *whole[3:]]))
    with pytest.raises(HistoryError, match="holds 1 incidents and says 2"):
        list(read_lines(tmp_path / "less"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"schema":"rootmend.incidents/v9"}\n', r"x:1: schema rootmend.incidents/v9; expected"),
        (b"runbook: x\n", "x:1: no schema; expected"),
        (b"[]\n", "no schema"),
        (b'{"schema":"rootmend.incidents/v1"}\nnonsense\n', "x:2: not a JSON object"),
        (b'{"schema":"rootmend.incidents/v1"}\n{"type":"thing"}\n', "x:2: type 'thing'; expected one of"),
    ],
)
def test_another_file_is_refused_with_its_line(tmp_path, text, told):
    """Whoever gives the wrong file hears what was expected."""
    (tmp_path / "x").write_bytes(text)
    with pytest.raises(HistoryError, match=told):
        list(read_lines(tmp_path / "x"))


def test_a_file_that_is_not_there_is_told(tmp_path):
    """By its name."""
    with pytest.raises(HistoryError, match=r"none\.gz cannot be read"):
        list(read_lines(tmp_path / "none.gz"))


def test_a_changed_incident_is_not_intact(tmp_path):
    """One character of one output is enough."""
    path = written(tmp_path / "a.gz", [{"id": "i1", "executions": [{"output": "512Mi"}]}])
    (line,) = [line for kind, line in read_lines(path) if kind == "incident"]
    incident = json.loads(line)
    assert intact(incident)
    incident["executions"][0]["output"] = "513Mi"
    assert not intact(incident)


def test_invariant_12_an_export_holds_no_secret():
    """Values under telling names, of variables, in addresses and headers, and known ones; references stay."""
    masker = Masker()
    masker.register("tops3cret")
    data = {
        "password": "hunter2",
        "env": [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "MODE", "value": "fast"}],
        "url": "postgres://me:hunter2@db/x",
        "note": "it said tops3cret",
        "headers": {"Authorization": "Bearer hunter2hunter2"},
        "token": "__secret:API_TOKEN__",
        "imagePullSecrets": [{"name": "regcred"}],
        "pull_secret": "regcred",
    }
    given = masked(data, masker)
    assert "hunter2" not in json.dumps(given)
    assert "tops3cret" not in json.dumps(given)
    assert given["env"][1] == {"name": "MODE", "value": "fast"}
    assert given["token"] == "__secret:API_TOKEN__"
    assert (given["imagePullSecrets"], given["pull_secret"]) == ([{"name": "regcred"}], "regcred")
