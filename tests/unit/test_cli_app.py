"""The console script: quick help, one clear paragraph for each mistake, exit codes that scripts can rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli import app, runtime
from services.cli.commands import help_text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(monkeypatch):
    """Puts a function in the place of a command."""

    def put(function):
        monkeypatch.setitem(app.COMMANDS, "trial", app.Command("nowhere:nothing", "A trial", "Stack"))
        monkeypatch.setattr(app, "resolve", lambda _: function)

    return put


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """No settings of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in ("ROOTMEND_CONFIG", "ROOTMEND_STATE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


def test_help_imports_nothing_heavy():
    """What is not imported costs no time: help answers at once."""
    code = (
        "import sys\nfrom services.cli.app import main\nmain(['--help'])\n"
        "print('\\n'.join(sorted({m.partition('.')[0] for m in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = set(done.stderr.split())
    heavy = {"typer", "rich", "pydantic", "pydantic_settings", "neo4j", "confluent_kafka", "faststream", "kubernetes"}
    heavy |= {"redis", "httpx", "starlette", "uvicorn", "yaml", "rapidfuzz", "structlog", "asyncio", "compose"}
    assert loaded & heavy == set()
    assert "services" in loaded


def test_help_names_every_command_and_the_exit_codes(capsys):
    """Nothing that rb can do is hidden."""
    assert app.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in app.COMMANDS)
    assert "0 it held, 1 it did not hold, 2 wrong use" in out


def test_without_a_command_the_help_is_shown_and_it_is_wrong_use(capsys):
    """A script that forgot the command notices."""
    assert app.main([]) == 2
    assert "Usage: rb" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["staus"], "rb status"),
        (["aprovals"], "rb approvals"),
        (["approvals", "aprove", "x"], "rb approvals approve"),
        (["config", "chek"], "rb config check"),
    ],
)
def test_an_unknown_command_names_the_nearest_one(capsys, words, meant):
    """A slip of the finger is answered with what was meant."""
    assert app.main(words) == 2
    assert f"Did you mean '{meant}'?" in capsys.readouterr().err


def test_a_group_alone_lists_its_commands(capsys):
    """`rb approvals` shows the way."""
    assert app.main(["approvals"]) == 2
    assert app.main(["approvals", "--help"]) == 0
    assert capsys.readouterr().out.count("approvals deny") == 2


@pytest.mark.parametrize("name", list(app.COMMANDS))
def test_every_command_exists_and_has_help_with_examples(name, capsys):
    """The table names real functions, and each shows how it is used."""
    assert "Examples:" in help_text(app.resolve(name))
    assert app.main([*name.split(), "--help"]) == 0
    assert f"rb {name}" in capsys.readouterr().out


def test_global_options_are_known_before_and_behind_the_command(command, tmp_path):
    """Nobody has to remember the order."""
    seen = []
    command(lambda: seen.append(runtime.settings_for().kafka.group_id))
    (tmp_path / "own.yaml").write_text("kafka: {group_id: mine}")
    for words in (["--config", "own.yaml", "trial"], ["trial", "--config=own.yaml"], ["trial", "--config", "own.yaml"]):
        assert app.main(words) == 0
    assert seen == ["mine"] * 3


def test_behind_two_dashes_nothing_is_an_option():
    """A value may look like an option."""
    line = app.read_line(["trial", "--", "--config", "x"])
    assert (line.words, line.config) == (("trial", "--", "--config", "x"), None)


def test_config_without_a_file_is_wrong_use(capsys):
    """It is told in words, not as a trace."""
    assert app.main(["config", "show", "--config"]) != 0
    assert "--config needs a file" in capsys.readouterr().err


def test_bad_settings_end_with_2_and_name_everything(command, capsys, tmp_path):
    """Wrong configuration is wrong use, whatever the command."""
    command(runtime.settings_for)
    (tmp_path / "rootmend.yaml").write_text("kafka: {grup_id: x}\nredis: {urll: y}\n")
    command(lambda: runtime.settings_for() and None)
    assert app.main(["trial"]) == 2
    err = capsys.readouterr().err
    assert "kafka.group_id" in err
    assert "redis.url" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1), (2, 2), (True, 0)])
