"""What must be kept whole and holds secrets: envelopes that open with the right key and for the right record only."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import orjson
import pytest
from fakes.graph_samples import execution, incident, permitted, signal
from hypothesis import given
from hypothesis import strategies as st

from executor.model import StepRun, StepStatus
from services.config_files import ConfigError
from services.graph.execution_rows import _plan_facts, altered, record_of, refuse_unkept, step_of, step_row
from services.masking import Masker
from services.pipeline.vetting import Vetting
from services.sealing import WITHHELD, BadKey, KeyRing, Sealer, SealError, Unkept, key_id_of, read_key
from services.secrets.keys import read_keys
from services.settings_secrets import EncryptionSettings
from services.testing.unsealing import unsealed

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
RING = KeyRing("2026-a", {"2026-a": OLD})
BOTH = KeyRing("2026.b", {"2026-a": OLD, "2026.b": NEW})
PASSWORD = "hunter2-in-the-old-deployment"
BEFORE = {"spec": {"env": [{"name": "DSN", "value": f"postgres://app:{PASSWORD}@db/shop"}]}}


@given(st.text(), st.text(min_size=1))
def test_a_text_comes_back_as_it_was(text, about):
    """The way back writes it to the cluster: every letter counts."""
    envelope = RING.seal(text, about)
    assert RING.open(envelope, about) == text
    assert RING.seal(text, about) != envelope  # equal texts must not look equal


@given(st.data())
def test_any_change_of_an_envelope_is_found(data):
    """A changed prior state must never be written to a cluster."""
    envelope = RING.seal("replicas: 3", "before of x1/step/0")
    at = data.draw(st.integers(0, len(envelope) - 1))
    letter = data.draw(st.sampled_from("AZaz09-_."))
    changed = envelope[:at] + letter + envelope[at + 1 :]
    if _same_bytes(changed, envelope):
        return
    with pytest.raises(SealError):
        RING.open(changed, "before of x1/step/0")


def _same_bytes(one, other):
    """The last letter of base64 may hold bits that mean nothing."""
    parts = [envelope.split(".") for envelope in (one, other)]
    if len({len(each) for each in parts}) > 1 or parts[0][:2] != parts[1][:2]:
        return False
    raw = [[base64.b64decode(part + "===", b"-_") for part in each[2:]] for each in parts]
    return raw[0] == raw[1]


def test_an_envelope_of_one_record_does_not_open_for_another():
    """Who can write to the graph could otherwise give one workload the state of another."""
    with pytest.raises(SealError, match="x2"):
        RING.open(RING.seal("text", "plan of x1"), "plan of x2")


def test_a_wrong_and_a_missing_key_are_told_apart():
    """The one needs the right key, the other needs the settings."""
    envelope = RING.seal("text", "plan of x1")
    with pytest.raises(SealError, match="plan of x1 cannot be decrypted"):
        KeyRing("2026-a", {"2026-a": NEW}).open(envelope, "plan of x1")
    with pytest.raises(SealError, match=r"needs the key '2026-a'.*it has 2026\.b"):
        KeyRing("2026.b", {"2026.b": NEW}).open(envelope, "plan of x1")
    with pytest.raises(SealError, match="no envelope"):
        RING.open("text", "plan of x1")


def test_after_rotation_the_old_key_can_go():
    """The text itself is not encrypted again, only its key."""
    old = RING.seal("text", "plan of x1")
    new = BOTH.rewrap(old, "plan of x1")
    assert (key_id_of(old), key_id_of(new)) == ("2026-a", "2026.b")
    assert new.split(".")[3] == old.split(".")[3]
    assert BOTH.open(old, "plan of x1") == "text"
    assert KeyRing("2026.b", {"2026.b": NEW}).open(new, "plan of x1") == "text"
    with pytest.raises(SealError):
        RING.open(new, "plan of x1")


def test_keys_are_32_bytes_in_base64():
    """A short key would be a weak one; the error does not repeat it."""
    assert read_key(base64.b64encode(OLD).decode() + "\n") == OLD
    assert read_key(base64.urlsafe_b64encode(b"\xff" * 32).decode()) == b"\xff" * 32
    for bad in ("c2hvcnQ=", "no base64!", ""):
        with pytest.raises(BadKey) as caught:
            read_key(bad)
        assert not bad or bad not in str(caught.value)


class Shelf:
    """Secrets of which one is a key."""

    async def get(self, name):
        return {"sealing-key": base64.b64encode(NEW).decode()}[name]


async def test_keys_come_from_files_variables_and_secrets_and_are_masked(tmp_path):
    """They are secrets themselves."""
    (tmp_path / "key").write_bytes(base64.b64encode(OLD))
    settings = EncryptionSettings(
        active="a", keys={"a": f"file:{tmp_path / 'key'}", "b": "secret:sealing-key", "c": "env:KEY"}
    )
    known = []
    ring = await read_keys(settings, {"KEY": base64.b64encode(b"3" * 32).decode()}, Shelf(), known.append)
    assert dict(ring.keys) == {"a": OLD, "b": NEW, "c": b"3" * 32}
    assert base64.b64encode(OLD).decode() in known
    assert len(known) == 3
    assert repr(OLD) not in repr(ring)


async def test_a_key_that_cannot_be_read_stops_the_start(tmp_path):
    """All problems at once, by the key's id and source."""
    (tmp_path / "short").write_text("c2hvcnQ=")
    settings = EncryptionSettings(active="a", keys={"a": f"file:{tmp_path / 'short'}", "b": "env:NO_SUCH"})
    with pytest.raises(ConfigError) as caught:
        await read_keys(settings, {}, Shelf(), lambda _: None)
    assert "encryption.keys.a" in str(caught.value)
    assert "it has 5 bytes, and needs 32" in str(caught.value)
    assert "encryption.keys.b (env:NO_SUCH): there is no such variable" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"active": "x", "keys": {"a": "env:A"}}, "active names 'x', and keys has a"),
        ({"keys": {"a": "env:A"}}, "keys without active"),
        ({"active": "a", "keys": {"a": "AAAA"}}, "never the key itself"),
        ({"active": "a", "keys": {"a": "file:relative"}}, "must be absolute"),
        ({"active": "a b", "keys": {"a b": "env:A"}}, "no id of a key"),
    ],
)
def test_mistakes_in_the_settings_of_keys_stop_the_start(given, told):
    """A key that does not encrypt must not look as if it did."""
    with pytest.raises(ValueError, match=told):
        EncryptionSettings(**given)


