"""Steps that tell people: teams_notify, pagerduty, email, ticket, notify."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from fakes.action_rig import EXECUTION, Rig
from fakes.nearby import nearby_client
from fakes.people import FakePeople, FakeTickets
from fakes.people_servers import JiraServer
from fakes.web import web
from fakes.world import FakeWorld

from executor.actions import default_actions
from executor.actions.base import Found
from executor.errors import NotConfigured, NotDone, PlanError, StepFailed
from executor.model import Access
from executor.people_ports import People
from executor.rendering import checked
from services.json_calls import JsonCalls
from services.tickets import Jira

CASES = {
    "slack_notify": {"channel": "#incidents", "message": "fixed"},
    "teams_notify": {"message": "fixed"},
    "pagerduty": {"summary": "it broke"},
    "email": {"to": ["sre@example.com"], "subject": "fixed", "message": "all well"},
    "ticket": {"summary": "web grew"},
    "notify": {"channels": ["slack"], "message": "fixed"},
}


@pytest.fixture
def people():
    return FakePeople()


@pytest.fixture
def world():
    return FakeWorld()


def rig(world, people, name, params):
    return Rig(replace(world.ports, people=people.ports), name, params)


@pytest.mark.parametrize("name", CASES)
async def test_what_people_have_read_is_a_notification_and_nothing_to_undo(world, people, name):
    """It changes nothing, needs no approval, and says what a dry run does with it."""
    made = rig(world, people, name, CASES[name])
    step = await made.plan()
    assert made.action.access is Access.NOTIFY
    assert step.changes == ()
    assert all((made.action.simulated, made.action.undone, made.action.targets))
    assert await made.act()
    assert await made.undo() == "nothing to undo"


@pytest.mark.parametrize("name", CASES)
async def test_no_message_holds_a_secret(world, people, name):
    """Channels have many readers, also those that the author did not think of."""
    field = "summary" if "summary" in CASES[name] else "message"
    with pytest.raises(PlanError, match="token"):
        await rig(world, people, name, {**CASES[name], field: "use __secret:token__"}).plan()


@pytest.mark.parametrize("name", [name for name in CASES if name != "slack_notify"])
async def test_a_way_that_is_not_set_up_is_said(world, name):
    """The step fails with the name of what is missing, and nothing else happens."""
    world.chat.error = NotConfigured("no token")
    made = Rig(replace(world.ports, people=People()), name, CASES[name])
    await made.plan()
    with pytest.raises((NotConfigured, StepFailed)):
        await made.act()


async def test_a_card_goes_to_the_webhook_that_is_named(world, people):
    """With its title and facts."""
    params = {"channel": "sre", "title": "web", "message": "fixed", "facts": {"Count": 3}}
    assert await rig(world, people, "teams_notify", params).run() == {"channel": "sre"}
    ((webhook, card),) = people.teams.cards
    assert (webhook, card.title, card.text, dict(card.facts)) == ("sre", "web", "fixed", {"Count": "3"})


async def test_the_events_of_an_execution_share_its_id(world, people):
    """So that a later step, or the end of the execution, resolves what an earlier one triggered."""
    await rig(world, people, "pagerduty", {"summary": "it broke", "severity": "critical"}).run()
    await rig(world, people, "pagerduty", {"event": "resolve"}).run()
    assert people.pager.alerts == {EXECUTION: "resolve"}
    assert people.pager.pages[0].source == "Deployment/shop/web"


async def test_an_event_may_be_sent_again_after_a_crash(world, people):
    """Its key makes it the same event; a mail or a card is not sent again."""
    for name, found in [("pagerduty", Found.NOT_DONE), ("email", Found.UNKNOWN), ("teams_notify", Found.UNKNOWN)]:
        made = rig(world, people, name, CASES[name])
        await made.plan()
        assert (await made.recover()).found is found


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("pagerduty", {"event": "trigger"}, "needs a summary"),
        ("pagerduty", {"summary": "x", "severity": "high"}, "severity"),
        ("email", {"to": "sre", "subject": "a", "message": "b"}, "to"),
        ("email", {"to": ["a@b.c\nBcc: d@e.f"], "subject": "a", "message": "b"}, "to"),
        ("ticket", {"operation": "comment", "comment": "hi"}, "comment needs key"),
        ("ticket", {"operation": "transition", "key": "OPS-1"}, "transition needs state"),
        ("ticket", {"operation": "comment", "key": "OPS-1^ORnumber=2", "comment": "x"}, "key"),
        ("notify", {"channels": ["slak"], "message": "x"}, "channels"),
        ("notify", {"channels": [], "message": "x"}, "channels"),
        ("teams_notify", {"message": "x", "chanel": "sre"}, "did you mean channel"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(name, params, said):
    """With the parameter that is wrong."""
    with pytest.raises(PlanError, match=said):
        checked(default_actions()[name], params)


async def test_addresses_may_be_one_text_with_commas(world, people):
    """As people write them."""
    output = await rig(world, people, "email", {**CASES["email"], "to": "a@b.c, d@e.f"}).run()
    assert output["to"] == ["a@b.c", "d@e.f"]
    assert output["message_id"] == f"<{EXECUTION}/fix@fake>"


async def test_a_ticket_is_opened_commented_and_moved(world, people):
    """Three steps on one ticket, the later ones with the key that the first gave."""
    made = await rig(world, people, "ticket", {"summary": "web grew", "description": "leak?", "labels": ["oom"]}).run()
    await rig(world, people, "ticket", {"operation": "comment", "key": made["key"], "comment": "still"}).run()
    moved = await rig(
        world,
        people,
        "ticket",
        {"operation": "transition", "key": made["key"], "state": "In Progress", "comment": "taken"},
    ).run()
    assert moved["state"] == "In Progress"
    assert people.jira.comments[made["key"]] == ["still", "taken"]
    assert EXECUTION in people.jira.drafts[made["key"]].description


async def test_after_a_crash_the_ticket_is_looked_for(world, people):
    """One that was opened is found and taken as the step's outcome; of one that is not there nobody can be sure."""
    made = rig(world, people, "ticket", CASES["ticket"])
    await made.plan()
    await made.prepare()
    assert (await made.recover()).found is Found.UNKNOWN
    output = await made.perform()
    recovered = await made.recover()
    assert recovered.found is Found.DONE
    assert recovered.output["key"] == output["key"]