def test_a_number_that_a_command_returns_is_the_exit_code(command, result, code):
    """Commands may say how it went without knowing the shell."""
    command(lambda: result)
    assert app.main(["trial"]) == code


def test_a_coroutine_is_run(command, capsys):
    """Commands may be async."""

    async def trial():
        sys.stdout.write("ran\n")
        return 1

    command(trial)
    assert app.main(["trial"]) == 1
    assert capsys.readouterr().out == "ran\n"


def test_an_unknown_option_is_wrong_use(command, capsys):
    """Typer's own message, and exit code 2."""
    command(lambda: None)
    assert app.main(["trial", "--nonsense"]) == 2
    assert "--nonsense" in capsys.readouterr().err


def test_a_command_that_cannot_do_it_says_so_in_its_own_words(command, capsys):
    """The message is the whole output."""

    def trial():
        raise runtime.CommandError("there is no such thing")

    command(trial)
    assert app.main(["trial"]) == 1
    assert capsys.readouterr().err == "rb: there is no such thing\n"


def test_a_surprise_is_one_paragraph_and_a_trace_only_with_debug(command, capsys):
    """A trace is for those who ask for it; secrets in the message are masked for everybody."""

    def trial():
        raise ZeroDivisionError("at redis://:hunter2@host")

    command(trial)
    assert app.main(["trial"]) == 1
    err = capsys.readouterr().err
    assert "unexpected ZeroDivisionError" in err
    assert "Traceback" not in err
    assert "hunter2" not in err
    assert app.main(["--debug", "trial"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "hunter2" not in err


def test_interruption_ends_with_130(command):
    """As the shell expects."""

    def trial():
        raise KeyboardInterrupt

    command(trial)
    assert app.main(["trial"]) == 130


def test_config_show_masks_secrets(capsys, monkeypatch):
    """What is shown can be pasted into a ticket."""
    monkeypatch.setenv("ROOTMEND_NEO4J__PASSWORD", "hunter1")
    monkeypatch.setenv("ROOTMEND_REDIS__URL", "rediss://me:hunter2@redis:6380/0")
    monkeypatch.setenv("ROOTMEND_API__RECEIVER_TOKEN", "hunter3")
    monkeypatch.setenv("ROOTMEND_SLACK__TOKEN", "hunter4")
    monkeypatch.setenv("ROOTMEND_KAFKA__CLIENT", '{"sasl.password": "hunter5", "sasl.username": "me"}')
    monkeypatch.setenv("ROOTMEND_RUNBOOKS__PARAMETERS", '{"pull": {"registry_token": "hunter6", "tier": "gold"}}')
    assert app.main(["config", "show"]) == 0
    assert app.main(["config", "show", "--json"]) == 0
    out = capsys.readouterr().out
    assert "hunter" not in out
    assert "rediss://me:***@redis:6380/0" in out
    assert "sasl.username: me" in out
    assert "tier: gold" in out


def test_config_show_without_secrets_is_a_settings_file(capsys, tmp_path):
    """What is shown can be read again."""
    assert app.main(["config", "show"]) == 0
    (tmp_path / "rootmend.yaml").write_text(capsys.readouterr().out)
    assert app.main(["config", "check"]) == 0


def test_config_check_looks_for_the_files_that_are_named(capsys, tmp_path):
    """A path that leads nowhere is found before the night it is needed."""
    (tmp_path / "rootmend.yaml").write_text("runbooks: {paths: [gone]}\nkubernetes: {kubeconfig: gone.conf}\n")
    assert app.main(["config", "check", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["valid"] is False
    assert [problem.split(":")[0] for problem in told["problems"]] == ["runbooks.paths", "kubernetes.kubeconfig"]


def test_the_version_is_told(capsys):
    """Both ways of asking work."""
    assert app.main(["--version"]) == 0
    assert app.main(["version"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.startswith("rootmend 0.")


def test_colours_only_on_a_terminal():
    """A pipe gets plain text."""
    for flags in ([], ["--no-color"]):
        done = subprocess.run(
            [sys.executable, "-c", "from services.cli.app import main; main()", *flags, "config", "show", "--help"],
            capture_output=True,
            cwd=ROOT,
            check=False,
        )
        assert b"\x1b[" not in done.stdout
