"""Docker or plain processes: the choice, the commands, and what the containers are given."""

import os
import shutil
import stat
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from compose import docker_engine, paths, stack
from compose.docker_engine import DockerAnswer, choose
from compose.errors import EngineUnavailable, StackError, WrongUse
from compose.state import StackState, write_private

ANSWERS = DockerAnswer(usable=True, version="28")
SILENT = DockerAnswer(usable=False, reason="no engine answers")
FILE = Path(str(files("compose") / "docker-compose.yml"))


@pytest.mark.parametrize(
    ("wanted", "running", "docker", "chosen"),
    [
        ("auto", None, ANSWERS, "docker"),
        ("auto", None, SILENT, "process"),
        ("process", None, ANSWERS, "process"),
        ("docker", None, ANSWERS, "docker"),
        ("auto", "process", ANSWERS, "process"),
        ("auto", "docker", ANSWERS, "docker"),
        ("process", "process", ANSWERS, "process"),
    ],
)
def test_the_engine_is_chosen(wanted, running, docker, chosen):
    """What is forced wins, then what runs already, then Docker where it answers."""
    assert choose(wanted, running=running, answer=docker) == chosen


@pytest.mark.parametrize(
    ("wanted", "running", "docker", "error"),
    [
        ("docker", None, SILENT, EngineUnavailable),
        ("docker", "process", ANSWERS, EngineUnavailable),
        ("process", "docker", ANSWERS, EngineUnavailable),
        ("auto", "docker", SILENT, EngineUnavailable),
        ("podman", None, ANSWERS, WrongUse),
    ],
)
def test_an_engine_that_cannot_be_had_is_said(wanted, running, docker, error):
    """A forced engine is never silently replaced by the other one."""
    with pytest.raises(error) as caught:
        choose(wanted, running=running, answer=docker)
    assert caught.value.hint


def a_docker(folder: Path, script: str) -> None:
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("script", "usable", "reason"),
    [
        ("echo 28.0", True, ""),
        ("exit 1", False, "no engine answers"),
        ('[ "$1" = compose ] && exit 1; echo 28.0', False, "no compose plug-in"),
    ],
)
def test_docker_is_asked(tmp_path, monkeypatch, script, usable, reason):
    """Docker can be used when its engine and its compose plug-in both answer."""
    a_docker(tmp_path, script)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    answer = docker_engine.find()
    assert answer.usable is usable
    assert reason in answer.reason


def test_no_docker_command_is_no_docker(tmp_path, monkeypatch):
    """Without the command there is nothing to ask."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert docker_engine.find() == DockerAnswer(usable=False, reason="there is no docker command")


def test_two_checkouts_are_two_projects(tmp_path):
    """Containers of one state folder are never those of another."""
    here, there = paths.folders(tmp_path / "a"), paths.folders(tmp_path / "b")
    assert docker_engine.project(here) != docker_engine.project(there)
    command = docker_engine.command(here, "up", "--detach", "redis")
    assert command[:2] == ["docker", "compose"]
    assert command[-3:] == ["up", "--detach", "redis"]
    assert docker_engine.project(here) in command


def test_every_port_is_published_on_loopback_only():
    """Nothing of the stack can be reached from another machine."""
    for name, service in yaml.safe_load(FILE.read_text())["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
        assert "network_mode" not in service


def test_the_environment_fills_the_file(tmp_path):
    """Every variable that the file needs is given, and every one that is given is used."""
    folders = paths.folders(tmp_path)
    folders.create()
    given = docker_engine.environment(docker_engine.site_of(folders, StackState()))
    text = FILE.read_text()
    assert all(f"${{{name}" in text for name in given)
    wanted = {part.split("}")[0].split(":")[0] for part in text.split("${")[1:]}
    assert wanted == set(given)


def test_docker_itself_accepts_the_file(tmp_path):
    """`docker compose config` reads the file as it is filled."""
    if (
        not shutil.which("docker")
        or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker compose plug-in")
    folders = paths.folders(tmp_path)
    folders.create()
    given = docker_engine.environment(docker_engine.site_of(folders, StackState()))
    write_private(folders.stack / "docker.env", "".join(f"{key}={value}\n" for key, value in given.items()))
    said = subprocess.run(
        docker_engine.command(folders, "config", "--services"),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    assert set(said.stdout.split()) == set(yaml.safe_load(FILE.read_text())["services"])


def test_containers_that_do_not_come_up_give_way_to_processes_unless_docker_was_asked_for(tmp_path, monkeypatch):
    """A Docker that answers and cannot run the stack must not stand in the way of somebody who did not ask for it."""
    a_docker(tmp_path, 'case "$*" in *" up "*) echo "cannot pull" >&2; exit 1;; esac; echo 28.0')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    folder = tmp_path / ".rootmend"
    with pytest.raises(StackError):
        stack.up(["redis"], state=folder, engine="docker")
    told = []
    try:
        found = stack.up(["redis"], state=folder, engine="auto", on_event=told.append)
        assert found.redis is not None
        assert any(event.text.endswith("plain processes instead") for event in told)
    finally:
        stack.down(folder, wipe=True)