async def test_a_ticket_of_a_crashed_step_is_found_in_a_real_api(world):
    """The reference survives the trip through Jira's labels and its query language."""
    http = nearby_client()
    async with web(JiraServer()) as at:
        jira = Jira(JsonCalls(http, world.clock), at.url, user="bot@example.com", token="jira-t0ken", project="OPS")
        made = Rig(replace(world.ports, people=People(tickets={"jira": jira})), "ticket", CASES["ticket"])
        await made.plan()
        output = await made.act()
        assert (await made.recover()).output["key"] == output["key"] == "OPS-1"
    await http.close()


async def test_one_of_several_ticket_systems_must_be_named(world):
    """Guessing would put the ticket where nobody looks."""
    people = People(tickets={"jira": FakeTickets(), "servicenow": FakeTickets()})
    made = Rig(replace(world.ports, people=people), "ticket", CASES["ticket"])
    await made.plan()
    with pytest.raises(NotConfigured, match="several are set up"):
        await made.act()


async def test_notify_tells_every_channel_that_is_named(world, people):
    """The form of v1: channels, severity and message; each once."""
    params = {
        "channels": ["slack", "pagerduty", "teams", "email", "slack"],
        "severity": "warning",
        "message": "Rolled back.\nPlease look.",
    }
    await rig(world, people, "notification/send", params).run()
    assert world.chat.messages == [("", "Rolled back.\nPlease look.")]
    page = people.pager.pages[0]
    assert (page.summary, page.severity, page.dedup_key) == ("Rolled back.", "warning", EXECUTION)
    assert people.mailer.mails[0].subject == "Rolled back."
    assert people.teams.cards[0][0] == "default"


async def test_a_channel_that_fails_is_named_and_holds_up_no_other(world, people):
    """The pager must ring although chat is away."""
    world.chat.error = NotDone("Slack is away")
    made = rig(world, people, "notify", {"channels": ["slack", "pagerduty"], "message": "broken"})
    await made.plan()
    with pytest.raises(StepFailed, match=r"slack: Slack is away \(told: pagerduty\)"):
        await made.act()
    assert len(people.pager.pages) == 1


def test_the_old_names_lead_to_the_same_actions():
    """Runbooks of v1 name a kind and an action."""
    table = default_actions()
    for alias, name in [
        ("notification/send", "notify"),
        ("notification/slack", "slack_notify"),
        ("notification/teams", "teams_notify"),
        ("notification/pagerduty", "pagerduty"),
        ("notification/email", "email"),
        ("create_ticket", "ticket"),
    ]:
        assert table[alias] is table[name]
    assert json.dumps(sorted(CASES)) == json.dumps(sorted(name for name in table if name in CASES))
