"""Malformed runbooks dropped into the folder of a running process: named, not used, and nothing else changes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from fakes.served import mark, runbook, served, until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

HEADER = re.compile(r"^=== (RB\d{3}) (\d+) (.+)$", re.MULTILINE)


def _table():
    text = (Path(__file__).parents[1] / "unit" / "runbooks_bad" / "cases.txt").read_text()
    parts = HEADER.split(text)[1:]
    for number, (code, title, body) in enumerate(zip(parts[::4], parts[2::4], parts[3::4], strict=True)):
        if title == "a mappings file":
            continue  # no runbook, but at home beside them: a folder may hold it
        yield f"bad-{number:02d}-{re.sub('[^a-z0-9]+', '-', title.lower())}", code, body.removeprefix("\n")


MALFORMED = [*_table(), ("no-text", "RB001", b"runbook:\n  id: caf\xe9\n"), ("huge", "RB002", "#" * 600_000)]


@pytest.fixture
async def world(stack, tmp_path):
    async with served(stack, tmp_path / "runbooks-world") as one:
        one.runbook("good", runbook("TestTrouble", mark("fixed"), id="good"))
        await one.serve()
        yield one


async def fixed(world, app, namespace):
    """The runbook that is in force answers: its version, and what it wrote."""
    await world.app(app, namespace)
    message = world.rca(app, namespace)
    await world.send([message])
    execution = await world.execution(json.loads(message[1])["incident_id"], "done")
    assert execution["outcome"] == "success", execution["error"]
    return execution["runbook_version"], (await world.annotations(app, namespace))["fixed"]


async def test_malformed_runbooks_are_named_and_the_good_version_stays_in_force(world):
    """More than sixty bad files, one of them over the good one: each is in the log, none is used, nothing crashes."""
    assert len(MALFORMED) >= 60
    (process,) = world.processes
    namespace = await world.namespace()
    await fixed(world, "before", namespace)
    for name, _, text in MALFORMED:
        path = world.folder / "runbooks" / f"{name}.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    good = world.folder / "runbooks" / "good.yaml"
    version_one = good.read_text()
    world.runbook("good", version_one.replace("blast_radius_limit: 10", "blast_radius_limt: 10"))

    def said():
        return [line["why"] for line in process.log("runbook.rejected")]

    async def all_named():
        told = said()
        return all(any(f"{name}.yaml" in why and code in why for why in told) for name, code, _ in MALFORMED)

    await until(all_named, "every bad file is named with its rule")

    async def kept():
        return [why for why in said() if "good.yaml" in why and "the last good version of good stays in use" in why]

    await until(kept, "the log says that the good version stays")
    version, _ = await fixed(world, "during", namespace)
    assert version == "1.0.0"
    for name, _, _ in MALFORMED:
        (world.folder / "runbooks" / f"{name}.yaml").unlink()
    second = {**yaml.safe_load(version_one)["runbook"], "version": "2.0.0"}
    world.runbook("good", second)

    async def taken():
        return any("good" in line["changed"] for line in process.log("runbooks.loaded"))

    await until(taken, "the mended version is in force")
    version, _ = await fixed(world, "after", namespace)
    assert version == "2.0.0"
    assert not process.ended
