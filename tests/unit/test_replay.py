"""Recorded executions again: the same when nothing changed, and each change is told where it is."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

import runbooks
from executor.actions import default_actions
from matcher.model import Incident
from runbooks.loader import load_text
from safety.policy import PolicySettings
from services.cli.app import main
from services.testing import trial
from services.testing.acceptance import Expected, Fakes, Happening, LoadedPack, Pack, Scenario, Sick
from services.testing.history import HistoryWriter
from services.testing.replay import Recording, ReplayError, execution_in, replay
from services.testing.trial import Lab

CATALOG = Path(runbooks.__file__).parent / "catalog"
SHOP = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "cart", "namespace": "shop"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "cart"}},
        "template": {
            "metadata": {"labels": {"app": "cart"}},
            "spec": {"containers": [{"name": "app", "image": "a:1", "resources": {"limits": {"memory": "256Mi"}}}]},
        },
    },
}
ENOUGH = "pod.spec.containers[0].resources.limits.memory | parse_memory >= '512Mi' | parse_memory"
HELPED = Sick(why="OOMKilled", unless=ENOUGH)
TEXT = (CATALOG / "oomkilled-increase-memory" / "runbook.yaml").read_text()


async def recorded(monkeypatch, *, sick=(HELPED,), text=TEXT, secrets=None):
    """One execution, run by the real executor on the cluster in memory, as the exporter writes it."""
    kept = {}
    real_run, real_match = trial._run, trial._record

    async def run(permit, record, journal, **rest):
        ended = await real_run(permit, record, journal, **rest)
        kept["ended"], kept["evidence"] = await journal.load(record.id), journal.evidence[record.id]
        return ended

    def note(match, plan, number, clock):
        kept["incident"] = match.incident
        return real_match(match, plan, number, clock)

    monkeypatch.setattr(trial, "_run", run)
    monkeypatch.setattr(trial, "_record", note)
    scenario = Scenario(
        name="x",
        incident=Happening(target="Deployment/shop/cart"),
        fakes=Fakes(cluster=(SHOP,), sick=sick),
        expected=Expected(),
        secrets=secrets or {},
    )
    pack = LoadedPack(Path("acceptance.yml"), Pack(scenarios=(scenario,)), load_text(text))
    await trial.run_scenario(pack, scenario, Lab(default_actions(), PolicySettings()))
    ended, evidence = kept["ended"], kept["evidence"]
    execution = {
        "id": ended.id,
        "attempt": 1,
        **ended.model_dump(mode="json", include={"requested_at", "started_at", "finished_at"}),
        "plan": ended.plan.model_dump(mode="json"),
        "record": ended.model_dump(mode="json", exclude={"plan", "steps"}),
        "steps": [run.model_dump(mode="json") for run in ended.steps],
        "altered": [],
        "evidence": [one.model_dump(mode="json") for one in evidence],
        "actions_taken": [],
        "approvals": [],
    }
    incident = {
        "id": "incident-1",
        "decision": "decision-1",
        "incident": TypeAdapter(Incident).dump_python(kept["incident"], mode="json"),
        "executions": [execution],
    }
    return Recording(incident, execution, text)


def changed(recording, edit):
    """The recording with one thing changed."""
    execution = copy.deepcopy(recording.execution)
    edit(execution)
    return Recording(recording.incident, execution, recording.text)


async def replayed(recording, against=None):
    """The replay, in words."""
    result = await replay(recording, default_actions(), {}, against)
    return result, [str(one) for one in result.deviations]


async def test_what_was_recorded_comes_out_again(monkeypatch):
    """Plan, steps, outputs and verdict of a fix that worked."""
    result, told = await replayed(await recorded(monkeypatch))
    assert told == []
    assert (result.same, result.notes) == (True, ())
    assert [run.step_id for run in result.steps] == ["read_limit", "new_limit", "raise_limit", "rollout"]


async def test_a_way_back_comes_out_again(monkeypatch):
    """A fix that did not help was undone; so it is in the replay."""
    result, told = await replayed(await recorded(monkeypatch, sick=(Sick(why="OOMKilled"),)))
    assert told == []
    assert [run.phase for run in result.steps].count("undo") == 1


async def test_a_step_with_a_secret_comes_out_again_without_its_value(monkeypatch):
    """No value is recorded; that one was there is all that a replay needs."""
    step = """
  steps:
    - name: Keep the key
      action: kubectl_apply
      params:
        manifest:
          apiVersion: v1
          kind: Secret
          metadata: {name: key, namespace: shop}
          stringData: {key: "{{ secrets.deploy_key }}"}
