"""Programs in containers, logs, jobs and counts, on the API server in memory."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from fakes.action_rig import Rig, deployment, facts, workload
from fakes.world import FakeSecrets, FakeWorld
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from executor.actions.base import Found
from executor.attempts import proven
from executor.errors import Drifted, Forbidden, NotConfigured, PlanError, StepFailed, Unavailable
from executor.exec_rules import ExecRules, matches
from executor.ports import ExecResult
from services.settings_exec import ExecActions


@pytest.fixture
def world():
    fake = FakeWorld()
    fake.cluster.add(deployment())
    fake.cluster.programs = lambda command: ExecResult(0, " ".join(command), "")
    return fake


def rig(world, params, about=None, *, action="kubectl_exec", allow=("**",), enabled=True):
    ports = replace(world.ports, exec_rules=ExecRules(enabled, tuple(allow)))
    return Rig(ports, action, params, about or replace(facts(), container="app"))


PS = {"command": ["ps", "aux"]}


# What may be run


@pytest.mark.parametrize(
    ("pattern", "command", "fits"),
    [
        ("ps aux", ["ps", "aux"], True),
        ("ps *", ["ps", "aux"], True),
        ("ps *", ["ps"], False),
        ("ps *", ["ps", "a", "b"], False),
        ("ps *", ["ps", "a b; rm -rf /"], True),
        ("ps a*", ["ps", "b"], False),
        ("ps **", ["ps"], True),
        ("ps **", ["ps", "a", "b"], True),
        ("**", ["ps"], False),
        ("ps", ["/usr/local/ps"], False),
        ("ps", ["PS"], False),
        ("sh -c 'kill -3 1'", ["sh", "-c", "kill -3 1"], True),
        ("sh -c 'kill -3 1'", ["sh", "-c", "kill -3 1; rm -rf /"], False),
        ("", ["ps"], False),
    ],
)
def test_a_pattern_fits_word_by_word(pattern, command, fits):
    """A star is within one argument, so that what is allowed says how many arguments there are."""
    assert matches(pattern, command) is fits


@given(command=st.lists(st.text(min_size=1), min_size=1, max_size=5), more=st.lists(st.text(), min_size=1, max_size=3))
def test_a_command_without_patterns_fits_itself_and_nothing_longer(command, more):
    """Quoting loses nothing, whatever is in the arguments; a star in one is written as a class."""
    literal = [word.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]") for word in command]
    pattern = shlex.join(literal)
    assert matches(pattern, command)
    assert not matches(pattern, [*command, *more])


async def test_nothing_is_run_until_the_settings_allow_it(world):
    """Off by default; on, only what is on the list; asked again just before it runs."""
    with pytest.raises(NotConfigured, match=r"actions\.exec\.enabled"):
        await rig(world, PS, enabled=False).plan()
    with pytest.raises(Forbidden, match=r"ps aux is not allowed; actions\.exec\.allow of the settings has jcmd"):
        await rig(world, PS, allow=["jcmd **"]).plan()
    one = rig(world, PS, allow=["ps **"])
    await one.plan()
    one.world = replace(one.world, exec_rules=ExecRules(True, ("jcmd **",)))
    with pytest.raises(Forbidden):
        await one.prepare()
    assert world.cluster.count("exec") == 0


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"enabled": True}, "lets nothing run"),
        ({"allow": ["**"]}, "names no program"),
        ({"allow": ["* -c x"]}, "names no program"),
        ({"allow": ["ps ** aux"]}, "only be the last word"),
        ({"allow": ["sh -c 'x"]}, "cannot be taken apart"),
    ],
)
def test_settings_that_allow_nothing_or_everything_are_refused(given_, said):
    """The start stops, with the pattern that is wrong."""
    with pytest.raises(ValidationError, match=said):
        ExecActions.model_validate(given_)


# Running


async def test_a_program_is_run_as_its_list_of_arguments(world):
    """No shell: what looks like shell is an argument like any other. A human is asked, for it cannot be undone."""
    command = ["echo", "$HOME; reboot", "a b"]
    one = rig(world, {"command": command, "deployment": "web"}, allow=["echo **"])
    step = await one.plan()
    change = step.changes[0]
    assert change.irreversible
    assert change.ref.kind == "Pod"
    assert "run echo '$HOME; reboot' 'a b' in container app" in change.summary
    await one.action.dry_run(step, one.world)
    given_ = await one.act()
    sent = next(call for call in world.cluster.calls if call.verb == "exec")
    assert sent.body == command
    assert (given_["exit_code"], given_["stdout"]) == (0, "echo $HOME; reboot a b")


async def test_an_exit_code_that_is_no_success_fails_the_step_with_its_last_words(world):
    """Other codes can be declared a success."""
    world.cluster.programs = lambda _: ExecResult(3, "", "no such process")
    one = rig(world, PS, allow=["ps **"])
    await one.plan()
    with pytest.raises(StepFailed, match="ended with 3: no such process"):
        await one.act()
    fine = rig(world, {**PS, "expectedExitCodes": [0, 3]}, allow=["ps **"])
    assert (await fine.run())["exit_code"] == 3


async def test_output_is_bounded_and_secrets_are_hidden_in_it(world):
    """A program may write its arguments out."""
    one = rig(world, {"command": ["login", "__secret:pass__"], "max_output": 18}, allow=["login *"])
    one.world = replace(one.world, secrets=FakeSecrets({"pass": "hunter22"}))
    given_ = await one.run()
    assert given_["stdout"] == "login ***"
    assert "hunter22" not in one.planned.model_dump_json() + str(one.saved)
    short = rig(world, {"command": ["echo", "x" * 50], "max_output": 10}, allow=["echo *"])
    assert (await short.run())["truncated"] is True


async def test_after_a_crash_nobody_says_that_a_program_ran_or_did_not(world):
    """It is not repeated; a human looks."""
    one = rig(world, PS, allow=["ps **"])
    step = await one.plan()
    await one.prepare()
    answer = await one.recover()
    assert answer.found is Found.UNKNOWN
    assert proven(one.action, step, answer) is Found.UNKNOWN
    assert "cannot be taken back" in await one.undo()


async def test_a_right_that_is_missing_is_found_in_the_dry_run(world):
    """Web sockets are opened with get, older clients and newer servers use create: both are needed."""
    for verb in ("create", "get"):
        world.cluster.denied = {f"{verb} exec"}
        one = rig(world, PS, allow=["ps **"])
        step = await one.plan()
        with pytest.raises(Forbidden, match=f"may not {verb} pods/exec"):
            await one.action.dry_run(step, one.world)
    assert world.cluster.count("exec") == 0


async def test_another_pod_of_the_same_name_is_not_the_one_that_was_approved(world):
    """The uid decides."""
    world.cluster.frozen = True
    pod = world.cluster.items("Pod")[0]
    one = rig(world, {**PS, "pod": pod["metadata"]["name"]}, allow=["ps **"])
    await one.plan()
    world.cluster.remove(pod)
    with pytest.raises(Drifted, match="is gone"):
        await one.prepare()
    world.cluster.insert({"kind": "Pod", "metadata": {**pod["metadata"], "uid": "x"}, "spec": pod["spec"]})
    with pytest.raises(Drifted, match="created anew"):
        await one.prepare()


@pytest.mark.parametrize(
    ("params", "about", "said"),
    [
        ({"container": "nope"}, facts(), "has no container 'nope'"),
        ({}, facts(), "the containers app, proxy: give container"),
        ({"resource": "deployment/empty", "container": "app"}, facts(), "has no pod"),
        ({"resource": "configmap/c", "container": "app"}, facts(), "there is no ConfigMap"),
        ({"resource": "node/node-1", "container": "app"}, facts(), "is no pod and has none"),
    ],
)
async def test_pod_and_container_are_never_guessed(world, params, about, said):
    """Each with what is there instead."""
    world.cluster.add(deployment("empty", replicas=0))
    with pytest.raises(PlanError, match=said):
        await rig(world, {**PS, **params}, about, allow=["ps **"]).plan()


async def test_the_incidents_pod_that_is_gone_is_followed_to_its_successor(world):
    """And of a workload a ready pod is taken, the newest of them, the same each time."""
    one = rig(world, PS, replace(facts(pod="web-gone"), container="app"), allow=["ps **"])
    first = (await one.plan()).changes[0].ref.name
    assert first in {pod["metadata"]["name"] for pod in world.cluster.items("Pod")}
    again = rig(world, {**PS, "resource": "deployment"}, allow=["ps **"])
    assert (await again.plan()).changes[0].summary == (await again.plan()).changes[0].summary


@pytest.mark.parametrize("command", ["ps aux", [], None, [["ps"]]])
def test_a_command_that_is_no_list_of_arguments_is_refused(world, command):
    """A text would have to be taken apart by somebody."""
    with pytest.raises(ValidationError):
        rig(world, {}).action.params_model.model_validate({"command": command})


async def test_a_connection_that_breaks_is_no_failure_of_the_program(world):
    """The runner asks what happened, and hears that nobody knows."""
    world.cluster.fail("exec", Unavailable("cut"), after=True)
    one = rig(world, PS, allow=["ps **"])
    await one.plan()
    await one.prepare()
    with pytest.raises(Unavailable):
        await one.perform()


# Logs


async def test_logs_are_read_in_their_turn_and_from_their_end(world):
    """What planning read would be older than the evidence that is wanted."""
    world.cluster.written = {("app", False): "1\n2\n3\n", ("app", True): "died\n"}
    one = rig(world, {"tail": 2}, action="kubernetes/getLogs", enabled=False)
    step = await one.plan()
    assert step.result is None
    assert (await one.perform())["log"] == "2\n3\n"
    last = rig(world, {"previous": True, "maxBytes": 3}, action="kubectl_logs")
    await last.plan()
    assert (await last.perform())["log"] == "ed\n"


# Jobs


@pytest.mark.parametrize(
    ("params", "error", "said"),
    [
        ({}, ValidationError, "either cronjob or manifest"),
        ({"cronjob": "a", "manifest": {}}, ValidationError, "lacks apiVersion"),
        (
            {"manifest": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}},
            ValidationError,
            "must be one Job",
        ),
        ({"cronjob": "nope"}, PlanError, "there is no CronJob/shop/nope"),
    ],
)
async def test_a_job_needs_one_source(world, params, error, said):
    """One job, from one place."""
    with pytest.raises(error, match=said):
        await rig(world, params, action="kubectl_create_job").plan()


async def test_a_job_that_cleans_itself_up_is_not_started_twice_after_a_crash(world):
    """Gone may mean done: nobody knows, so a human looks."""
    spec = {"ttlSecondsAfterFinished": 5, "template": {"spec": {"containers": [{"name": "a", "image": "a"}]}}}
    manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "fix"}, "spec": spec}
    one = rig(world, {"manifest": manifest}, action="kubectl_create_job")
    step = await one.plan()
    await one.act()
    world.cluster.remove(world.cluster.items("Job")[0])
    assert proven(one.action, step, await one.recover()) is Found.UNKNOWN


async def test_the_end_of_a_job_is_waited_for_and_a_failed_one_fails_the_step(world):
    """Both ends, by the job's own conditions."""
    spec = {"template": {"spec": {"containers": [{"name": "a", "image": "a"}]}}}
    for name, trouble in (("good", ""), ("bad", "Error")):
        world.cluster.health = lambda _, trouble=trouble: trouble
        manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
        one = rig(world, {"manifest": manifest, "wait": True}, action="kubectl_create_job")
        await one.plan()
        await one.prepare()
        if not trouble:
            assert (await one.perform())["ended"] == "complete"
        else:
            with pytest.raises(StepFailed, match="failed"):
                await one.perform()


# Counts


async def test_too_few_ready_pods_fail_the_check_and_none_at_all_prove_nothing(world):
    """A workload of zero pods is not ready, unless zero is asked for."""
    world.cluster.add(workload("StatefulSet", "db", replicas=0))
    none = rig(world, {"statefulset": "db"}, action="kubectl_check_ready")
    await none.plan()
    with pytest.raises(StepFailed, match="0 of 0 are ready"):
        await none.perform()
    asked = rig(world, {"statefulset": "db", "min_ready_replicas": 0}, action="kubectl_check_ready")
    await asked.plan()
    assert (await asked.perform())["ready"] == 0
    world.cluster.health = lambda _: "CrashLoopBackOff"
    world.cluster.add(deployment("sick"))
    sick = rig(world, {"deployment": "sick", "timeout": 5}, action="kubernetes/checkDeploymentReady")
    await sick.plan()
    with pytest.raises(StepFailed, match="not reached within 5 s: 0 of 2 are ready, and 2 are needed"):
        await sick.perform()
