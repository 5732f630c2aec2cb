"""``rb serve`` on the real servers runs what was reviewed, and nothing else."""

from __future__ import annotations

import json
import uuid

import pytest
from fakes.served import mark, runbook, served, until

from services.catalogs.signing import make_key

pytestmark = pytest.mark.stack


async def test_a_runbook_runs_once_it_is_signed_and_no_more_once_it_is_changed(stack, tmp_path):
    """Left out with the reason on record, taken into force by ``rb sign`` without a restart, left out again."""
    public = make_key(tmp_path / "review.pem")
    rules = {"runbooks": {"paths": ["runbooks"], "trusted_keys": [public], "require_signature": "required"}}
    async with served(stack, tmp_path, settings=rules) as world:
        body = runbook("TestTrouble", mark("touched"), id="mark-it")
        path = world.runbook("mark-it", body)
        namespace = await world.namespace()
        for app in ("one", "two", "three"):
            await world.app(app, namespace)
        process = await world.serve()
        assert [line["runbook"] for line in process.log("runbook.unsigned")] == ["mark-it"]

        async def told(app):
            event = str(uuid.uuid4())
            await world.send([world.rca(app, namespace, event_id=event)])
            return event

        decision = await world.decided(await told("one"), "no_match")
        assert "is not signed" in json.dumps(decision, default=str), decision
        done = await world.rb("sign", str(path), "--key", str(tmp_path / "review.pem"), "--signer", "Ann")
        assert done.returncode == 0, done.stderr
        assert (await world.rb("verify")).returncode == 0

        async def in_force():
            return (await world.decided(await told("two"), "permit", "no_match"))["kind"] == "permit"

        await until(in_force, "the signature is seen", 60)
        world.runbook("mark-it", {**body, "description": "harmless?"})
        await until(lambda: changed(process), "the change is seen", 60)
        decision = await world.decided(await told("three"), "no_match")
        assert "changed after it was signed" in json.dumps(decision, default=str), decision
        assert "touched" not in await world.annotations("three", namespace)
        assert (await world.rb("verify")).returncode == 1


async def changed(process):
    return any("changed after" in line["why"] for line in process.log("runbook.unsigned"))
