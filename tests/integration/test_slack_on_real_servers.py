"""Questions in a local Slack, asked and answered by ``rb serve`` with the real SDK: Socket Mode."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from fakes.served import mark, runbook, served, until

from compose.slack import LocalSlack
from executor.model import ObjectRef

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

WAIT = 60
ALICE, MALLORY = "U0ALICE", "U0MALLORY"
APPROVE, DENY, DETAILS = "rootmend_approve", "rootmend_deny", "rootmend_details"


class Site:
    """An installation that asks in a local Slack."""

    def __init__(self, slack, world):
        self.slack, self.world, self.process = slack, world, None

    async def incident(self, reason="SlackTrouble", **changes):
        """Something breaks; gives event id and execution once it waits for an answer."""
        app = f"app-{uuid4().hex[:6]}"
        await self.world.app(app, self.space)
        short, body = self.world.rca(app, self.space, reason, **changes)
        await self.world.send([(short, body)])
        event = json.loads(body)["incident_id"]
        return app, event, await self.world.execution(event, "waiting_approval")

    async def question(self, execution, text=""):
        """The message that asks about an execution, once it is there and says what is wanted."""

        async def look():
            found = [one for one in self.slack.messages() if execution["id"] in json.dumps(one.blocks)]
            return next((one for one in found if text in json.dumps(one.blocks)), None)

        return await until(look, f"a message about {execution['id']} with {text!r}", WAIT)

    async def whispered(self, user, text):
        async def look():
            return next((one for one in self.slack.whispers(user) if text in one), None)

        return await until(look, f"{user} is told {text!r}: {self.slack.whispers(user)}", WAIT)

    async def approvals(self, execution):
        rows = await self.world.query(
            "MATCH (a:Approval {execution_id: $id}) RETURN properties(a) AS a", id=execution["id"]
        )
        return [row["a"] for row in rows]


@pytest.fixture(scope="module")
async def site(stack, tmp_path_factory):
    async with LocalSlack(ack_seconds=30) as slack:
        slack.workspace.trigger_seconds = WAIT
        for user, name, mail in ((ALICE, "Alice", "alice@example.com"), (MALLORY, "Mallory", "mallory@example.com")):
            slack.workspace.add_user(user, name, mail)
        settings = {
            "slack": {
                **slack.settings,
                "mode": "socket",
                "app_token": slack.app_token,
                "users": {"alice@example.com": "alice"},
            },
        }
        async with served(stack, tmp_path_factory.mktemp("slack") / "site", settings=settings) as world:
            made = Site(slack, world)
            told = {"on_approval": {"slack": {"channel": "#sre", "message": "may I? {{ target.name }}"}}}
            asks, brief = {"require_approval": True}, {"require_approval": True, "approval_timeout": "12s"}
            world.runbook("slack", runbook("SlackTrouble", mark("fixed"), safety=asks, notification=told))
            world.runbook("brief", runbook("BriefTrouble", mark("fixed"), safety=brief))
            made.space = await world.namespace()
            made.process = await world.serve()
            yield made


async def test_a_question_in_slack_says_everything_and_a_click_carries_the_plan_out(site):
    """What, why, where, blast radius, diff, rollback and expiry stand there; after the yes the thread tells the end."""
    app, event, execution = await site.incident()
    message = await site.question(execution)
    text = json.dumps(message.blocks, ensure_ascii=False)
    for part in ("fix-slacktrouble", app, "SlackTrouble", "TestSymptom", "1 affected", "+ metadata", "undo", "<!date^"):
        assert part in text, (part, text)
    assert f"may I? {app}" in text
    assert [one.text for one in site.slack.messages() if one.text.startswith("may I")] == []
    await site.slack.click(ALICE, message, DETAILS)
    assert site.slack.workspace.views[-1]["title"]["text"] == "Details"
    assert await site.slack.click(ALICE, message, APPROVE) == {}
    done = await site.world.execution(event, "done")
    assert done["outcome"] == "success", done.get("error")
    shown = await site.question(execution, "*Approved* by `alice`")
    assert shown.ts == message.ts
    assert (shown.button(APPROVE), shown.button(DENY)) == (None, None)

    async def ended():
        return [one for one in site.slack.thread(shown) if "success, verdict verified" in json.dumps(one.blocks)]

    await until(ended, "the thread tells the end", WAIT)
    assert len(site.slack.thread(shown)) == 2
    assert (await site.approvals(execution))[0]["answered_by"] == "alice"


async def test_a_double_click_on_two_surfaces_counts_once_and_the_other_is_told(site):
    """Slack and the command line answer in the same moment: one wins, the other learns who was first."""
    _, event, execution = await site.incident()
    message = await site.question(execution)
    approval = (await site.approvals(execution))[0]
    command = ("approvals", "deny", approval["id"], "--yes", "--by", "bob", "--reason", "not now")
    _, ended = await asyncio.gather(site.slack.click(ALICE, message, APPROVE), site.world.rb(*command))
    (answered,) = await site.approvals(execution)
    if answered["status"] == "approved":
        assert (answered["answered_by"], ended.returncode) == ("alice", 1)
        assert "does not count" in ended.stderr + ended.stdout
        await site.question(execution, "*Approved* by `alice`")
    else:
        assert (answered["status"], answered["answered_by"], ended.returncode) == ("denied", "bob", 0)
        await site.whispered(ALICE, "does not count")
        await site.question(execution, "*Denied* by `bob`")
    await site.world.execution(event, "done")


async def test_a_second_click_is_told_who_was_first(site):
    """Two clicks on the same message: the plan runs once, and the later one learns that it changed nothing."""
    _, event, execution = await site.incident()
    message = await site.question(execution)
    button = message.button(APPROVE)
    payloads = [site.slack.clicked(ALICE, message, button) for _ in range(2)]
    await asyncio.gather(*(site.slack.deliver(payload) for payload in payloads))
    await site.whispered(ALICE, "cannot approve: the approval is approved by alice")
    done = await site.world.execution(event, "done")
    rows = await site.world.query(
        "MATCH (e:RunbookExecution) WHERE e.target_key = $key RETURN count(e) AS count", key=done["target_key"]
    )
    assert rows == [{"count": 1}]


async def test_a_no_needs_a_reason_and_is_shown_to_everybody(site):
    """The button opens a dialog; blank is refused in it; the reason goes on record, and nothing runs."""
    app, event, execution = await site.incident()
    message = await site.question(execution)
    await site.slack.click(ALICE, message, DENY)
    view = site.slack.workspace.views[-1]
    assert (await site.slack.submit(view, reason="  \n "))["errors"]["reason"].startswith("A denial needs a reason")
    assert (await site.approvals(execution))[0]["status"] == "pending"
    assert await site.slack.submit(view, reason="the team deploys *right now* <!channel>") == {}
    done = await site.world.execution(event, "done")
    assert done["outcome"] == "aborted"
    shown = await site.question(execution, "*Denied* by `alice`")
    assert "&lt;!channel&gt;" in json.dumps(shown.blocks)
    assert "fixed" not in await site.world.annotations(app, site.space)


async def test_somebody_who_is_not_mapped_changes_nothing(site):
    """The click is told to count for nobody, and the question stays open; the command line answers it."""
    _, event, execution = await site.incident()
    message = await site.question(execution)
    await site.slack.click(MALLORY, message, APPROVE)
    await site.whispered(MALLORY, "not tied to a person")
    (approval,) = await site.approvals(execution)
    assert (approval["status"], json.loads(approval["yeses"])) == ("pending", [])
    views = len(site.slack.workspace.views)
    await site.slack.click(MALLORY, message, DETAILS)
    assert len(site.slack.workspace.views) == views

    async def told():
        rows = await site.world.query(
            "MATCH (a:AuditEntry {kind: 'access.denied', actor: $actor}) WHERE a.facts CONTAINS $id "
            "RETURN a.subject AS subject, a.reason AS reason ORDER BY a.at",
            actor=f"slack:{MALLORY}",
            id=approval["id"],
        )
        return rows if len(rows) == 2 else None

    rows = await until(told, "both clicks are in the audit trail", WAIT)
    assert [row["subject"] for row in rows] == [f"slack {APPROVE}", f"slack {DETAILS}"]
    assert "not tied to a person" in rows[0]["reason"]
    ended = await site.world.rb("approvals", "approve", approval["id"], "--yes", "--by", "carol")
    assert ended.returncode == 0, ended.stderr
    await site.question(execution, "*Approved* by `carol`")
    await site.world.execution(event, "done")


async def test_a_click_counts_only_for_the_plan_that_was_shown(site):
    """A value with the hash of another plan, or of another question, changes nothing."""
    _, _, execution = await site.incident()
    message = await site.question(execution)
    (approval,) = await site.approvals(execution)
    button = message.button(APPROVE)
    other = button | {"value": json.dumps({"a": approval["id"], "h": "another plan"})}
    await site.slack.deliver(site.slack.clicked(ALICE, message, other))
    await site.whispered(ALICE, "given to another plan")
    for value in ("", "7", "[]", "{}", json.dumps({"a": "no-such-approval", "h": "x"})):
        assert await site.slack.deliver(site.slack.clicked(ALICE, message, button | {"value": value})) == {}
    assert (await site.approvals(execution))[0]["status"] == "pending"


async def test_a_plan_that_changed_after_the_yes_is_asked_about_again_in_the_same_thread(site):
    """The yes was for what was shown; what would run now is shown anew, and the old message says so."""
    app, event, execution = await site.incident()
    message = await site.question(execution)
    changed = {"metadata": {"annotations": {"fixed": "by somebody else"}}}
    ref = ObjectRef(kind="Deployment", name=app, namespace=site.space)
    await site.world.admin.patch(ref, changed, how="merge")
    await site.slack.click(ALICE, message, APPROVE)

    async def asked_again():
        found = await site.approvals(execution)
        return found if len(found) == 2 else None

    await until(asked_again, "a second question", WAIT)
    await site.question(execution, "Overtaken")

    async def follows():
        return next((one for one in site.slack.thread(message) if one.button(APPROVE)), None)

    again = await until(follows, "the new question hangs in the thread", WAIT)
    assert again.broadcast
    assert "by somebody else" in json.dumps(again.blocks)
    await site.slack.click(ALICE, again, APPROVE)
    done = await site.world.execution(event, "done")
    assert done["outcome"] == "success", done.get("error")


async def test_an_answer_at_the_moment_of_expiry_and_the_expiry_are_one_or_the_other(site):
    """Whoever is first counts; the message shows what the record says, and nothing else happens."""
    app, event, execution = await site.incident("BriefTrouble")
    message = await site.question(execution)
    (approval,) = await site.approvals(execution)
    button = message.button(APPROVE)
    left = approval["expires_at"].to_native() - datetime.now(UTC)
    await asyncio.sleep(max(0.0, left.total_seconds() - 0.3))
    payloads = [site.slack.clicked(ALICE, message, button) for _ in range(8)]
    for payload in payloads:
        await site.slack.deliver(payload)
        await asyncio.sleep(0.1)
    done = await site.world.execution(event, "done")
    (answered,) = await site.approvals(execution)
    assert answered["status"] in ("approved", "expired")
    if answered["status"] == "expired":
        await site.question(execution, "nobody answered")
        await site.whispered(ALICE, "expired")
        assert "fixed" not in await site.world.annotations(app, site.space)
    else:
        assert answered["answered_at"].to_native() < answered["expires_at"].to_native()
        assert done["outcome"] == "success", done.get("error")


async def test_slack_away_blocks_nothing_and_what_was_not_asked_is_asked_when_it_is_back(site):
    """The command line answers meanwhile; of what is still open, each is asked once."""
    await site.slack.away()
    _, first, one = await site.incident()
    _, _, two = await site.incident()
    (approval,) = await site.approvals(one)
    ended = await site.world.rb("approvals", "approve", approval["id"], "--yes", "--by", "bob")
    assert ended.returncode == 0, ended.stderr
    assert (await site.world.execution(first, "done"))["outcome"] == "success"
    await site.slack.back()
    await site.question(two)
    asked = [one["id"] in json.dumps(message.blocks) for message in site.slack.messages()]
    assert asked.count(True) == 0


async def test_a_rate_limit_is_waited_out(site):
    """Slack asks to come back: the question is asked then, once."""
    site.slack.limit("chat.postMessage", 2, times=2)
    _, _, execution = await site.incident()
    await site.question(execution)
    assert sum(execution["id"] in json.dumps(one.blocks) for one in site.slack.messages()) == 1


async def test_hostile_values_of_an_alert_mean_nothing_in_slack(site):
    """A reason that wants to call everybody is shown as it was written."""
    app = f"app-{uuid4().hex[:6]}"
    await site.world.app(app, site.space)
    short, body = site.world.rca(app, site.space, "SlackTrouble")
    hostile = "<!channel> *fire* `<https://evil.example|click>` <@U0ALICE> &amp;"
    message = json.loads(body) | {"reason": hostile}
    await site.world.send([(short, json.dumps(message).encode())])
    execution = await site.world.execution(message["incident_id"], "waiting_approval")
    shown = json.dumps((await site.question(execution)).blocks, ensure_ascii=False)
    assert "&lt;!channel&gt;" in shown
    assert re.findall(r"<(?!!date)[^>]*>", shown) == []


async def test_a_restart_while_waiting_finds_its_messages_again(site):
    """The process dies and another takes over: nothing is asked twice, and the old message is answered and updated."""
    _, event, execution = await site.incident()
    message = await site.question(execution)
    await site.process.kill()
    site.process = await site.world.serve()

    async def connected():
        return site.slack.connections == 1

    await until(connected, "the new process listens", WAIT)
    await site.slack.click(ALICE, message, APPROVE)
    shown = await site.question(execution, "*Approved* by `alice`")
    assert shown.ts == message.ts
    await site.world.execution(event, "done")
    assert sum(execution["id"] in json.dumps(one.blocks) for one in site.slack.messages()) == 1


async def test_slack_learns_no_secret_and_the_log_holds_none(site):
    """Tokens go to Slack in headers only, and nowhere else."""
    log = "".join(process.log_file.read_text() for process in site.world.processes)
    said = json.dumps([one.blocks for one in site.slack.workspace.messages])
    for secret in (site.slack.bot_token, site.slack.app_token):
        assert secret not in log
        assert secret not in said
