"""Processes are known by more than their pid, and outlive whoever started them."""

import subprocess
import sys
import time

import pytest

from compose import processes
from compose.processes import ProcessId

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(60)",
]


@pytest.fixture
def spawn(tmp_path):
    started = []

    def start(argv=SLEEP, stack=tmp_path / "stack", server="sleeper"):
        started.append(processes.spawn(argv, log=tmp_path / "log", cwd=tmp_path, stack=stack, server=server))
        return started[-1]

    yield start
    processes.stop(started, grace=0.1)


def test_a_process_is_ended(spawn):
    """After stop the process is gone."""
    process = spawn()
    assert processes.alive(process)
    processes.stop([process])
    assert not processes.alive(process)


def test_a_reused_pid_is_never_killed():
    """A process with the same pid but another start is somebody else's, and stays."""
    with subprocess.Popen(SLEEP) as other:
        processes.stop([ProcessId(other.pid, "an earlier start")])
        time.sleep(0.2)
        assert other.poll() is None
        other.kill()


def test_a_process_that_ignores_the_request_is_forced(spawn, tmp_path):
    """A server that hangs does not keep `rb down` from its end."""
    process = spawn(STUBBORN)
    while not (tmp_path / "log").read_text():
        time.sleep(0.02)
    processes.stop([process], grace=0.3)
    assert not processes.alive(process)


def test_children_end_with_their_server(spawn, tmp_path):
    """The whole group is ended, not only its leader."""
    child = (
        "import subprocess, sys, time; c = subprocess.Popen(['sleep', '61']); print(c.pid, flush=True); time.sleep(60)"
    )
    process = spawn([sys.executable, "-c", child])
    while not (text := (tmp_path / "log").read_text().strip()):
        time.sleep(0.02)
    grandchild = processes.identify(int(text))
    processes.stop([process])
    time.sleep(0.1)
    assert grandchild is not None
    assert not processes.alive(grandchild)


def test_a_zombie_counts_as_ended():
    """A process that has ended but was not waited for is not taken for a running server."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    time.sleep(0.5)
    assert processes.started_at(child.pid) is None
    child.wait()


def test_a_process_is_found_by_its_mark(spawn, tmp_path):
    """A server whose pid was never written down is found, and only in its own stack."""
    ours, other = spawn(server="redis"), spawn(stack=tmp_path / "other")
    found = dict(processes.marked(tmp_path / "stack"))
    assert found == {"redis": ours}
    assert other not in found.values()


def test_a_server_outlives_the_command_that_started_it(tmp_path):
    """The server is in a session of its own and runs on when `rb up` has ended."""
    script = f"""
from pathlib import Path
from compose import processes
made = processes.spawn(["sleep", "60"], log=Path({str(tmp_path)!r}) / "log", cwd=Path("/"), stack=Path("s"), server="x")
print(made.pid)
"""
    said = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    process = processes.identify(int(said.stdout))
    assert process is not None
    processes.stop([process])
    assert said.stderr == ""
