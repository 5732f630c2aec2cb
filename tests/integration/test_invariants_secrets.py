"""Invariant 12 with the catalog's own runbook on the practice cluster: a canary is looked for everywhere."""

from __future__ import annotations

import base64
import json
from uuid import uuid4

import pytest
from fakes.canaries import EVERY_VALUE
from fakes.served import TOPICS, served, until

from executor.model import ObjectRef

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

CANARY = f"canary{uuid4().hex}"
GOOD = json.dumps({"auths": {"registry.practice.rootmend.dev": {"auth": CANARY, "password": CANARY}}})
BAD = f"{CANARY} is no JSON"
EXPIRED = base64.b64encode(b'{"auths":{}}').decode()


def forms():
    """The canary as it is, and in base64, at each place that it can have in a group of three bytes."""
    found = {CANARY}
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + CANARY.encode()).decode()
        found.add(encoded[4 if shift else 0 : -4])
    for whole in (GOOD, BAD):
        found.add(base64.b64encode(whole.encode()).decode())
        found.add(base64.b64encode(base64.b64encode(whole.encode())).decode())
    return sorted(found)


@pytest.fixture
async def world(stack, tmp_path):
    settings = {"runbooks": {"paths": ["packaged"]}}
    async with served(stack, tmp_path / "secrets", settings=settings) as one:
        one.folder.joinpath("secrets").mkdir()
        one.settings["secrets"] = {"folder": str(one.folder / "secrets")}
        one.write()
        yield one


async def shop(world):
    """A workload that cannot pull its image, because its pull secret has expired."""
    namespace = await world.namespace()
    meta = {
        "name": "regcred",
        "namespace": namespace,
        "annotations": {"practice.rootmend.dev/expired-data": EXPIRED},
    }
    kind = "kubernetes.io/dockerconfigjson"
    data = {".dockerconfigjson": EXPIRED}
    await world.admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": kind, "data": data})
    image = "registry.practice.rootmend.dev/billing/payments:2.0.1"
    await world.app("payments", namespace, image=image)
    rid = f"secret:{namespace}:regcred"
    await world.query("MERGE (r:Resource {rid: $rid}) SET r.client_id = $name, r.kind = 'Secret'", rid=rid)
    return namespace


async def carried_out(world, namespace):
    """The incident of a namespace, approved by a person, to its end."""
    message = world.rca("payments", namespace, "ImagePullBackOff")
    await world.send([message])
    event = json.loads(message[1])["incident_id"]
    waiting = await world.execution(event, "waiting_approval", "done")
    assert waiting["status"] == "waiting_approval", waiting.get("error")
    answer = await world.rb("approvals", "approve", waiting["id"], "--yes", "--by", "alice")
    assert answer.returncode == 0, answer.stderr
    return event, await world.execution(event, "done", seconds=90)


async def places(world, *events):
    """Everything that was written or said, by place."""
    said = {f"topic {short}": b"\n".join(await world.raw(short)).decode("utf-8", "replace") for short in TOPICS}
    said["log"] = world.processes[0].log_file.read_text()
    async for key in world.redis.scan_iter(count=1000):
        if await world.redis.type(key) != b"string":
            continue
        said[f"redis {key!r}"] = repr(await world.redis.get(key))
    said["redis"] = repr(await world.dump())
    for event in events:
        for words in (("explain", event), ("explain", event, "--json")):
            answer = await world.rb(*words)
            assert answer.returncode == 0, answer.stderr
            said[" ".join(words)] = answer.stdout + answer.stderr
        execution = await world.execution(event)
        for words in (("executions", "show", execution["id"], "--json"), ("approvals", "show", execution["id"])):
            answer = await world.rb(*words)
            said[" ".join(words)] = answer.stdout + answer.stderr
    return said


async def test_invariant_12_a_secret_is_in_the_cluster_and_nowhere_else(world):
    """Through planning, approval, dry run, patch, verification and a refused second try: only the Secret has it."""
    value = world.folder / "secrets" / "registry_config"
    value.write_text(GOOD)
    await world.serve()
    mended, broken = await shop(world), await shop(world)
    event, done = await carried_out(world, mended)
    assert (done["outcome"], done["verdict"]) == ("success", "verified"), done.get("error")
    secret = await world.admin.get("Secret", "regcred", mended)
    assert CANARY in base64.b64decode(secret["data"][".dockerconfigjson"]).decode()

    value.write_text(BAD)
    refused, ended = await carried_out(world, broken)
    assert ended["outcome"] == "aborted"
    assert "dockerconfigjson" in ended["error"]

    found = forms()
    said = await places(world, event, refused)
    assert all(done["id"] in said[place] for place in ("topic decisions", "topic executions", "log", "redis"))
    assert await world.query(EVERY_VALUE, forms=[done["plan_hash"]])
    assert {place: form for place, text in said.items() for form in found if form in text} == {}
    assert await world.query(EVERY_VALUE, forms=found) == []

    async def no_backup():
        return await world.admin.get("Secret", f"rootmend-backup-{done['id']}", mended) is None

    await until(no_backup, "the prior secret is kept no longer than needed")
    await world.admin.delete(ObjectRef(kind="Secret", name="regcred", namespace=mended))
