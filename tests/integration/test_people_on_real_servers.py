"""``rb serve`` tells people on every way that a runbook can name, and looks at a page in Chromium."""

from __future__ import annotations

import json
import os
from contextlib import AsyncExitStack

import pytest
from fakes.people_servers import JiraServer, PagerDutyServer, ServiceNowServer, TeamsServer
from fakes.screens import Entities
from fakes.served import mark, runbook, served, until
from fakes.smtp import mail_server
from fakes.web import Told, web

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

WORD = "{{ target.name }}"
SECRETS = ("R0UTING", "jira-t0ken", "n0w-pass", "m4il-pass", "xoxb-t0ken", "h00k-part")


class Site:
    """An installation whose ways to people all lead to servers of the test."""

    def __init__(self):
        self.teams, self.pager = TeamsServer(), PagerDutyServer()
        self.jira, self.now, self.page = JiraServer(), ServiceNowServer(), Entities()
        self.chat, self.hooks = [], []

    def slack(self, asked):
        self.chat.append(asked.body)
        return Told(200, {"ok": True, "ts": "1.0"})

    def hook(self, asked):
        self.hooks.append(asked)
        return Told(200, "ok")


@pytest.fixture
async def site(stack, tmp_path, chromium):
    made = Site()
    async with AsyncExitStack() as held:
        teams, pager, jira, now, page, slack, hook = [
            await held.enter_async_context(web(answer))
            for answer in (made.teams, made.pager, made.jira, made.now, made.page, made.slack, made.hook)
        ]
        post = await held.enter_async_context(mail_server(tmp_path))
        settings = {
            "teams": {"webhooks": {"default": f"{teams.url}/h00k-part"}},
            "pagerduty": {"routing_keys": {"default": "R0UTING"}, "base_url": pager.url},
            "mail": {"host": "127.0.0.1", "port": post.port, "sender": "bot@rootmend.dev", "user": "bot"},
            "jira": {"base_url": jira.url, "user": made.jira.user, "project": "OPS"},
            "servicenow": {"base_url": now.url, "user": made.now.user},
            "slack": {"base_url": slack.url, "channel": "#sre"},
            "screenshots": {"browser": str(chromium), "reports": "reports"},
        }
        settings["mail"] |= {"ca_file": str(post.ca_file), "to": ["team@example.com"]}
        environment = {
            "ROOTMEND_MAIL__PASSWORD": "m4il-pass",
            "ROOTMEND_JIRA__TOKEN": "jira-t0ken",
            "ROOTMEND_SERVICENOW__PASSWORD": "n0w-pass",
            "ROOTMEND_SLACK__TOKEN": "xoxb-t0ken",
        }
        one = await held.enter_async_context(
            served(stack, tmp_path / "site", settings=settings, environment=environment)
        )
        made.post, made.world, made.page_url, made.hook_url = post, one, page.url, hook.url
        yield made


def step(name, action, **params):
    return {"id": name, "name": name, "action": action, "params": params}


def everything(site):
    """A runbook that uses each way once."""
    told = {
        "slack": {"channel": "#sre", "message": f"{WORD}: {{{{ outcome }}}}"},
        "teams": {"message": f"{WORD}: {{{{ outcome }}}}"},
        "pagerduty": {"message": f"{WORD}: {{{{ outcome }}}}"},
        "email": {"to": ["boss@example.com"], "message": f"{WORD}: {{{{ outcome }}}}"},
        "webhook": {"url": f"{site.hook_url}/done"},
    }
    ticket = "{{ opened.key }}"
    return runbook(
        "PeopleTrouble",
        mark("fixed"),
        step("slack", "slack_notify", channel="#sre", message=f"step {WORD}"),
        step("teams", "teams_notify", title="Step", message=f"step {WORD}"),
        step("page", "pagerduty", severity="critical", summary=f"step {WORD}"),
        step("mail", "email", to=["sre@example.com"], subject="step", message=f"step {WORD}"),
        {**step("open", "ticket", system="jira", summary=f"step {WORD}"), "output_var": "opened"},
        step("move", "ticket", system="jira", operation="transition", key=ticket, state="In Progress", comment="on it"),
        step("record", "ticket", system="servicenow", summary=f"step {WORD}"),
        step("all", "notification/send", channels=["slack", "pagerduty", "teams", "email"], message=f"all {WORD}"),
        step("look", "ui_screenshot", url=f"{site.page_url}/entities", selector="#entity-list", masks=[".clock"]),
        notification={"on_start": {"slack": told["slack"]}, "on_success": told},
    )