"""
    text = TEXT.replace("\n  steps:\n", step, 1)
    recording = await recorded(monkeypatch, text=text, secrets={"deploy_key": "canary-4711"})
    assert "canary-4711" not in str(recording)
    result, told = await replayed(recording)
    assert result.same, told


async def test_an_execution_whose_fix_was_not_proven_comes_out_again(monkeypatch):
    """The steps went well, the pods died again: verified by nobody, rolled back."""
    text = TEXT.replace("condition: rollout complete\n        timeout: 5m", "seconds: 1")
    assert text != TEXT
    result, told = await replayed(await recorded(monkeypatch, sick=(Sick(why="OOMKilled"),), text=text))
    assert told == []
    assert result.same


def _output(number, value):
    def edit(execution):
        execution["steps"][number]["output"] = value

    return edit


def _result(execution):
    execution["plan"]["steps"][0]["result"] = "300Mi"


def _sent(execution):
    patch = execution["plan"]["steps"][2]["params"]["patch"]
    patch["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "1Gi"


def _failed(execution):
    execution["steps"][3].update(status="failed", error="too slow")


def _evidence(execution):
    execution["evidence"] = [{**one, "healthy": False} for one in execution["evidence"]]


def _altered(execution):
    execution["altered"] = [execution["steps"][3]["id"]]


EDITS = {
    "the output of a read": (_output(0, "300Mi"), "Read the memory limit"),
    "the output of a calculation": (_output(1, "300Mi"), "Double it"),
    "what a read gave while planning": (_result, "Double it"),
    "what was sent": (_sent, "the gate gives no permit|Raise the memory limit|hash differs"),
    "how a step ended": (_failed, "Wait until the new pods|verified|outcome|did not run"),
    "the evidence": (_evidence, "verdict"),
    "a record that its digest no longer fits": (_altered, "Wait until.*its record was changed"),
}


@pytest.mark.parametrize("what", EDITS)
async def test_a_changed_record_is_flagged(monkeypatch, what):
    """Whatever one thing is changed, the replay differs, and says where."""
    edit, where = EDITS[what]
    _, told = await replayed(changed(await recorded(monkeypatch), edit))
    assert told
    import re  # noqa: PLC0415 - one use

    assert any(re.search(where, line) for line in told), told


async def test_times_and_ids_are_no_deviation(monkeypatch):
    """What differs from run to run without meaning anything is left out."""

    def edit(execution):
        for run in execution["steps"]:
            run["started_at"] = "2020-02-02T02:02:02Z"
        output = execution["steps"][2]["output"]
        output.update(uid="00000000-0000-0000-0000-000000000000", resource_version="99", generation=7)

    _, told = await replayed(changed(await recorded(monkeypatch), edit))
    assert told == []


async def test_a_changed_runbook_is_run_instead(monkeypatch):
    """Each deviation is told step by step, and nothing is written."""
    against = load_text(TEXT.replace("grow(2,", "grow(3,"))
    result, told = await replayed(await recorded(monkeypatch), against)
    assert not result.same
    assert "step 'Double it, up to the ceiling': result: recorded '512Mi', replayed '768Mi'" in told
    assert any("256Mi -> 512Mi" in line and "256Mi -> 768Mi" in line for line in told)


async def test_a_runbook_with_another_step_ends_where_nothing_is_recorded(monkeypatch):
    """What would come of a write that was never made is not guessed."""
    step = """
    - id: restart
      name: Restart it as well
      action: kubectl_rollout_restart
      params: {resource: deployment}

  verification:"""
    _, told = await replayed(await recorded(monkeypatch), load_text(TEXT.replace("\n  verification:", step, 1)))
    assert any("Restart it as well" in line and "was not recorded" in line for line in told), told


async def test_what_runs_cannot_be_replayed(monkeypatch):
    """Only an execution that has ended is a whole record."""

    def edit(execution):
        execution["record"].update(status="running")

    with pytest.raises(ReplayError, match="has not ended"):
        await replayed(changed(await recorded(monkeypatch), edit))


async def test_an_unknown_text_is_a_note(monkeypatch):
    """The steps are compared all the same."""
    recording = await recorded(monkeypatch)
    result = await replay(Recording(recording.incident, recording.execution), default_actions(), {})
    assert result.same
    assert "its plan was not made again" in result.notes[0]


def test_an_execution_is_found_by_the_beginning_of_its_id():
    """Of several the ids are told."""
    incidents = [
        {"id": "i1", "decision": "d1", "executions": [{"id": "abc111"}, {"id": "abc222"}]},
        {"id": "i2", "decision": "d2", "executions": [{"id": "fff"}]},
    ]
    assert execution_in(incidents, "abc1")[1]["id"] == "abc111"
    assert execution_in(incidents, "i2")[1]["id"] == "fff"
    with pytest.raises(ReplayError, match=r"several(.|\n)*abc111(.|\n)*abc222"):
        execution_in(incidents, "abc")
    with pytest.raises(ReplayError, match="no execution begins with 'zzz'"):
        execution_in(incidents, "zzz")


@pytest.fixture
async def file(tmp_path, monkeypatch):
    """An exported file with one execution."""
    recording = await recorded(monkeypatch)
    path = tmp_path / "incidents.jsonl.gz"
    with HistoryWriter(path) as out:
        plan = recording.execution["plan"]
        version = {"id": plan["runbook_id"], "version": "1.0.0", "sha": plan["runbook_sha"], "text": TEXT}
        out.runbook(version)
        out.incident(recording.incident)
    return path, recording.execution["id"]


def test_the_command_replays_from_a_file(file, capsys):
    """Without any server; exit code 0."""
    path, number = file
    assert main(["replay", number, "--from", str(path)]) == 0
    assert "everything came out as recorded" in capsys.readouterr().out


def test_a_file_that_was_edited_is_flagged(file, tmp_path, capsys):
    """One changed character: exit code 1, and the file is named."""
    import gzip  # noqa: PLC0415 - one use

    path, number = file
    text = gzip.decompress(path.read_bytes()).decode()
    edited = tmp_path / "edited.jsonl"
    edited.write_text(text.replace('"512Mi"', '"513Mi"', 1))
    assert edited.read_text() != text
    assert main(["replay", number, "--from", str(edited), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert any("was changed after it was written" in one["what"] for one in told["deviations"])


def test_wrong_use_is_told(file, tmp_path, capsys):
    """An unknown id and an unreadable runbook: exit code 2."""
    path, number = file
    assert main(["replay", "ffffff", "--from", str(path)]) == 2
    assert "no execution begins with 'ffffff'" in capsys.readouterr().err
    broken = tmp_path / "broken.yaml"
    broken.write_text("runbook: {id: x}")
    assert main(["replay", number, "--from", str(path), "--against", str(broken)]) == 2
    assert "broken.yaml" in capsys.readouterr().err
