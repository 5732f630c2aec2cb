"""Teams, PagerDuty, Jira, ServiceNow and Slack over real HTTP on loopback."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from fakes.nearby import nearby_client
from fakes.people_servers import TEAMS_MOST, JiraServer, PagerDutyServer, ServiceNowServer, TeamsServer
from fakes.web import Told, web
from fakes.world import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from executor.errors import Invalid, NotConfigured, NotDone, Unavailable
from executor.people_ports import Card, Page, TicketDraft
from services.chat import SlackChat
from services.json_calls import JsonCalls, retry_after
from services.pagerduty import OnCallNow, PagerDuty
from services.teams import TeamsWebhooks, message, shortened
from services.tickets import Jira, ServiceNow

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PAGE = Page("trigger", "x1", "it broke", "critical", "shop/web")
DRAFT = TicketDraft("web grew", "look for the leak", "rootmend-x1-fix")


@pytest.fixture
async def clock():
    return FakeClock()


@pytest.fixture
async def calls(clock):
    http = nearby_client()
    yield JsonCalls(http, clock, timeout_seconds=5)
    await http.close()


# Teams


async def test_a_card_arrives_with_title_text_and_facts(calls):
    """It is an Adaptive Card in a message, as incoming webhooks take it."""
    server = TeamsServer()
    async with web(server) as at:
        await TeamsWebhooks(calls, {"sre": f"{at.url}/hook"}).post("sre", Card("fixed", "web", {"Cluster": "eu"}))
    title, text, facts = server.cards[0]["body"]
    assert (title["text"], text["text"]) == ("web", "fixed")
    assert facts == {"type": "FactSet", "facts": [{"title": "Cluster", "value": "eu"}]}


@given(
    st.text(max_size=300).map(lambda text: text * 200),
    st.text(max_size=500),
    st.dictionaries(st.text(max_size=200), st.text(max_size=800), max_size=20),
)
def test_no_card_is_larger_than_teams_takes(text, title, facts):
    """Whatever a runbook puts into it, Teams does not turn it away for its size."""
    assert len(json.dumps(message(Card(text, title, facts)), ensure_ascii=False).encode()) < TEAMS_MOST


@given(st.text(max_size=200), st.integers(min_value=10, max_value=300))
def test_a_cut_text_fits_and_begins_as_before(text, most):
    """A text that fits stays whole."""
    cut = shortened(text, most)
    assert len(json.dumps(cut, ensure_ascii=False).encode()) <= most
    assert cut == text or text.startswith(cut.removesuffix("…"))


async def test_an_unknown_webhook_names_the_nearest(calls):
    """A misspelt channel is found at once."""
    with pytest.raises(NotConfigured, match="no 'sri'; one of: sre"):
        await TeamsWebhooks(calls, {"sre": "https://x.example"}).post("sri", Card("hi"))


async def test_a_rate_limit_hidden_in_an_answer_of_200_is_seen(calls, clock):
    """Connectors answer 200 and put the error into the text."""
    server = TeamsServer()
    hidden = Told(200, "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429")
    async with web(server) as at:
        at.first = [hidden]
        await TeamsWebhooks(calls, {"default": at.url}).post("default", Card("hi"))
    assert len(at.asked) == 2
    assert len(server.cards) == 1
    assert clock.slept == [0.5]


async def test_a_card_that_may_have_arrived_is_not_sent_again(calls):
    """Nobody wants it twice."""
    async with web(TeamsServer()) as at:
        at.first = [None]
        with pytest.raises(Unavailable, match="unknown"):
            await TeamsWebhooks(calls, {"default": at.url}).post("default", Card("hi"))
        assert len(at.asked) == 1


async def test_the_address_of_a_webhook_is_shown_to_nobody(calls):
    """Who knows it can post."""
    async with web(lambda asked: Told(400, f"bad path {asked.path}")) as at:
        url = f"{at.url}/webhook/s3cr3t-part"
        with pytest.raises(Invalid) as caught:
            await TeamsWebhooks(calls, {"default": url}).post("default", Card("hi"))
    assert url not in str(caught.value)
    assert "s3cr3t-part" not in str(caught.value)


# PagerDuty


async def test_the_events_of_one_execution_are_one_alert(calls):
    """Trigger, acknowledge and resolve meet by their key."""
    server = PagerDutyServer()
    async with web(server) as at:
        pager = PagerDuty(calls, {"default": server.key}, base_url=at.url)
        for action in ("trigger", "acknowledge", "resolve"):
            assert await pager.send(Page(action, "x1", "it broke", "critical", "shop/web")) == "x1"
    assert server.alerts == {"x1": "resolved"}
    assert server.events[0]["payload"]["severity"] == "critical"
    assert "payload" not in server.events[2]


async def test_who_is_on_call_is_found_by_address_and_nobody_is_while_pagerduty_does_not_say(calls, clock):
    """Strangers count as nobody; an old answer is never taken for a new one."""
    people, asked, status = {"ada@example.com": "ada"}, [], [200]
    users = [{"email": "ada@example.com"}, {"email": "eve@example.com"}, None]

    def answer(request):
        asked.append(request)
        return Told(status[0], {"oncalls": [{"user": user} for user in users]})

    async with web(answer) as at:
        source = OnCallNow(calls, "k3y", {"primary": "PABC"}, lambda a: people.get(a, ""), clock, base_url=at.url)
        for _ in range(2):
            assert await source.look(NOW) == {"primary": ("ada",)}
        (one,) = asked
        assert (one.method, one.path, one.query["schedule_ids[]"]) == ("GET", "/oncalls", "PABC")
        assert one.headers["authorization"] == "Token token=k3y"
        status[0] = 401
        await clock.sleep(61)
        assert await source.look(NOW) == {}


@pytest.mark.parametrize("trouble", [Told(500, "oops"), Told(429, "slow down"), None])
async def test_an_event_is_sent_until_it_is_known(calls, trouble):
    """Its key makes a repeated event the same event."""
    server = PagerDutyServer()
    async with web(server) as at:
        at.first = [trouble, trouble]
        await PagerDuty(calls, {"default": server.key}, base_url=at.url).send(PAGE)
    assert len(at.asked) == 3
    assert server.alerts == {"x1": "triggered"}


async def test_a_refused_event_says_why_and_not_the_key(calls):
    """The other side quotes what it refuses."""
    async with web(PagerDutyServer(key="another")) as at:
        with pytest.raises(Invalid, match=r"invalid routing key \*\*\*") as caught:
            await PagerDuty(calls, {"default": "R0UTING"}, base_url=at.url).send(PAGE)
    assert "R0UTING" not in str(caught.value)


async def test_long_texts_are_cut_to_what_pagerduty_takes(calls):
    """A long error must not keep people from being paged."""
    server = PagerDutyServer()
    async with web(server) as at:
        page = Page("trigger", "k" * 300, "s" * 5000, "error", "x", details={"log": "l" * 600_000})
        await PagerDuty(calls, {"default": server.key}, base_url=at.url).send(page)
    assert len(at.asked[0].body.encode()) < 512 * 1024
    assert len(server.events[0]["dedup_key"]) == 255


# Pace


async def test_the_pause_that_is_asked_for_is_kept(calls, clock):
    """Retry-After wins over our own pace, as seconds or as a date."""
    server = PagerDutyServer()
    async with web(server) as at:
        at.first = [
            Told(429, "", {"Retry-After": "7"}),
            Told(503, "", {"Retry-After": "Fri, 02 Jan 2026 03:04:15 GMT"}),
        ]
        await PagerDuty(calls, {"default": server.key}, base_url=at.url).send(PAGE)
    assert clock.slept == [7.0, 3.0]


async def test_who_asks_for_too_much_patience_is_not_waited_for(calls, clock):
    """The step ends at once and says so: nothing was sent."""
    async with web(PagerDutyServer()) as at:
        at.first = [Told(429, "later", {"Retry-After": "3600"})]
        with pytest.raises(NotDone, match="answered 429"):
            await PagerDuty(calls, {"default": "R0UTING"}, base_url=at.url).send(PAGE)
    assert clock.slept == []


async def test_a_server_that_is_not_there_is_tried_again_and_certainly_got_nothing(calls, clock):
    """Also a message that must not be sent twice may be tried again then."""
    with pytest.raises(NotDone, match="4 tries"):
        await TeamsWebhooks(calls, {"default": "http://127.0.0.1:9/hook"}).post("default", Card("hi"))
    assert clock.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5.0), ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0), ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0), ("soon", None)],
)
def test_retry_after_is_read_in_both_forms(value, seconds):
    """What says nothing is ignored."""
    assert retry_after(value, NOW) == seconds


# Tickets


@pytest.mark.parametrize("cloud", [True, False])
async def test_jira_opens_comments_finds_and_moves_an_issue(calls, cloud):
    """On Cloud and on Data Center, whose searches differ."""
    server = JiraServer(user="bot@example.com" if cloud else "", cloud=cloud)
    async with web(server) as at:
        jira = Jira(calls, at.url, user=server.user, token=server.token, project="OPS")
        made = await jira.create(DRAFT)
        assert (made.key, made.url) == ("OPS-1", f"{at.url}/browse/OPS-1")
        await jira.comment("OPS-1", "still growing")
        assert (await jira.transition("OPS-1", "in progress", {})).status == "In Progress"
        assert (await jira.transition("OPS-1", "Finish", {"resolution": {"name": "Fixed"}})).status == "Done"
        found = await jira.find(DRAFT.reference)
        assert await jira.find("rootmend-other") is None
    assert found is not None
    assert (found.key, found.status) == ("OPS-1", "Done")
    issue = server.issues["OPS-1"]
    assert issue["comments"] == ["still growing"]
    assert issue["fields"]["resolution"] == {"name": "Fixed"}
    assert issue["fields"]["issuetype"] == {"name": "Task"}


async def test_a_state_that_cannot_be_reached_names_the_nearest_that_can(calls):
    """Jira's ways differ from project to project."""
    async with web(JiraServer()) as at:
        jira = Jira(calls, at.url, user="bot@example.com", token="jira-t0ken", project="OPS")
        await jira.create(DRAFT)
        with pytest.raises(Invalid, match="did you mean in progress"):
            await jira.transition("OPS-1", "In Progres", {})


