"""The search for canaries finds them when nothing is masked, and finds nothing when the product masks."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest
from fakes.canaries import Canaries, Slack, leaks
from fakes.served import mark, runbook, served
from fakes.web import web

from executor.model import ObjectRef

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
UNMASKED = """
from services.masking import Masker
Masker.text = lambda self, text: text
"""
"""A process that loads this masks nothing, anywhere."""


async def story(stack, folder, environment):
    """One incident with a canary in the alert, the workload, a step's output and a message; where it was found."""
    canaries, chat = Canaries(), Slack()
    key = base64.b64encode(os.urandom(32)).decode()
    async with web(chat) as slack:
        settings = {
            "slack": {"token": "xoxb-of-a-fake", "base_url": f"{slack.url}/api/", "channel": "#ops"},
            "secrets": {"encryption": {"active": "k1", "keys": {"k1": "env:SEALING_KEY"}}},
        }
        secret = {"ROOTMEND_SECRET_TOKEN": canaries.known, "SEALING_KEY": key, **environment}
        async with served(stack, folder, settings=settings, environment=secret) as world:
            read = {
                "id": "read",
                "name": "Read",
                "action": "kubectl_get",
                "params": {"resource": "Deployment/{{ target.name }}", "namespace": "{{ target.namespace }}"},
            }
            told = {
                "id": "tell",
                "name": "Tell",
                "action": "slack_notify",
                "params": {"channel": "#ops", "message": "{{ steps.read.output | json }} {{ incident.message }}"},
            }
            body = runbook("CanaryTrouble", read, mark("token", "{{ secrets.token }}"), told, id="canary")
            world.runbook("canary", body)
            await world.serve()
            namespace = await world.namespace()
            await world.app("web", namespace)
            patch = {"spec": {"template": {"metadata": {"annotations": {"dsn": canaries.address}}}}}
            await world.admin.patch(_deployment(namespace), patch, how="merge")
            message = world.rca("web", namespace, "CanaryTrouble", message=f"cannot reach {canaries.address}")
            await world.send([message])
            event = json.loads(message[1])["incident_id"]
            done = await world.execution(event, "done", seconds=90)
            assert done["outcome"] == "success", (done.get("error"), world.processes[0].log_file.read_text()[-2000:])
            live = await world.admin.get("Deployment", "web", namespace)
            assert live["metadata"]["annotations"]["token"] == canaries.known
            return await leaks(world, canaries, chat.said, [done["id"]])


def _deployment(namespace):
    return ObjectRef(kind="Deployment", name="web", namespace=namespace)


async def test_invariant_12_a_canary_is_found_nowhere(stack, tmp_path):
    """Read as a secret, and as a password in an alert and a workload that nobody told the pipeline of."""
    assert await story(stack, tmp_path / "masked", {}) == []


async def test_without_the_masker_the_search_finds_canaries_everywhere(stack, tmp_path):
    """Else the test above would hold for the wrong reason."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(UNMASKED)
    path = os.pathsep.join((str(hooks), str(ROOT), os.environ.get("PYTHONPATH", "")))
    found = await story(stack, tmp_path / "open", {"PYTHONPATH": path})
    places = {line.partition(":")[0].partition(" ")[0] for line in found}
    assert {"graph", "export", "chat", "executions"} <= places, found
