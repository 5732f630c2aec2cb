"""The commands of the local stack: words, exit codes, JSON."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from compose import cli, doctor
from compose.cli import app

runner = CliRunner()


def test_help_is_light():
    """`rb --help` answers at once: importing the commands imports no client and no machinery."""
    heavy = ("httpx", "pydantic", "redis", "neo4j", "yaml", "compose.stack")
    script = f"import sys, compose.cli; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("command", ["up", "down", "status", "logs", "doctor"])
def test_every_command_has_help_with_examples(command):
    """Help shows how the command is used."""
    said = runner.invoke(app, [command, "--help"])
    assert said.exit_code == 0
    assert f"rb {command}" in said.stdout


def test_wrong_use_is_exit_code_2(tmp_path):
    """A name that does not exist is wrong use, and the answer lists the right ones."""
    said = runner.invoke(app, ["up", "rabbitmq", "--state", str(tmp_path)])
    assert said.exit_code == 2
    assert "rabbitmq" in said.stderr
    assert "kafka" in said.stderr


def test_status_of_nothing_is_exit_code_1(tmp_path):
    """A stack that was never started is not up, and asking changes nothing."""
    said = runner.invoke(app, ["status", "--json", "--state", str(tmp_path)])
    assert said.exit_code == 1
    answer = json.loads(said.stdout)
    assert answer["up"] is False
    assert {server["state"] for server in answer["servers"]} == {"down"}
    assert list(tmp_path.iterdir()) == []


def test_down_of_nothing_holds(tmp_path):
    """Stopping what does not run is fine."""
    said = runner.invoke(app, ["down", "--state", str(tmp_path)])
    assert (said.exit_code, said.stdout.strip()) == (0, "Nothing was running.")


def test_a_log_that_is_not_there_is_said(tmp_path):
    """Asking for the log of a server that never ran says what to do."""
    said = runner.invoke(app, ["logs", "kafka", "--state", str(tmp_path)])
    assert said.exit_code == 1
    assert "rb up" in said.stderr


def test_the_log_shows_its_end(tmp_path):
    """`-n` lines of the end, oldest first."""
    log = tmp_path / "stack" / "logs" / "redis.log"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    said = runner.invoke(app, ["logs", "redis", "-n", "2", "--state", str(tmp_path)])
    assert said.stdout.splitlines() == ["line 98", "line 99"]


@pytest.mark.stack
def test_up_status_and_down_tell_the_same(state):
    """What `up` prints is what `status` finds, until `down`."""
    arguments = ["--state", str(state), "--json"]
    up = runner.invoke(app, ["up", "redis", "--engine", "process", *arguments])
    assert up.exit_code == 0, up.output
    status = runner.invoke(app, ["status", *arguments])
    assert status.exit_code == 0
    assert json.loads(status.stdout)["addresses"] == json.loads(up.stdout)
    assert runner.invoke(app, ["down", "--state", str(state)]).stdout.strip() == "1 stopped."
    assert runner.invoke(app, ["status", *arguments]).exit_code == 1


def test_doctor_says_what_is_missing_and_what_to_do(tmp_path, monkeypatch):
    """Without Java the doctor says so, says what to do, and exits with 1."""
    monkeypatch.setattr(doctor.java, "_from_wheel", lambda: None)
    monkeypatch.setattr(doctor.java, "_from_path", lambda: None)
    said = runner.invoke(app, ["doctor", "--json", "--state", str(tmp_path)])
    assert said.exit_code == 1
    findings = {finding["name"]: finding for finding in json.loads(said.stdout)["findings"]}
    assert findings["java"]["state"] == "missing"
    assert findings["java"]["do"]


def test_doctor_holds_on_this_machine(tmp_path):
    """Where the tests run nothing is missing, and looking changes nothing."""
    said = runner.invoke(app, ["doctor", "--state", str(tmp_path)])
    assert said.exit_code == 0, said.stdout
    assert list(tmp_path.iterdir()) == []


def test_doctor_looks_for_room_on_the_disk(tmp_path, monkeypatch):
    """A full disk is found before a build of minutes fails on it."""
    for wanted in ("_DISK_TO_RUN", "_DISK_TO_BUILD"):  # which of the two counts depends on what is built already
        monkeypatch.setattr(doctor, wanted, 1 << 60)
    findings = {finding.name: finding for finding in doctor.examine(tmp_path)}
    assert findings["disk"].state == "missing"
    assert "ROOTMEND_CACHE" in findings["disk"].do


def test_json_is_the_only_output_with_json(state):
    """`up --json` prints one JSON document on standard output, also when it fails."""
    said = runner.invoke(app, ["up", "nothing-like-it", "--json", "--state", str(state)])
    assert json.loads(said.stdout)["error"] == "WrongUse"
    assert cli.EngineChoice("auto") is cli.EngineChoice.auto