async def test_a_ticket_that_is_where_it_shall_be_stays(calls):
    """A repeated transition changes nothing."""
    async with web(JiraServer()) as at:
        jira = Jira(calls, at.url, user="bot@example.com", token="jira-t0ken", project="OPS")
        await jira.create(DRAFT)
        assert (await jira.transition("OPS-1", "to do", {})).status == "To Do"
        assert all(not (a.method == "POST" and "transitions" in a.path) for a in at.asked)


@pytest.mark.parametrize("user", ["bot", ""])
async def test_servicenow_opens_comments_finds_and_moves_a_record(calls, user):
    """By password and by token; states by name and by number."""
    server = ServiceNowServer(user=user)
    async with web(server) as at:
        now = ServiceNow(calls, at.url, user=user, password=server.password)
        made = await now.create(DRAFT)
        assert made.key == "INC0000001"
        await now.comment(made.key, "still growing")
        assert (await now.transition(made.key, "In Progress", {})).status == "2"
        assert (await now.transition(made.key, "6", {"close_code": "Solved"})).status == "6"
        found = await now.find(DRAFT.reference)
    assert found is not None
    assert (found.key, found.status) == ("INC0000001", "6")
    record = next(iter(server.records.values()))
    assert (record["notes"], record["close_code"]) == (["still growing"], "Solved")
    with pytest.raises(Invalid, match="did you mean resolved"):
        await now.transition(made.key, "resolvd", {})


