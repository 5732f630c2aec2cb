"""The authoring guide is true: its commands are run in their order, on real servers and in a real Git repository."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from fakes.served import served

pytestmark = [pytest.mark.stack, pytest.mark.timeout(280)]

PAGE = (Path(__file__).parents[2] / "docs" / "authoring.md").read_text(encoding="utf-8")
COMMAND = re.compile(r"^\$ rb (.+)$", re.MULTILINE)
PACK = re.compile(r"^```yaml\n(scenarios:\n.*?)^```", re.MULTILINE | re.DOTALL)
SAID = {
    "explain": "TestAuthoring",
    "score": "monthly",
    "new": "restart-cart.yaml",
    "validate": "1 of 1 runbooks can be used, 0 errors, 0 warnings",
    "lint": "cannot be undone",
    "graph": "flowchart",
    "run": "cart",
    "test": "the cart is restarted once",
    "incidents": "incidents.jsonl.gz",
    "versions": "in the file",
}
"""What the output of a command must hold: an exit code of 0 alone may mean that nothing was done."""


def git(folder, *words):
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


async def test_every_command_of_the_guide_works_in_its_order(stack, tmp_path):
    """From an incident that nobody answered to the versions of the runbook that now does."""
    async with served(stack, tmp_path / "guide") as world:
        namespace = await world.namespace()
        await world.app("cart", namespace)
        await world.serve()
        message = world.rca("cart", namespace, "TestAuthoring")
        await world.send([message])
        event = json.loads(message[1])["incident_id"]
        await world.decided(event, "no_match", seconds=90)
        mine = world.folder / "my-runbooks" / "restart-cart"
        done = []
        for line in COMMAND.findall(PAGE):
            words = shlex.split(line.replace("INCIDENT", event).replace("NAMESPACE", namespace))
            if words[0] == "test":
                (mine / "acceptance.yml").write_text(PACK.findall(PAGE)[0])
            if words[0] == "diff":
                git(world.folder, "init", "-q")
                git(world.folder, "add", "my-runbooks")
                git(world.folder, "commit", "-q", "-m", "a runbook")
                (mine / "restart-cart.yaml").write_text(
                    (mine / "restart-cart.yaml").read_text().replace("30s", "40s", 1)
                )
            if words[0] == "versions":
                (world.folder / "runbooks" / "restart-cart.yaml").write_text((mine / "restart-cart.yaml").read_text())
            told = await world.rb(*words)
            assert told.returncode == 0, f"rb {line}\n{told.stdout}{told.stderr}"
            assert SAID.get(words[0], "") in told.stdout + told.stderr, f"rb {line}\n{told.stdout}{told.stderr}"
            done.append(words[0])
    assert {"explain", "new", "fmt", "validate", "graph", "run", "test", "backtest", "diff"} <= set(done)
