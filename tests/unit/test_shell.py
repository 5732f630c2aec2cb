"""Programs on this machine: real ones, within their limits, and never through a shell."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.action_rig import Rig, facts
from fakes.world import FakeWorld
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.actions.base import Found
from executor.data_ports import Command
from executor.errors import Forbidden, NotConfigured, PlanError, StepFailed
from executor.model import Access
from services.data import make_shell
from services.settings_model import ShellActions
from services.shell import Limits, LocalShell

SH, ECHO, PRINTF = (shutil.which(name) or "" for name in ("sh", "echo", "printf"))
PYTHON = os.path.realpath(sys.executable)
ALLOW = (SH, ECHO, PRINTF, PYTHON, "/nowhere/program")
SMALL = Limits(seconds=20, memory_bytes=300 * 2**20, cpu_seconds=1, file_bytes=2**20, output_bytes=1000, concurrent=2)


def shell(**limits):
    return LocalShell(enabled=True, allow=ALLOW, limits=replace(SMALL, **limits))


async def run(*argv, within=10.0, **more):
    return await shell().run(Command(argv, **more), timeout_seconds=within)


@pytest.fixture
def world():
    made = FakeWorld()
    made.more["shell"] = shell()
    return made


# The adapter


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",))), max_size=5))
async def test_every_argument_arrives_as_it_was_given(arguments):
    """Quotes, blanks, dollars and newlines mean nothing to anybody."""
    ended = await shell(output_bytes=100_000).run(
        Command((PYTHON, "-c", "import sys; sys.stdout.write(ascii(sys.argv[1:]))", *arguments)), timeout_seconds=10
    )
    assert ended.stdout == ascii(arguments)


@pytest.mark.parametrize("text", ["$(id)", "`id`", "; id", "| id", "&& id", "$HOME", "*", "> /tmp/x"])
async def test_nothing_is_interpreted(text):
    """There is no shell."""
    assert (await run("echo", text)).stdout == text + "\n"


async def test_the_environment_is_clean(monkeypatch):
    """Nothing of ours is inherited; what the step gives is there."""
    monkeypatch.setenv("ROOTMEND_NEO4J__PASSWORD", "hunter2")
    code = "import os; print(sorted(os.environ), os.environ['X'])"
    names = (await run(PYTHON, "-c", code, env={"X": "1"})).stdout
    assert names.replace("'LC_CTYPE', ", "") == "['HOME', 'LANG', 'PATH', 'TMPDIR', 'X'] 1\n"


async def test_each_run_has_a_folder_of_its_own_that_is_gone_afterwards():
    """Nobody else can read it."""
    code = "import os; open('f', 'w').write('x'); print(os.getcwd(), oct(os.stat('.').st_mode & 0o777))"
    where, mode = (await run(PYTHON, "-c", code)).stdout.split()
    assert mode == "0o700"
    assert not await asyncio.to_thread(Path(where).exists)


async def test_the_whole_group_is_killed_when_time_is_up(tmp_path):
    """Children in the background too."""
    mark = tmp_path / "mark"
    script = f"(sleep 2; touch {mark}) & (trap '' TERM; sleep 60) & sleep 60"
    began = time.monotonic()
    ended = await run("sh", "-c", script, within=0.5)
    assert ended.timed_out
    assert time.monotonic() - began < 3
    await asyncio.sleep(2.2)
    assert not mark.exists()


async def test_what_is_left_in_the_background_ends_with_the_program(tmp_path):
    """And does not keep the step waiting."""
    mark = tmp_path / "mark"
    began = time.monotonic()
    ended = await run("sh", "-c", f"(sleep 1; touch {mark}) & echo started")
    assert (ended.exit_code, ended.stdout, ended.timed_out) == (0, "started\n", False)
    assert time.monotonic() - began < 1
    await asyncio.sleep(1.3)
    assert not mark.exists()


async def test_a_cancelled_step_ends_its_program(tmp_path):
    """Nothing runs on behind its back."""
    mark = tmp_path / "mark"
    work = asyncio.create_task(run("sh", "-c", f"sleep 1; touch {mark}"))
    await asyncio.sleep(0.4)
    work.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await work
    assert work.cancelled()
    await asyncio.sleep(1)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = bytearray(10**9)", "MemoryError"),
        ("open('f', 'wb').write(b'x' * 10**7)", "File too large"),
        (
            "[open(str(n), 'w') for n in range(400)].sort()\nfs = [open(str(n), 'w') for n in range(400)]",
            "Too many open",
        ),
    ],
)
async def test_memory_files_and_handles_are_limited(code, said):
    """The program sees the limit as an error of its own."""
    ended = await run(PYTHON, "-c", code)
    assert ended.exit_code != 0
    assert said in ended.stderr


async def test_processor_time_is_limited():
    """The kernel ends it."""
    ended = await run(PYTHON, "-c", "while True: pass", within=15)
    assert ended.exit_code < 0
    assert not ended.timed_out


async def test_output_is_bounded_and_the_program_goes_on():
    """It must not stop at a full pipe in the middle of its work."""
    ended = await run(PYTHON, "-c", "import sys; sys.stdout.write('x' * 10**6); sys.stderr.write('end')")
    assert (len(ended.stdout), ended.stderr, ended.exit_code, ended.truncated) == (1000, "end", 0, True)


async def test_input_is_given_and_closed():
    """Also to a program that does not read it."""
    code = "import sys; print(sys.stdin.read().upper())"
    assert (await run(PYTHON, "-c", code, stdin="hello")).stdout == "HELLO\n"
    assert (await run("echo", "x", stdin="y" * 10**6)).exit_code == 0


async def test_no_more_programs_than_allowed_run_at_a_time():
    """The others wait."""
    one = shell(concurrent=1)
    began = time.monotonic()
    await asyncio.gather(*(one.run(Command(("sh", "-c", "sleep 0.4")), timeout_seconds=5) for _ in range(3)))
    assert time.monotonic() - began > 1.2


def test_only_listed_programs_may_run():
    """By their path, or by their name; a path that only ends the same is another program."""
    assert shell().check("echo") == ECHO
    assert shell().check(ECHO) == ECHO
    for program in ("id", "/bin/id", "./echo", "/opt/echo", "../echo", ""):
        with pytest.raises(Forbidden):
            shell().check(program)


def test_it_is_off_until_it_is_switched_on():
    """The default of the settings runs nothing, whatever the list says."""
    with pytest.raises(NotConfigured, match=r"actions\.shell\.enabled"):
        make_shell(ShellActions(allow=(ECHO,))).check("echo")
    assert make_shell(ShellActions(enabled=True, allow=(ECHO,))).check("echo") == ECHO
    with pytest.raises(ValueError, match="must be an absolute path, such as /usr/bin/echo"):
        ShellActions(enabled=True, allow=("echo",))


async def test_a_program_that_cannot_be_started_is_said():
    """And not taken for its exit code."""
    with pytest.raises(StepFailed, match="/nowhere/program cannot be started"):
        await run("program")


# The actions


async def test_a_command_is_shown_approved_and_run(world):
    """It cannot be undone, and after a crash nobody knows."""
    rig = Rig(world.ports, "command", {"argv": ["echo", "a b", 7]})
    step = await rig.plan()
    assert step.changes[0].summary == f"run {ECHO} 'a b' 7"
    assert step.changes[0].irreversible
    assert (await rig.act())["stdout"] == "a b 7\n"
    assert (await rig.recover()).found is Found.UNKNOWN
    assert (rig.action.access, rig.action.idempotent) == (Access.WRITE, False)


async def test_secrets_come_through_the_environment_and_never_go_out(world):
    """Arguments can be read by everybody on the machine, so they hold none."""
    world.secrets.values["pw"] = "hunter2-long"
    with pytest.raises(PlanError, match="give pw through env"):
        await Rig(world.ports, "command", {"argv": ["echo", "__secret:pw__"]}).plan()
    rig = Rig(
        world.ports, "command", {"argv": ["sh", "-c", "echo $PW; echo $PW >&2; exit 3"], "env": {"PW": "__secret:pw__"}}
    )
    step = await rig.plan()
    assert "hunter2" not in step.model_dump_json()
    with pytest.raises(StepFailed, match=r"sh ended with 3: \*\*\*") as error:
        await rig.act()
    assert "hunter2" not in str(error.value)
    fine = Rig(world.ports, "command", {**rig.params, "expected_exit": [3]})
    await fine.plan()
    assert (await fine.act())["stdout"] == "***\n"


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PATH", "BASH_ENV", "PYTHONPATH", "NODE_OPTIONS", "IFS", "A-B", "1A"])
async def test_a_variable_that_decides_what_runs_is_refused(world, name):
    """The list of programs would mean nothing."""
    with pytest.raises(PlanError):
        await Rig(world.ports, "command", {"argv": ["echo"], "env": {name: "x"}}).plan()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"argv": ["sh", "-c", "sleep 5"], "timeout": 0.3}, r"sh was killed after 0\.3 s"),
        ({"argv": ["sh", "-c", "kill -9 $$"]}, "sh was ended by signal 9"),
        ({"argv": ["echo", "5"], "expect": "stdout | int > 7"}, "expected stdout"),
    ],
)
async def test_another_end_than_expected_is_a_failure(world, params, said):
    """With what the program said last."""
    rig = Rig(world.ports, "command", params)
    await rig.plan()
    with pytest.raises(StepFailed, match=said):
        await rig.act()


async def test_a_script_gets_its_values_as_arguments(world):
    """From the text, or from a file beside the runbook; its text is part of the plan."""
    values = {"interpreter": "sh", "interpreter_args": ["-eu"], "args": ["$(id)", "b"]}
    world.files.texts["flush.sh"] = 'echo "file: $1"'
    for script, out in (('echo "one: $1"\necho "two: $2"', "one: $(id)\ntwo: b\n"), ("flush.sh", "file: $(id)\n")):
        rig = Rig(world.ports, "script", {**values, "script": script}, facts=replace(facts(), folder="/runbooks"))
        step = await rig.plan()
        assert step.changes[0].summary.startswith(f"run {SH} -eu <script> $(id) b (")
        assert (await rig.act())["stdout"] == out


async def test_an_interpreter_that_is_not_listed_is_refused_at_planning(world):
    """Nothing is asked of a human that cannot be done."""
    with pytest.raises(Forbidden, match="perl"):
        await Rig(world.ports, "script", {"interpreter": "perl", "script": "print 1"}).plan()


async def test_a_null_byte_is_no_argument(world):
    """It would cut the argument."""
    with pytest.raises(ValueError, match="null byte"):
        await Rig(world.ports, "command", {"argv": ["echo", "a\0b"]}).plan()