@pytest.mark.parametrize("system", ["jira", "servicenow"])
async def test_wrong_credentials_name_their_setting_and_not_themselves(calls, system):
    """Whoever reads the log must not get the password."""
    async with web(JiraServer() if system == "jira" else ServiceNowServer()) as at:
        made = (
            Jira(calls, at.url, user="bot", token="wr0ng-one", project="OPS")
            if system == "jira"
            else ServiceNow(calls, at.url, user="bot", password="wr0ng-one")
        )
        with pytest.raises(NotConfigured, match=f"answered 401.*check {system}") as caught:
            await made.create(DRAFT)
    assert "wr0ng-one" not in str(caught.value)


async def test_an_unknown_ticket_is_refused(calls):
    """A misspelt key is no server trouble, and is not tried again."""
    async with web(ServiceNowServer()) as at:
        with pytest.raises(Invalid, match="no incident INC9"):
            await ServiceNow(calls, at.url, user="bot", password="n0w-pass").comment("INC9", "hi")
        assert len(at.asked) == 1


# Slack


async def test_slack_is_asked_again_when_it_says_so():
    """A rate limit of Slack passes, and the message is posted once."""
    posted = []

    def answer(asked):
        posted.append(asked.body)
        return Told(200, {"ok": True, "ts": "17.5"})

    async with web(answer) as at:
        at.first = [Told(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "0"})]
        assert await SlackChat("xoxb-1", base_url=at.url).post("#a", "hi") == "17.5"
    assert len(at.asked) == 2
    assert len(posted) == 1
