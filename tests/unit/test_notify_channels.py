"""The notifications of a runbook, on every channel that it can name."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from fakes.actions import RecordingHooks, match_for, record_of
from fakes.nearby import nearby_client
from fakes.people import FakePeople
from fakes.web import Told, web
from fakes.world import FakeWorld

from executor.actions import default_actions
from executor.errors import NotConfigured
from executor.model import Outcome, Verdict
from executor.notify import Notifier
from executor.people_ports import People
from executor.planner import Planner

ALL = {
    "slack": {"channel": "#a", "message": "{{ target.name }}: {{ outcome }}"},
    "teams": {"message": "{{ target.name }}: {{ outcome }}"},
    "pagerduty": {"severity": "critical", "message": "{{ target.name }}: {{ error_message }}"},
    "email": {"to": ["sre@example.com"], "message": "{{ target.name }}: {{ outcome }}"},
}


@pytest.fixture
def people():
    return FakePeople()


@pytest.fixture
def world():
    return FakeWorld()


async def record(world, notification, **facts):
    """An execution that ended."""
    steps = [{"name": "think", "action": "calculate", "params": {"expression": "1 + 1"}}]
    match = match_for({"name": "rb", "version": "1.0", "steps": steps, "notification": notification})
    plan = await Planner(default_actions(), world.ports, {}).plan(match, "x1")
    given = match.runbook.runbook.notification.model_dump(mode="json", exclude_none=True)
    return record_of(plan, notification=given, outcome=Outcome.FAILURE, verdict=Verdict.NOT_FIXED, **facts)


def notifier(world, people, hooks, **ports):
    given = replace(world.ports, people=people, **ports)
    return Notifier(given, hooks, lambda text: text.replace("hunter2", "***"))


async def test_every_channel_that_is_named_hears_of_it(world, people):
    """Each in its own form, with the runbook's text rendered."""
    hooks = RecordingHooks()
    told = await record(world, {"on_failure": ALL}, error="no luck")
    await notifier(world, people.ports, hooks).tell(told, "on_failure")
    assert world.chat.messages == [("#a", "app: failure")]
    webhook, card = people.teams.cards[0]
    assert (webhook, card.text, card.facts["Execution"]) == ("default", "app: failure", "x1")
    page = people.pager.pages[0]
    assert (page.action, page.summary, page.severity, page.dedup_key) == ("trigger", "app: no luck", "critical", "x1")
    mail = people.mailer.mails[0]
    assert (mail.to, mail.subject) == (("sre@example.com",), f"rb on {told.plan.target_key}: failure")
    assert {facts["channel"] for name, facts in hooks.events if name == "notification.sent"} == set(ALL)


async def test_good_news_resolves_the_alert_of_the_same_execution(world, people):
    """What was paged at the start is closed at the end, by its key."""
    page = {"pagerduty": {"message": "{{ target.name }}"}}
    told = await record(world, {"on_start": page, "on_success": page})
    for moment in ("on_start", "on_success"):
        await notifier(world, people.ports, RecordingHooks()).tell(told, moment)
    assert people.pager.alerts == {"x1": "resolve"}


async def test_a_channel_that_fails_holds_up_no_other(world, people):
    """Chat away, mail not set up, a page that hangs: the card arrives, and each is told apart."""
    world.chat.error = OSError("away with hunter2")

    class Hanging:
        async def send(self, page):
            await asyncio.sleep(3600)

    hooks = RecordingHooks()
    ports = People(people.teams, Hanging(), FakePeople().mailer)
    ports.mailer.error = NotConfigured("no mail server")
    told = await record(world, {"on_failure": ALL})
    from executor import notify  # noqa: PLC0415 - its patience is shortened below

    before, notify.TIMEOUT_SECONDS = notify.TIMEOUT_SECONDS, 0.05
    try:
        await notifier(world, ports, hooks).tell(told, "on_failure")
    finally:
        notify.TIMEOUT_SECONDS = before
    ended = {facts["channel"]: name for name, facts in hooks.events}
    assert ended == {
        "slack": "notification.failed",
        "teams": "notification.sent",
        "pagerduty": "notification.failed",
        "email": "notification.skipped",
    }
    assert "hunter2" not in str(hooks.events)


async def test_a_webhook_gets_the_facts_and_its_secret_stays_secret(world):
    """The address is completed at the moment of use, and what the other side echoes is masked."""
    world.secrets.values["hook"] = "s3cr3t-hook"
    http, hooks = nearby_client(), RecordingHooks()
    async with web(lambda asked: Told(500, f"no {asked.path}")) as at:
        at.first = [Told(200, "ok")]
        url = at.url + "/{{ secrets.hook }}"
        told = await record(world, {"on_failure": {"webhook": {"url": url, "message": "{{ outcome }}"}}}, error="why")
        for _ in range(2):
            await notifier(world, People(), hooks, http=http).tell(told, "on_failure")
    await http.close()
    assert at.asked[0].path == "/s3cr3t-hook"
    assert at.asked[0].headers["idempotency-key"] == "x1/on_failure"
    body = at.asked[0].data
    assert (body["moment"], body["outcome"], body["error"], body["text"]) == ("failure", "failure", "why", "failure")
    assert [name for name, _ in hooks.events] == ["notification.sent", "notification.failed"]
    assert "answered 500" in hooks.events[1][1]["error"]
    assert "s3cr3t-hook" not in str(hooks.events)


async def test_an_address_with_an_unknown_name_is_not_called(world):
    """A half rendered address belongs to somebody else."""
    hooks = RecordingHooks()
    told = await record(world, {"on_failure": {"webhook": {"url": "http://x.example/{{ nobody }}"}}})
    await notifier(world, People(), hooks).tell(told, "on_failure")
    assert world.http.requests == []
    assert hooks.events[0][0] == "notification.failed"


async def test_secrets_in_messages_stay_references(world, people):
    """A message that names a secret shows its name, never its value."""
    world.secrets.values["token"] = "tok-12345"
    told = await record(world, {"on_failure": {"slack": {"channel": "#a", "message": "use {{ secrets.token }}"}}})
    await notifier(world, people.ports, RecordingHooks()).tell(told, "on_failure")
    assert "tok-12345" not in str(world.chat.messages)
    assert world.secrets.asked == []