@pytest.fixture
def sealing(monkeypatch):
    """The rows with keys, as the composition root gives them."""
    made = Sealer(Masker())
    made.ring = RING
    monkeypatch.setattr("services.graph.execution_rows.sealer", made)
    return made


def step():
    moment = permitted().decided_at
    return StepRun(
        id="x1/step/0", phase="step", index=0, step_id="a", name="A", action="kubectl_patch",
        status=StepStatus.INTENDED, started_at=moment, before=BEFORE,
    )  # fmt: skip


def test_a_prior_state_with_a_password_is_masked_for_people_and_whole_for_the_way_back(sealing):
    """Rolling back with stars in a connection would break what worked."""
    row = step_row("x1", step())
    assert PASSWORD not in orjson.dumps(row, default=str).decode()
    assert step_of(row).before == BEFORE
    assert step_of(row, shown=True).before["spec"]["env"][0]["value"] == "postgres://app:***@db/shop"
    assert not altered(row)
    assert row["sealed_with"] == "2026-a"


def test_what_holds_no_secret_is_kept_as_it_is(sealing):
    """Encryption is for what needs it: everything else stays readable in the graph."""
    row = step_row("x1", step().model_copy(update={"before": {"replicas": 3}}))
    assert (row["before"], row["before_sealed"]) == ('{"replicas":3}', None)


def test_without_the_key_nothing_is_carried_out_with_stars(sealing):
    """The executor stops with an error instead of writing the mask to the cluster."""
    row = step_row("x1", step())
    sealing.ring = None
    with pytest.raises(SealError, match=r"before of x1/step/0.*'2026-a'.*secrets\.encryption"):
        step_of(row)


def sealed_plan():
    record = execution(incident(signal()))
    context = {**record.plan.context, "dsn": f"postgres://app:{PASSWORD}@db/shop"}
    return record.model_copy(update={"plan": record.plan.model_copy(update={"context": context})})


def test_a_plan_with_a_password_is_carried_out_as_it_was_approved(sealing):
    """Its hash is over every letter."""
    record = sealed_plan()
    row = {**_plan_facts(record), "id": record.id, "status": "running"}
    assert PASSWORD not in orjson.dumps(row, default=str).decode()
    assert record_of(row, ()).plan == record.plan
    assert record_of(row, (), shown=True).plan.context["dsn"] == "postgres://app:***@db/shop"


def test_an_exported_execution_is_opened_by_who_has_the_keys(sealing):
    """A replay elsewhere needs what was read then, and the file itself holds no secret."""
    record, run = sealed_plan(), step()
    row, before = {**_plan_facts(record), "id": record.id}, step_row(record.id, run)
    exported = {
        "id": record.id,
        "plan": json.loads(row["plan"]),
        "steps": [{"id": run.id, "before": json.loads(before["before"])}, {"id": "other", "before": None}],
        "sealed": {"plan": row["plan_sealed"], "before": {run.id: before["before_sealed"]}},
    }
    assert PASSWORD not in json.dumps(exported)
    whole = unsealed(exported, BOTH)
    assert whole["plan"] == record.plan.model_dump(mode="json")
    assert [one["before"] for one in whole["steps"]] == [BEFORE, None]
    assert "sealed" not in whole
    with pytest.raises(SealError):
        unsealed({**exported, "id": "another"}, BOTH)
    assert replace(BOTH, active="2026-a").open(row["plan_sealed"], f"plan of {record.id}")


