"""Clicks over signed HTTP, taken by ``rb serve``: what is forged, old or repeated changes nothing."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from uuid import uuid4

import httpx
import pytest
from fakes.served import mark, runbook, served, until

from compose.slack import LocalSlack
from compose.slack.server import NotAcknowledged

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

WAIT = 60
ALICE, APPROVE, DENY = "U0ALICE", "rootmend_approve", "rootmend_deny"


@pytest.fixture(scope="module")
async def site(stack, tmp_path_factory):
    async with LocalSlack(ack_seconds=30) as slack:
        slack.workspace.trigger_seconds = WAIT
        slack.workspace.add_user(ALICE, "Alice")
        settings = {
            "slack": {
                **slack.settings,
                "mode": "http",
                "signing_secret": slack.signing_secret,
                "users": {ALICE: "alice"},
            },
            "api": {"enabled": True, "port": 0},
        }
        async with served(stack, tmp_path_factory.mktemp("slack") / "http", settings=settings) as world:
            world.runbook("slack", runbook("SlackTrouble", mark("fixed"), safety={"require_approval": True}))
            space = await world.namespace()
            process = await world.serve()
            slack.request_url = process.log("service.ready")[-1]["url"] + "/slack/interactions"
            yield SimpleNamespace(slack=slack, world=world, space=space, process=process)


async def asked(site):
    """Something breaks; the event, the execution that waits, and the message that asks about it."""
    app = f"app-{uuid4().hex[:6]}"
    await site.world.app(app, site.space)
    short, body = site.world.rca(app, site.space, "SlackTrouble")
    await site.world.send([(short, body)])
    event = json.loads(body)["incident_id"]
    execution = await site.world.execution(event, "waiting_approval")

    async def look():
        return next((one for one in site.slack.messages() if execution["id"] in json.dumps(one.blocks)), None)

    return event, execution, await until(look, "the question in Slack", WAIT)


async def status(site, execution):
    rows = await site.world.query(
        "MATCH (a:Approval {execution_id: $id}) RETURN a.status AS status", id=execution["id"]
    )
    return [row["status"] for row in rows]


async def test_a_signed_click_carries_the_plan_out_and_a_replay_of_it_is_refused(site):
    """The first is taken and answered; the same bytes again, within the window, are not."""
    event, execution, message = await asked(site)
    payload = site.slack.clicked(ALICE, message, message.button(APPROVE))
    body, headers = site.slack.signed(payload)
    async with httpx.AsyncClient(trust_env=False, timeout=WAIT) as client:
        first, *others = await asyncio.gather(
            *(client.post(site.slack.request_url, content=body, headers=headers) for _ in range(5))
        )
        answers = sorted(one.status_code for one in (first, *others))
        assert answers == [200, 401, 401, 401, 401]
        again = await client.post(site.slack.request_url, content=body, headers=headers)
        assert (again.status_code, again.json()["error"]) == (401, "the request was taken before")
    assert (await site.world.execution(event, "done"))["outcome"] == "success"
    assert await status(site, execution) == ["approved"]


async def test_what_is_forged_old_or_no_click_changes_nothing(site):
    """A wrong signature, an old or future timestamp, another body, another type, a body without end."""
    _, execution, message = await asked(site)
    payload = site.slack.clicked(ALICE, message, message.button(APPROVE))
    body, headers = site.slack.signed(payload)
    old, old_headers = site.slack.signed(payload, time.time() - 400)
    new, new_headers = site.slack.signed(payload, time.time() + 900)
    forged = headers | {"X-Slack-Signature": LocalSlack().signed(payload)[1]["X-Slack-Signature"]}
    tries = [
        (body, forged, 401),
        (body + b"&more=1", headers, 401),
        (old, old_headers, 401),
        (new, new_headers, 401),
        (body, {"Content-Type": headers["Content-Type"]}, 401),
        (body, headers | {"Content-Type": "text/plain"}, 415),
        (b"payload=" + b"x" * 600_000, headers, 413),
    ]
    async with httpx.AsyncClient(trust_env=False, timeout=WAIT) as client:
        for content, given, wanted in tries:
            answer = await client.post(site.slack.request_url, content=content, headers=given)
            assert answer.status_code == wanted, answer.text
        nonsense, given = site.slack.signed({"type": "block_actions", "actions": []})
        assert (await client.post(site.slack.request_url, content=nonsense, headers=given)).status_code == 200
    assert await status(site, execution) == ["pending"]


async def test_a_dialog_over_http_is_answered_with_its_mistakes(site):
    """Slack shows them in the dialog; with a reason the no counts."""
    event, execution, message = await asked(site)
    await site.slack.click(ALICE, message, DENY)

    async def opened():
        return site.slack.workspace.views

    view = (await until(opened, "the dialog is open", WAIT))[-1]
    assert (await site.slack.submit(view, reason=" "))["response_action"] == "errors"
    assert await site.slack.submit(view, reason="not today") == {}
    assert (await site.world.execution(event, "done"))["outcome"] == "aborted"
    assert await status(site, execution) == ["denied"]


async def test_an_app_that_is_not_there_leaves_the_question_open(site):
    """Slack tells the person that it did not work, and nothing was answered."""
    _, execution, message = await asked(site)
    there, site.slack.request_url = site.slack.request_url, site.slack.request_url.replace("slack/", "nothing/")
    with pytest.raises(NotAcknowledged):
        await site.slack.click(ALICE, message, APPROVE)
    site.slack.request_url = there
    assert await status(site, execution) == ["pending"]


async def test_forged_and_repeated_clicks_are_in_the_audit_trail(site):
    """Why it was refused and what it claims to be; nobody is named as the actor, because nothing was proven."""
    _, execution, message = await asked(site)
    (approval,) = await site.world.query("MATCH (a:Approval {execution_id: $id}) RETURN a.id AS id", id=execution["id"])
    payload = site.slack.clicked(ALICE, message, message.button(APPROVE))
    body, headers = site.slack.signed(payload)
    forged = headers | {"X-Slack-Signature": LocalSlack().signed(payload)[1]["X-Slack-Signature"]}
    async with httpx.AsyncClient(trust_env=False, timeout=WAIT) as client:
        for given, expected in ((forged, 401), (headers, 200), (headers, 401)):
            answer = await client.post(site.slack.request_url, content=body, headers=given)
            assert answer.status_code == expected, answer.text
    told = await site.world.query(
        "MATCH (a:AuditEntry {tenant: '_system', kind: 'access.denied'}) WHERE a.facts CONTAINS $id "
        "RETURN a.actor AS actor, a.subject AS subject, a.reason AS reason, a.facts AS facts ORDER BY a.at",
        id=approval["id"],
    )
    assert [row["reason"] for row in told] == ["the signature is not Slack's", "the request was taken before"]
    assert {(row["actor"], row["subject"]) for row in told} == {("unproven", f"slack {APPROVE}")}
    facts = json.loads(told[0]["facts"])
    assert (facts["claimed_user"], facts["address"]) == (ALICE, "127.0.0.1")
