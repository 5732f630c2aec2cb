"""`up` and `down` on real servers: idempotent, adopted, cleaned, nothing left."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import neo4j
import pytest
import redis
import yaml
from confluent_kafka.admin import AdminClient
from neo4j.exceptions import AuthError

from compose import ports, processes, stack
from compose.addresses import LOOPBACK
from compose.errors import ServerFailed, StackBusy, WrongUse
from compose.paths import folders
from compose.servers.base import Launch
from compose.servers.kafka import TOPICS, Kafka
from compose.servers.redis import Redis
from compose.state import exclusive, read_state, write_state

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def record(state, name="redis"):
    return read_state(folders(state)).servers[name]


def test_up_writes_the_settings_that_the_product_reads(state, up):
    """After `up` the settings file names what runs, which runbooks may call too, for its user only."""
    found = up("redis")
    settings = yaml.safe_load(found.settings_file.read_text())
    assert settings == {"redis": {"url": found.redis.url}, "outgoing": {"allow": list(LOOPBACK)}}
    assert stat.S_IMODE(found.settings_file.stat().st_mode) == 0o600
    assert stack.addresses(state) == found


def test_up_twice_starts_nothing_twice(state, up):
    """A second `up` adopts what runs."""
    up("redis")
    before, seen = record(state), []
    up("redis", on_event=seen.append)
    assert record(state) == before
    assert [event.phase for event in seen] == ["adopted"]


def test_a_dead_server_is_started_again_with_its_data_and_port(state, up):
    """After a crash `up` brings the server back where it was."""
    found = up("redis")
    with redis.Redis.from_url(found.redis.url) as client:
        client.set("kept", "yes")
    os.kill(record(state).pid, signal.SIGKILL)
    again = up("redis")
    assert again.redis == found.redis
    with redis.Redis.from_url(again.redis.url, decode_responses=True) as client:
        assert client.get("kept") == "yes"


def test_a_server_that_hangs_is_replaced(state, up, monkeypatch):
    """A server that runs but does not answer is ended and started again: an open port is not an answer."""
    up("redis")
    before = record(state)
    os.kill(before.pid, signal.SIGSTOP)
    monkeypatch.setattr(Redis, "patience", 3.0)
    assert stack.status(state)[0].state == "silent"
    up("redis")
    assert record(state).pid != before.pid
    assert not processes.alive(before.process)


def test_a_server_whose_pid_was_never_noted_is_cleaned(state, up):
    """A crash of `rb up` between start and note leaves nothing behind."""
    up("redis")
    known = read_state(folders(state))
    stray = known.servers.pop("redis").process
    write_state(folders(state), known)
    seen = []
    up("redis", on_event=seen.append)
    assert not processes.alive(stray)
    assert "cleaned" in [event.phase for event in seen]


def test_a_killed_up_leaves_nothing_that_the_next_one_cannot_take(state, up):
    """`rb up` that is killed while it starts a server: the next one adopts or cleans, and no process is left over."""
    script = (
        "from compose import stack; from pathlib import Path; "
        f"stack.up(['redis', 'kafka'], state=Path({str(state)!r}), engine='process')"
    )
    with subprocess.Popen([sys.executable, "-c", script]) as command:
        deadline = time.monotonic() + 60
        while "kafka" not in read_state(folders(state)).servers and time.monotonic() < deadline:
            time.sleep(0.02)
        command.kill()
    up("redis", "kafka")
    running = {name for name, _ in processes.marked(state / "stack")}
    assert running == {"redis", "kafka"}
    assert len(list(processes.marked(state / "stack"))) == 2
    stack.down(state)
    assert list(processes.marked(state / "stack")) == []


def test_an_interrupted_up_ends_at_once(state, up):
    """Ctrl-C does not wait for a server that is still starting."""
    script = (
        # Whoever runs the tests in the background has them ignore SIGINT; the command must not inherit that.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from compose import stack; from compose.servers.redis import Redis; from compose.servers.base import Launch\n"
        "from pathlib import Path\n"
        "Redis.patience = 120; Redis.launch = lambda *_: Launch(['sleep', '300'])\n"
        f"stack.up(['redis'], state=Path({str(state)!r}), engine='process')"
    )
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as command:
        deadline = time.monotonic() + 30
        while "redis" not in read_state(folders(state)).servers and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=15)
    assert "KeyboardInterrupt" in said
    up("redis")
    assert len(list(processes.marked(state / "stack"))) == 1


def test_down_leaves_no_process_and_keeps_the_data(state, up):
    """After `down` nothing runs; the data is there for the next `up`."""
    up("redis")
    assert stack.down(state) == 1
    assert list(processes.marked(state / "stack")) == []
    assert stack.addresses(state) is None
    assert (state / "stack" / "data" / "redis").is_dir()
    assert stack.down(state) == 0


def test_wipe_forgets_everything(state, up):
    """`down --wipe` leaves no data and no password."""
    up("redis")
    stack.down(state, wipe=True)
    assert [path.name for path in (state / "stack").iterdir()] == ["lock"]


def test_down_never_kills_a_stranger(state, up):
    """A pid in the state file that belongs to another process by now is left alone."""
    up("redis")
    stack.down(state)
    known = read_state(folders(state))
    with subprocess.Popen(["sleep", "60"]) as stranger:
        reused = known.servers["redis"].model_copy(update={"pid": stranger.pid})
        known.servers["redis"] = reused
        write_state(folders(state), known)
        stack.down(state)
        assert stranger.poll() is None
        stranger.kill()


def test_a_taken_port_is_avoided(state, up, monkeypatch):
    """When the usual port is in use another one is chosen, and the addresses say which."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        monkeypatch.setattr(Redis, "usual_ports", {"redis": taken})
        found = up("redis")
    assert not found.redis.url.endswith(f":{taken}/0")
    assert stack.status(state)[0].state == "up"