async def run(site, app="shop"):
    """One incident to its end."""
    namespace = await site.world.namespace()
    await site.world.app(app, namespace)
    message = site.world.rca(app, namespace, "PeopleTrouble")
    await site.world.send([message])
    return json.loads(message[1])["incident_id"]


async def test_a_runbook_tells_people_on_every_way_and_looks_at_a_page(site):
    """Steps and notifications arrive, the picture is there, and no credential is in any record or log."""
    site.world.runbook("people", everything(site))
    process = await site.world.serve()
    done = await site.world.execution(await run(site), "done")
    assert done["outcome"] == "success", done.get("error")
    assert set((await site.world.steps(done["id"])).values()) == {"succeeded"}
    assert [json.loads(body)["text"] for body in site.chat] == ["shop: ", "step shop", "all shop", "shop: success"]
    assert [card["body"][-1]["text"] for card in site.teams.cards[:2]] == ["step shop", "all shop"]
    assert site.teams.cards[2]["body"][1]["text"] == "shop: success"
    assert site.pager.alerts == {done["id"]: "resolved"}
    assert sorted(to for mail in site.post.recipients for to in mail) == [
        "boss@example.com",
        "sre@example.com",
        "team@example.com",
    ]
    assert site.jira.issues["OPS-1"]["fields"]["status"] == {"name": "In Progress"}
    assert site.jira.issues["OPS-1"]["comments"] == ["on it"]
    assert len(site.now.records) == 1
    assert site.hooks[0].data["outcome"] == "success"
    pictures = list((site.world.folder / "reports" / done["id"]).iterdir())
    assert [picture.name for picture in pictures] == ["look-entity-list.png"]
    seen = process.log_file.read_text() + json.dumps(await site.world.query("MATCH (s:StepRun) RETURN s"), default=str)
    assert [secret for secret in SECRETS if secret in seen] == []


async def test_a_page_that_changed_fails_its_step_and_the_picture_of_it_is_kept(site):
    """The baseline lies beside the runbook; the execution rolls back what it did."""
    first_look = {"update_baseline": True}
    look = step("look", "ui_screenshot", url=f"{site.page_url}/entities", selector="#entity-list", masks=[".clock"])
    site.world.runbook(
        "people", runbook("PeopleTrouble", mark("seen"), {**look, "params": look["params"] | first_look})
    )
    process = await site.world.serve()
    first = await site.world.execution(await run(site, "one"), "done")
    assert first["outcome"] == "success"
    baseline = site.world.folder / "runbooks" / "screenshots" / "baseline-entity-list.png"
    assert baseline.read_bytes()[:4] == b"\x89PNG"
    await process.stop()
    site.page.colour = "#d03030"
    site.world.runbook("people", runbook("PeopleTrouble", mark("fixed"), look))
    await site.world.serve()
    event = await run(site, "two")
    second = await site.world.execution(event, "done")
    assert second["outcome"] == "rollback"
    assert "of the pixels differ" in second["error"]
    names = sorted(path.name for path in (site.world.folder / "reports" / second["id"]).iterdir())
    assert names == ["look-entity-list-diff.png", "look-entity-list.png"]


async def test_people_hear_that_they_are_asked(site):
    """An execution that waits for a human sends ``on_approval`` at once, and nothing runs."""
    site.world.runbook(
        "people",
        runbook(
            "PeopleTrouble",
            mark("fixed"),
            safety={"require_approval": True},
            notification={"on_approval": {"pagerduty": {"severity": "warning", "message": f"may I fix {WORD}?"}}},
        ),
    )
    await site.world.serve()
    waiting = await site.world.execution(await run(site), "waiting_approval")

    async def paged():
        return site.pager.events

    events = await until(paged, "somebody is paged")
    assert events[0]["payload"]["summary"] == "may I fix shop?"
    assert events[0]["dedup_key"] == waiting["id"]
    assert os.environ.get("ROOTMEND_JIRA__TOKEN") is None