@pytest.fixture
def keyless(sealing):
    """The rows of an installation that has no key."""
    sealing.ring = None
    return sealing


def test_without_a_key_a_prior_state_with_a_secret_is_refused_before_the_step(keyless):
    """The message names the setting; nothing of the value is in it."""
    with pytest.raises(Unkept, match=r"secrets\.encryption") as caught:
        refuse_unkept(step())
    assert PASSWORD not in str(caught.value)
    refuse_unkept(step().model_copy(update={"before": {"replicas": 3}}))
    refuse_unkept(step().model_copy(update={"before": None}))


def test_without_a_key_no_row_holds_a_secret_and_what_was_withheld_is_never_carried_out(keyless):
    """Whatever comes to be written, the graph has stars, and the executor an error instead of them."""
    row = step_row("x1", step())
    assert PASSWORD not in orjson.dumps(row, default=str).decode()
    with pytest.raises(SealError, match=r"before of x1/step/0 holds a secret.*secrets\.encryption"):
        step_of(row)
    record = sealed_plan()
    facts = {**_plan_facts(record), "id": record.id, "status": "running"}
    assert PASSWORD not in orjson.dumps(facts, default=str).decode()
    with pytest.raises(SealError, match="stored without it"):
        record_of(facts, ())
    assert record_of(facts, (), shown=True).plan.context["dsn"] == "postgres://app:***@db/shop"


def test_a_value_that_becomes_a_secret_under_way_does_not_spoil_the_way_back(monkeypatch):
    """The intent was written when it was none; the outcome must not put stars in its place."""
    masks = Masker()
    made = Sealer(masks)
    monkeypatch.setattr("services.graph.execution_rows.sealer", made)
    run = step().model_copy(update={"before": {"value": "not-yet-a-secret"}})
    refuse_unkept(run)
    masks.register("not-yet-a-secret")
    with pytest.raises(Unkept):
        refuse_unkept(run)
    assert step_of(step_row("x1", run, intended=True)).before == run.before


async def test_without_a_key_a_plan_with_a_secret_is_refused_by_name_of_the_setting(keyless):
    """At the gate, before anybody is asked and before anything is stored; with a key it passes."""
    vetting = Vetting(keepable=keyless.keepable)
    assert await vetting.after(execution(incident(signal())).plan, {}) is None
    refusal = await vetting.after(sealed_plan().plan, {})
    assert refusal.check == "unkept_secret"
    assert "secrets.encryption" in refusal.message
    assert "the incident" in refusal.message
    assert PASSWORD not in refusal.message
    plan = execution(incident(signal())).plan
    first = plan.steps[0].model_copy(update={"params": {"dsn": f"postgres://app:{PASSWORD}@db/shop"}})
    refusal = await vetting.after(plan.model_copy(update={"steps": (first, *plan.steps[1:])}), {})
    assert f"step {first.name!r}" in refusal.message
    keyless.ring = RING
    assert await vetting.after(sealed_plan().plan, {}) is None


@pytest.mark.parametrize(
    "text", ["collect basic diagnostics", "the bearer approves", "key=value", "a secret=", "tokens"]
)
def test_prose_is_no_secret_that_stops_a_plan(text):
    """Names of steps speak of tokens, too."""
    assert Sealer(Masker()).keepable(json.dumps({"name": text}))


@pytest.mark.parametrize(
    "text",
    [
        f"postgres://app:{PASSWORD}@db/shop",
        "Authorization: Basic dXNlcjpwYXNz",
        "Bearer abc123def456",
        "--password=x1y2",
    ],
)
def test_what_looks_like_a_secret_is_kept_only_where_the_settings_say_so(text):
    """One setting lets them pass, and never a value that is known."""
    masks = Masker()
    made, kept = Sealer(masks), json.dumps({"args": [text]})
    assert not made.keepable(kept)
    made.keep_lookalikes = True
    assert made.keepable(kept)
    assert made.kept(kept, "plan of x1") == (kept, None)
    masks.register(text)
    assert not made.keepable(kept)
    assert made.kept(kept, "plan of x1")[1] == WITHHELD


def test_an_export_of_what_was_withheld_stays_masked(keyless):
    """A replay with keys of today goes on with the mask, and does not stop."""
    record, run = sealed_plan(), step()
    row, before = {**_plan_facts(record), "id": record.id}, step_row(record.id, run)
    exported = {
        "id": record.id,
        "plan": json.loads(row["plan"]),
        "steps": [{"id": run.id, "before": json.loads(before["before"])}],
        "sealed": {"plan": row["plan_sealed"], "before": {run.id: before["before_sealed"]}},
    }
    whole = unsealed(exported, BOTH)
    assert whole["plan"]["context"]["dsn"] == "postgres://app:***@db/shop"
    assert whole["steps"][0]["before"]["spec"]["env"][0]["value"] == "postgres://app:***@db/shop"