def test_a_port_that_is_taken_while_programs_are_built_is_avoided(state, up, monkeypatch):
    """Building takes minutes; a stack of somebody else may have come first, and its servers are not ours."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        late = holder.getsockname()[1]
        monkeypatch.setattr(Redis, "usual_ports", {"redis": late})
        is_free, prepare, listening = ports.is_free, Redis.prepare, []
        monkeypatch.setattr(ports, "is_free", lambda port: not listening if port == late else is_free(port))

        def slowly(self, site):
            prepare(self, site)
            holder.listen()
            listening.append(True)

        monkeypatch.setattr(Redis, "prepare", slowly)
        found = up("redis")
        assert not found.redis.url.endswith(f":{late}/0")
        assert stack.status(state)[0].state == "up"


def test_a_server_that_cannot_start_says_why(state, up, monkeypatch):
    """The error carries the last lines of the log and what to do."""
    monkeypatch.setattr(Redis, "launch", lambda *_: Launch(["/bin/sh", "-c", "echo no room at all; exit 3"]))
    with pytest.raises(ServerFailed, match="redis ended right after its start") as caught:
        up("redis")
    assert "no room at all" in caught.value.log
    assert "rb logs redis" in caught.value.hint


def test_one_failure_does_not_stop_the_others(state, up, monkeypatch):
    """What came up stays up when another server fails."""
    monkeypatch.setattr(Kafka, "launch", lambda *_: Launch(["/bin/false"]))
    with pytest.raises(ServerFailed, match="kafka"):
        up("redis", "kafka")
    assert stack.addresses(state).redis is not None
    assert stack.addresses(state).kafka is None


def test_a_second_command_is_told_to_wait(state, up):
    """Two commands never change one stack at once."""
    with exclusive(folders(state)), pytest.raises(StackBusy):
        up("redis")


def test_an_unknown_name_is_wrong_use(up):
    """A name that does not exist is refused before anything is started."""
    with pytest.raises(WrongUse, match="rabbitmq"):
        up("redis", "rabbitmq")


def test_kafka_and_neo4j_answer_with_what_the_product_needs(state, up):
    """All topics are there with six partitions, and the password is the only way into the graph."""
    found = up("kafka", "neo4j")
    topics = AdminClient({"bootstrap.servers": found.kafka.bootstrap_servers}).list_topics(timeout=10).topics
    assert {name: len(topics[name].partitions) for name in TOPICS} == dict.fromkeys(TOPICS, 6)
    with neo4j.GraphDatabase.driver(found.neo4j.uri, auth=("neo4j", found.neo4j.password)) as driver:
        assert driver.execute_query("RETURN 1 AS one").records[0]["one"] == 1
    with neo4j.GraphDatabase.driver(found.neo4j.uri, auth=("neo4j", "neo4j")) as driver, pytest.raises(AuthError):
        driver.verify_connectivity()
    assert found.neo4j.password not in Path(f"/proc/{record(state, 'neo4j').pid}/cmdline").read_text()


def test_everything_listens_on_loopback_only(state, up):
    """No server of the stack can be reached from another machine."""
    up("redis")
    pids = {str(process.pid) for _, process in processes.marked(state / "stack")}
    said = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    ours = [line.split()[3] for line in said.splitlines() if any(f"pid={pid}," in line for pid in pids)]
    assert ours
    assert all(address.startswith(("127.0.0.1:", "[::ffff:127.0.0.1]:")) for address in ours)


def test_the_state_file_is_json_with_pids_and_start_times(state, up):
    """Others may read the state file."""
    up("redis")
    raw = json.loads((state / "stack" / "state.json").read_text())
    assert raw["schema"] == 1
    assert {"pid", "started", "ports", "fingerprint", "version"} <= set(raw["servers"]["redis"])
