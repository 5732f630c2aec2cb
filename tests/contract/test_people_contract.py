"""What every way to people does alike: in memory, and over HTTP and SMTP."""

from __future__ import annotations

import pytest
from fakes.nearby import nearby_client
from fakes.people import FakeMailer, FakePager, FakeTickets
from fakes.people_servers import JiraServer, PagerDutyServer, ServiceNowServer
from fakes.smtp import mail_server
from fakes.web import web
from fakes.world import FakeClock

from executor.errors import Invalid
from executor.people_ports import Mail, Page, TicketDraft
from services.json_calls import JsonCalls
from services.mail import MailServer, SmtpMailer
from services.pagerduty import PagerDuty
from services.tickets import Jira, ServiceNow

DRAFT = TicketDraft("web grew", "look", "rootmend-x1-fix")


@pytest.fixture
async def calls():
    http = nearby_client()
    yield JsonCalls(http, FakeClock())
    await http.close()


@pytest.fixture(params=["memory", "jira", "servicenow"])
async def tickets(request, calls):
    if request.param == "memory":
        yield FakeTickets()
    elif request.param == "jira":
        server = JiraServer()
        async with web(server) as at:
            yield Jira(calls, at.url, user=server.user, token=server.token, project="OPS")
    else:
        now = ServiceNowServer()
        async with web(now) as at:
            yield ServiceNow(calls, at.url, user=now.user, password=now.password)


@pytest.fixture(params=["memory", "pagerduty"])
async def pager(request, calls):
    """The pager, and the alerts that are open at it."""
    if request.param == "memory":
        fake = FakePager()
        yield fake, lambda: set(fake.alerts)
        return
    server = PagerDutyServer()
    async with web(server) as at:
        yield PagerDuty(calls, {"default": server.key}, base_url=at.url), lambda: set(server.alerts)


@pytest.fixture(params=["memory", "smtp"])
async def mailer(request, tmp_path):
    if request.param == "memory":
        yield FakeMailer()
        return
    async with mail_server(tmp_path) as post:
        server = MailServer("127.0.0.1", "bot@rootmend.dev", post.port, ca_file=post.ca_file)
        yield SmtpMailer(server, FakeClock())


async def test_a_new_ticket_is_found_by_its_reference_and_by_no_other(tickets):
    """So that a crashed step finds its own ticket, and takes none of another step for it."""
    made = await tickets.create(DRAFT)
    found = await tickets.find(DRAFT.reference)
    assert found is not None
    assert found.key == made.key
    assert await tickets.find("rootmend-x1-other") is None


async def test_a_ticket_moves_once(tickets):
    """Moving it to where it is changes nothing."""
    made = await tickets.create(DRAFT)
    first = await tickets.transition(made.key, "in progress", {})
    again = await tickets.transition(made.key, "In Progress", {})
    assert (first.key, first.status) == (made.key, again.status)


async def test_a_state_that_nobody_knows_is_refused(tickets):
    """The ticket stays where it is."""
    made = await tickets.create(DRAFT)
    with pytest.raises(Invalid):
        await tickets.transition(made.key, "Nirvana", {})
    before = await tickets.find(DRAFT.reference)
    assert before is not None
    assert before.key == made.key


async def test_a_comment_needs_a_ticket(tickets):
    """One that is there takes it, one that is not refuses it."""
    made = await tickets.create(DRAFT)
    await tickets.comment(made.key, "still growing")
    with pytest.raises(Invalid):
        await tickets.comment("OPS-999", "nobody reads this")


async def test_events_of_one_key_are_one_alert(pager):
    """However often they are sent; resolving what was never triggered opens nothing."""
    sender, alerts = pager
    await sender.send(Page("resolve", "x0"))
    for _ in range(2):
        assert await sender.send(Page("trigger", "x1", "it broke", source="shop")) == "x1"
    await sender.send(Page("resolve", "x1"))
    assert alerts() == {"x1"}


async def test_a_mail_has_an_id_that_its_reference_gives(mailer):
    """Tries of one mail share it, other mails have others."""
    ids = [
        (await mailer.send(Mail("a", "b", reference, ("sre@example.com",)))).message_id
        for reference in ("x1/tell", "x1/tell", "x2/tell")
    ]
    assert ids[0] == ids[1] != ids[2]
