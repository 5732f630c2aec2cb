"""Webhooks and messages, and the table of all actions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.action_rig import EXECUTION, Rig
from fakes.world import FakeWorld

from executor.actions import action_schemas, action_table_markdown, default_actions
from executor.actions.base import Found
from executor.errors import NotConfigured, PlanError, StepFailed, Unavailable
from executor.model import Access
from runbooks.yaml_source import parse_yaml

URL = "https://cloud.example.com/replace"


@pytest.fixture
def world():
    return FakeWorld()


def webhook(world, **params):
    return Rig(world.ports, "webhook", {"url": URL, **params})


async def test_a_call_carries_its_idempotency_key_and_its_body_as_json(world):
    """The key is made of execution and step, so that a repeated call is the same call."""
    rig = webhook(world, body={"node": "n1"}, headers={"X-Count": 3})
    await rig.plan()
    world.http.answers = [(202, '{"ticket": 7}')]
    assert await rig.act() == {"status": 202, "body": {"ticket": 7}}
    sent = world.http.requests[0]
    assert sent.method == "POST"
    assert sent.headers["Idempotency-Key"] == f"{EXECUTION}/fix"
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.headers["X-Count"] == "3"
    assert json.loads(sent.body) == {"node": "n1"}


@pytest.mark.parametrize(("method", "lasting"), [("POST", True), ("delete", True), ("GET", False), ("head", False)])
async def test_only_reads_can_be_taken_back(world, method, lasting):
    """Everything else needs a human."""
    change = (await webhook(world, method=method).plan()).changes[0]
    assert change.irreversible is lasting
    assert bool(change.undo) is not lasting


async def test_secrets_reach_the_other_side_and_no_record(world):
    """Also not when the other side echoes them."""
    world.secrets.values["token"] = "tok-12345"
    rig = webhook(world, headers={"Authorization": "Bearer __secret:token__"})
    await rig.plan()
    world.http.answers = [(200, '{"you_sent": "Bearer tok-12345"}'), (400, "bad tok-12345")]
    output = await rig.act()
    assert world.http.requests[0].headers["Authorization"] == "Bearer tok-12345"
    assert "tok-12345" not in json.dumps([output, rig.planned.model_dump(mode="json")])
    with pytest.raises(StepFailed, match=r"answered 400: bad \*\*\*"):
        await rig.perform()


@pytest.mark.parametrize("failing", [Unavailable("away"), (503, "busy")])
async def test_a_call_that_may_be_repeated_is(world, failing):
    """With growing pauses, and the same key each time."""
    rig = webhook(world, idempotent=True, retries=2)
    await rig.plan()
    world.http.answers = [failing, failing, (200, "ok")]
    assert (await rig.act())["body"] == "ok"
    assert world.http.seen_keys == {f"{EXECUTION}/fix": 3}
    assert world.clock.slept == [0.5, 1.0]
    assert (await rig.recover()).found is Found.NOT_DONE


@pytest.mark.parametrize(("failing", "said"), [(Unavailable("away"), "is unknown"), ((503, "busy"), "answered 503")])
async def test_a_call_that_may_not_be_repeated_is_made_once(world, failing, said):
    """Nobody knows whether it was carried out; after a crash neither."""
    rig = webhook(world)
    await rig.plan()
    world.http.answers = [failing]
    with pytest.raises(StepFailed, match=said):
        await rig.act()
    assert len(world.http.requests) == 1
    assert (await rig.recover()).found is Found.UNKNOWN


async def test_an_unexpected_status_fails_and_an_expected_one_does_not(world):
    """Statuses of success can be named."""
    rig = webhook(world, expected_status="404")
    await rig.plan()
    world.http.answers = [(404, ""), (200, "")]
    assert (await rig.act())["status"] == 404
    with pytest.raises(StepFailed, match="answered 200"):
        await rig.perform()


async def test_only_http_addresses_are_called(world):
    """A file is no webhook."""
    with pytest.raises(PlanError, match="no http"):
        await webhook(world, url="file:///etc/passwd").plan()


# slack_notify


async def test_a_message_is_posted_once_and_never_again(world):
    """After a crash it may be missing, and nobody gets it twice."""
    rig = Rig(world.ports, "slack_notify", {"channel": "#incidents", "message": "fixed"})
    await rig.plan()
    assert (await rig.act())["message_id"] == "ts-1"
    assert world.chat.messages == [("#incidents", "fixed")]
    assert (await rig.recover()).found is Found.UNKNOWN
    assert rig.action.access is Access.NOTIFY
    assert not rig.action.idempotent


async def test_a_message_holds_no_secrets(world):
    """Channels have many readers."""
    with pytest.raises(PlanError, match="token"):
        await Rig(world.ports, "slack_notify", {"channel": "#x", "message": "__secret:token__"}).plan()


async def test_a_missing_token_is_said(world):
    """The port's error passes through."""
    world.chat.error = NotConfigured("no token")
    rig = Rig(world.ports, "slack_notify", {"channel": "#x", "message": "hi"})
    await rig.plan()
    with pytest.raises(NotConfigured):
        await rig.act()


# The table


def test_every_action_says_what_it_is():
    """A name, a description, described parameters, and an example that fits them."""
    for name, action in default_actions().items():
        assert name in (action.name, *action.aliases)
        assert (type(action).__doc__ or "").strip()
        assert all(field.description for field in action.params_model.model_fields.values()), name
        example = parse_yaml(action.example).value
        assert example["action"] == action.name
        action.params_model.model_validate(example.get("params", {}))


def test_every_action_has_a_schema_of_its_parameters():
    """Editors and validation use them; unknown parameters are refused."""
    schemas = action_schemas(default_actions())
    assert set(schemas) == set(default_actions())
    for name, schema in schemas.items():
        assert schema["additionalProperties"] is (name == "api_call")
        assert json.dumps(schema)


def test_the_documentation_is_made_from_the_declarations():
    """docs/actions.md holds the very table."""
    text = (Path(__file__).parents[2] / "docs" / "actions.md").read_text()
    table = action_table_markdown(default_actions())
    assert table in text, "make docs/actions.md again: python -m executor.actions docs/actions.md"
