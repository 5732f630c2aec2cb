"""Secrets as objects: their data never leaves the cluster."""

from __future__ import annotations

import base64
import json

import pytest
from fakes.action_rig import EXECUTION, NAMESPACE, Rig
from fakes.world import FakeWorld

from executor.actions.backups import discard_backups
from executor.actions.base import Found, Stamp
from executor.errors import Drifted, MissingSecret

BACKUP = f"rootmend-backup-{EXECUTION[:8]}-regcred"
MANIFEST = """
apiVersion: v1
kind: Secret
metadata:
  name: regcred
type: kubernetes.io/dockerconfigjson
data:
  .dockerconfigjson: "__secret:registry|base64__"
"""


def packed(text):
    return base64.b64encode(text.encode()).decode()


def secret(value="old-credentials"):
    copies = {
        "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": packed(value)}),
        "tool.example.com/copy": packed(value),
        "tool.example.com/read": f"as {value}",
    }
    meta = {"name": "regcred", "namespace": NAMESPACE, "annotations": {**copies, "owner": "team-shop"}}
    kind = "kubernetes.io/dockerconfigjson"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": meta,
        "type": kind,
        "data": {".dockerconfigjson": packed(value)},
    }


@pytest.fixture
def world():
    fake = FakeWorld()
    fake.secrets.values["registry"] = "new-credentials"
    return fake


def data(world):
    found = world.cluster.look("Secret", "regcred", NAMESPACE)
    return base64.b64decode(found["data"][".dockerconfigjson"]).decode()


def apply(world):
    return Rig(world.ports, "kubectl_apply", {"manifest": MANIFEST})


def records(rig, *more):
    return "".join([rig.planned.model_dump_json(), json.dumps(rig.saved), *(json.dumps(one) for one in more)])


async def test_a_renewed_secret_leaves_no_value_in_any_record(world):
    """Old and new data are in the cluster only, also where annotations repeat them; records hold names and masks."""
    world.cluster.add(secret())
    rig = apply(world)
    output = await rig.run()
    assert data(world) == "new-credentials"
    text = records(rig, output, (await rig.recover()).output)
    for value in ("old-credentials", "new-credentials"):
        assert value not in text
        assert packed(value) not in text
    assert rig.planned.changes[0].summary.endswith("data[.dockerconfigjson]: *** -> ***")
    assert "team-shop" in text, "what is no secret can be read"


async def test_undo_of_a_renewed_secret_takes_the_prior_data_from_the_backup(world):
    """The backup lies beside the Secret and is named in what was saved."""
    world.cluster.add(secret())
    rig = apply(world)
    await rig.run()
    assert world.cluster.look("Secret", BACKUP, NAMESPACE)["metadata"]["labels"]["rootmend.dev/execution"] == EXECUTION
    text = await rig.undo()
    assert data(world) == "old-credentials"
    assert "credentials" not in text
    assert "already" in await rig.undo()


async def test_a_secret_that_somebody_else_renewed_is_not_put_back(world):
    """Their value is newer than ours; the text does not quote it."""
    world.cluster.add(secret())
    rig = apply(world)
    await rig.run()
    world.cluster.change("Secret", "regcred", NAMESPACE, {"data": {".dockerconfigjson": packed("theirs")}})
    with pytest.raises(Drifted) as caught:
        await rig.undo()
    assert packed("theirs") not in str(caught.value)
    assert data(world) == "theirs"


async def test_a_second_try_keeps_the_first_backup(world):
    """After a crash the second try would see the new data as the prior one."""
    world.cluster.add(secret())
    rig = apply(world)
    await rig.plan()
    await rig.prepare()
    await rig.perform()
    first = rig.saved
    await rig.prepare()
    await rig.perform()
    rig.saved = first
    await rig.undo()
    assert data(world) == "old-credentials"


async def test_two_steps_share_one_backup_secret(world):
    """Each step finds its own prior data in it."""
    world.cluster.add(secret())
    first = apply(world)
    await first.run()
    body = {"stringData": {"extra": "more"}}
    second = Rig(world.ports, "kubectl_patch", {"resource": "secret/regcred", "patch": body})
    second.stamp = Stamp(EXECUTION, "second", 7)
    await second.run()
    await second.undo()
    await first.undo()
    assert world.cluster.look("Secret", "regcred", NAMESPACE)["data"] == {
        ".dockerconfigjson": packed("old-credentials")
    }


async def test_backups_are_discarded_at_the_end_and_only_those_of_the_execution(world):
    """Nothing with old credentials stays behind."""
    world.cluster.add(secret())
    rig = apply(world)
    await rig.run()
    other = EXECUTION[:8] + "-another"
    assert await discard_backups(world.cluster, other, [rig.saved]) == 0
    assert await discard_backups(world.cluster, EXECUTION, [rig.saved, None]) == 1
    assert world.cluster.look("Secret", BACKUP, NAMESPACE) is None
    assert await discard_backups(world.cluster, EXECUTION, [rig.saved]) == 0


async def test_a_secret_that_is_created_is_deleted_again_by_undo(world):
    """There was nothing before, so nothing is kept."""
    rig = apply(world)
    output = await rig.run()
    assert data(world) == "new-credentials"
    assert "new-credentials" not in records(rig, output)
    assert (await rig.recover()).found is Found.DONE
    assert "deleted again" in await rig.undo()
    assert world.cluster.look("Secret", "regcred", NAMESPACE) is None
    assert world.cluster.look("Secret", BACKUP, NAMESPACE) is None


async def test_a_deleted_secret_comes_back_from_its_backup(world):
    """Deleting is undone without its data in the journal."""
    world.cluster.add(secret())
    rig = Rig(world.ports, "kubectl_delete", {"resource": "secret", "name": "regcred"})
    await rig.run()
    assert world.cluster.look("Secret", "regcred", NAMESPACE) is None
    assert packed("old-credentials") not in records(rig)
    assert "created again" in await rig.undo()
    assert data(world) == "old-credentials"


async def test_reading_a_secret_shows_its_keys_only(world):
    """Also not through the copy that kubectl keeps in an annotation, and not as one field."""
    world.cluster.add(secret())
    whole = (await Rig(world.ports, "kubectl_get", {"resource": "secret/regcred"}).plan()).result
    assert whole["data"] == {".dockerconfigjson": "***"}
    assert packed("old-credentials") not in json.dumps(whole)
    field = {"resource": "secret/regcred", "field": "data['.dockerconfigjson']"}
    assert (await Rig(world.ports, "kubectl_get", field).plan()).result == "***"


async def test_a_secret_that_no_provider_knows_stops_the_dry_run(world):
    """Before the first change, and by name."""
    world.secrets.values.clear()
    world.cluster.add(secret())
    rig = apply(world)
    await rig.plan()
    with pytest.raises(MissingSecret, match="registry"):
        await rig.action.dry_run(rig.planned, rig.world)


async def test_a_secret_that_changed_since_the_plan_is_drift(world):
    """Its version tells, without looking at the data."""
    world.cluster.add(secret())
    rig = apply(world)
    await rig.plan()
    world.cluster.change("Secret", "regcred", NAMESPACE, {"data": {".dockerconfigjson": packed("theirs")}})
    with pytest.raises(Drifted):
        await rig.prepare()
