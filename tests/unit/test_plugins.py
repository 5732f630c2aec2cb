"""Actions from other packages: installed for real, and refused when they are not whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from fakes.action_rig import Rig
from fakes.world import FakeWorld
from plugin_example.rootmend_acme import FlagParams, FlagSet

import services.plugins
from executor.actions import default_actions
from executor.actions.base import Action, Found, Params, Planned
from executor.errors import Drifted
from executor.model import Access
from services.cli import app
from services.config_files import ConfigError
from services.plugins import Plugin, load, merged

EXAMPLE = Path(__file__).parents[1] / "plugin_example"
FLAG = {"server": "https://flags.example.com", "flag": "new-checkout", "enabled": False}
RUNBOOK = """\
runbook:
  id: acme
  name: Switch the new checkout off
  version: "1"
  trigger: {root_cause_reason: CheckoutErrors}
  steps:
    - name: switch off
      action: acme/flag
      params: {server: "https://flags.example.com", flag: new-checkout, enabled: false}
      timeout: 30s
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The example, installed into a folder of its own with the ordinary tool, and an environment that sees it."""
    target = tmp_path_factory.mktemp("plugins")
    build = tmp_path_factory.mktemp("source") / "example"
    subprocess.run(["cp", "-r", str(EXAMPLE), str(build)], check=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(target),
    ]
    subprocess.run([*pip, str(build)], check=True, capture_output=True, timeout=120)
    return {**os.environ, "PYTHONPATH": str(target)}


def rb(env, *words):
    """``rb`` as a process of its own."""
    command = [
        sys.executable,
        "-c",
        "import sys; from services.cli.app import main; sys.exit(main(sys.argv[1:]))",
        *words,
    ]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_an_installed_plugin_is_listed_with_schema_simulation_inverse_and_targets(installed):
    """Beside the product's own actions, by its name and its alias."""
    done = rb(installed, "actions", "acme/flag", "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert (told["name"], told["access"], told["idempotent"]) == ("acme_flag", "write", True)
    assert told["parameters"]["required"] == ["server", "flag", "enabled"]
    assert "nothing is set" in told["simulated"]
    assert "value that it had before" in told["undone"]
    assert told["targets"]


def test_a_runbook_can_use_an_installed_plugin_and_only_then(installed, tmp_path):
    """`rb validate` knows its parameters too."""
    file = tmp_path / "acme.yaml"
    file.write_text(RUNBOOK)
    done = rb(installed, "validate", str(file))
    assert "RB2" not in done.stdout, done.stdout
    without = rb({**installed, "PYTHONPATH": ""}, "validate", str(file))
    assert without.returncode == 1
    assert "RB201" in without.stdout
    file.write_text(RUNBOOK.replace("flag: new", "flagg: new"))
    assert "did you mean flag" in rb(installed, "validate", str(file)).stdout


async def test_the_example_shows_changes_checks_and_takes_back():
    """Planned, performed, asked after a crash, undone; a flag that somebody else set meanwhile stops it."""
    world = FakeWorld()
    rig = Rig(world.ports, "acme_flag", FLAG)
    action = FlagSet()
    on, off = (200, '{"enabled": true}'), (200, '{"enabled": false}')
    world.http.answers = [on, on, (200, ""), off, (200, ""), off]
    planned = await action.plan(FlagParams(**FLAG), rig.facts, world.ports)
    assert planned.changes[0].summary == "flag new-checkout: True -> False"
    step = _step(planned)
    saved = await action.prepare(step, rig.stamp, world.ports)
    await action.perform(step, saved, rig.stamp, world.ports)
    assert (await action.recover(step, saved, rig.stamp, world.ports)).found is Found.DONE
    assert await action.undo(step, saved, rig.stamp, world.ports) == "flag new-checkout is True again"
    assert json.loads(world.http.requests[-1].body) == {"enabled": True}
    with pytest.raises(Drifted):
        await action.prepare(step, rig.stamp, world.ports)


def _step(planned):
    from executor.model import PlannedStep  # noqa: PLC0415 - one test needs it

    return PlannedStep(
        index=0, id="fix", name="fix", action="acme_flag", params=planned.params, access=Access.WRITE, idempotent=True,
        timeout_seconds=30, changes=planned.changes,
    )  # fmt: skip


# What is refused


class Bare(Params):
    """Parameters without a description."""

    text: str = ""


class Broken(Action[Bare]):
    """A write that says nothing of itself."""

    name = "acme_broken"
    access = Access.WRITE
    params_model = Bare
    example = "action: something_else"

    async def plan(self, params, facts, world):
        return Planned(params={})


class NoText(Action[Params]):
    name = "Bad Name"
    params_model = Params

    async def plan(self, params, facts, world):
        return Planned(params={})


class Wrong(FlagSet):
    """Fields of the wrong kind."""

    aliases = ["a"]  # noqa: RUF012 - the mistake
    access = "write"
    idempotent = "yes"


class BadExample(FlagSet):
    """Its example does not fit."""

    example = "action: acme_flag\nparams: {server: x}"


def explodes():
    raise RuntimeError("boom")


NOTHING = 42
BOTH = [FlagSet, FlagSet()]


def point(what, name="acme"):
    return EntryPoint(name, f"{__name__}:{what}", services.plugins.GROUP)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """This module under the name that the entry points use."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("Broken", "parameter text of acme_broken has no description"),
        ("Broken", "the example of acme_broken does not use it"),
        ("Broken", "how it is simulated, undone and what it touches: no undone"),
        ("Broken", "acme_broken writes, and has no perform"),
        ("NoText", "name is 'Bad Name'"),
        ("Wrong", "aliases of acme_flag are ['a']"),
        ("Wrong", "access of acme_flag is 'write'; expected one of Access.READ"),
        ("Wrong", "idempotent of acme_flag is 'yes'"),
        ("BadExample", "the example of acme_flag does not fit its parameters"),
        ("NOTHING", "expected an executor.actions.base.Action, got int"),
        ("missing", "cannot be loaded: AttributeError"),
    ],
)
def test_a_plugin_that_is_not_whole_is_refused_with_what_is_missing(what, said):
    """Every problem names the plug-in."""
    with pytest.raises(ConfigError) as error:
        load([point(what)])
    assert said in str(error.value)
    assert all(problem.startswith("plug-in acme (") for problem in error.value.problems)


def test_a_plugin_that_cannot_be_imported_is_said_with_its_error():
    """Whatever its module raises."""
    with pytest.raises(ConfigError, match=r"plug-in x \(no_such_module:A\) cannot be loaded: ModuleNotFoundError"):
        load([EntryPoint("x", "no_such_module:A", services.plugins.GROUP)])


def test_names_that_are_taken_are_refused():
    """Those of the product, those of another plug-in, and the aliases of both."""
    ours = default_actions()
    with pytest.raises(ConfigError, match=r"two: the name acme_flag is taken by one"):
        merged(ours, [Plugin(FlagSet(), "one"), Plugin(FlagSet(), "two")])
    thief = FlagSet()
    thief.aliases = ("kubectl_patch", "wait/until")
    with pytest.raises(ConfigError) as error:
        merged(ours, [Plugin(thief, "thief")])
    assert len(error.value.problems) == 2
    assert "kubectl_patch is taken by Rootmend itself" in str(error.value)


def test_a_list_of_actions_is_several_plugins():
    """Classes and ready actions alike."""
    assert [plugin.action.name for plugin in load([point("BOTH")])] == ["acme_flag", "acme_flag"]


def test_a_bad_plugin_stops_the_start_with_its_name(monkeypatch, capsys):
    """Exit code 2 and no traceback, before anything is connected."""

    def bad():
        raise ConfigError(("plug-in acme (x:Y) cannot be loaded: ImportError: z",))

    monkeypatch.setattr(services.plugins, "installed", bad)
    assert app.main(["actions"]) == 2
    err = capsys.readouterr().err
    assert "plug-in acme (x:Y) cannot be loaded" in err
    assert "Traceback" not in err
