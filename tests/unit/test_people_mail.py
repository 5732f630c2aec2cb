"""Mail over real SMTP on loopback."""

from __future__ import annotations

import pytest
from fakes.smtp import mail_server
from fakes.world import FakeClock
from hypothesis import given
from hypothesis import strategies as st

from executor.errors import Invalid, NotConfigured, NotDone, Unavailable
from executor.people_ports import Mail
from services.mail import MailServer, SmtpMailer, as_message

MAIL = Mail("web restarted", "Cause: OOMKilled\nPlease look.", "x1/tell", ("sre@example.com",), ("boss@example.com",))


def mailer(post, **options):
    server = MailServer(host="127.0.0.1", port=post.port, sender="bot@rootmend.dev", ca_file=post.ca_file, **options)
    return SmtpMailer(server, FakeClock())


@pytest.mark.parametrize("tls", ["starttls", "tls", "none"])
async def test_a_mail_arrives(tmp_path, tls):
    """With its text, its addresses, and headers that say what it is."""
    async with mail_server(tmp_path, tls=tls) as post:
        sent = await mailer(post, tls=tls).send(MAIL)
    mail = post.mails[0]
    assert mail.get_content().splitlines() == ["Cause: OOMKilled", "Please look."]
    assert (mail["Subject"], mail["To"], mail["Cc"]) == ("web restarted", "sre@example.com", "boss@example.com")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] == sent.message_id == "<x1.tell@rootmend.dev>"
    assert post.senders == ["bot@rootmend.dev"]
    assert post.recipients == [["sre@example.com", "boss@example.com"]] == [list(sent.recipients)]


async def test_it_logs_in_only_over_tls(tmp_path):
    """The password is right, and goes over an encrypted connection."""
    async with mail_server(tmp_path) as post:
        await mailer(post, user="bot", password="m4il-pass").send(MAIL)
    assert post.logins == [(b"bot", b"m4il-pass")]


async def test_a_wrong_password_is_a_matter_of_the_settings(tmp_path):
    """It is said without the password, and not tried again."""
    async with mail_server(tmp_path) as post:
        with pytest.raises(NotConfigured, match="535") as caught:
            await mailer(post, user="bot", password="wr0ng-one").send(MAIL)
        assert len(post.logins) == 2  # the two ways of saying it, once each
    assert "wr0ng-one" not in str(caught.value)


async def test_a_server_without_starttls_gets_nothing(tmp_path):
    """A man in the middle could take the offer out."""
    async with mail_server(tmp_path, tls="none") as post:
        with pytest.raises((NotConfigured, NotDone), match=r"(?i)starttls"):
            await mailer(post).send(MAIL)
    assert post.mails == []


async def test_a_server_with_an_unknown_certificate_gets_nothing(tmp_path):
    """Encryption to a stranger protects nothing."""
    async with mail_server(tmp_path) as post:
        stranger = MailServer(host="127.0.0.1", port=post.port, sender="bot@rootmend.dev")
        with pytest.raises((NotConfigured, NotDone), match=r"(?i)certificate"):
            await SmtpMailer(stranger, FakeClock()).send(MAIL)
    assert post.mails == []


async def test_a_server_that_asks_to_come_back_later_is_asked_again(tmp_path):
    """Greylisting and full queues pass; the mail goes out once."""
    async with mail_server(tmp_path) as post:
        post.replies = ["451 try again later"]
        await mailer(post).send(MAIL)
    assert (post.tried, len(post.mails)) == (2, 1)


async def test_patience_ends(tmp_path):
    """Then it is certain that nothing was sent."""
    async with mail_server(tmp_path) as post:
        post.replies = ["451 later"] * 9
        with pytest.raises(NotDone, match="451"):
            await mailer(post).send(MAIL)
    assert post.tried == 3


async def test_a_refused_mail_is_not_tried_again(tmp_path):
    """A permanent reply does not get better."""
    async with mail_server(tmp_path) as post:
        post.replies = ["554 looks like spam"]
        with pytest.raises(Invalid, match="554 looks like spam"):
            await mailer(post).send(MAIL)
    assert post.tried == 1


async def test_a_mail_that_may_have_been_taken_is_not_sent_again(tmp_path):
    """The connection broke after the text: nobody knows."""
    async with mail_server(tmp_path) as post:
        post.replies = [None]
        with pytest.raises(Unavailable, match="unknown"):
            await mailer(post).send(MAIL)
    assert post.tried == 1


async def test_addresses_that_are_not_taken_are_named(tmp_path):
    """The others have the mail; when none is left, it failed."""
    async with mail_server(tmp_path) as post:
        post.unknown = {"sre@example.com"}
        sent = await mailer(post).send(MAIL)
        assert (list(sent.recipients), list(sent.refused)) == (["boss@example.com"], ["sre@example.com"])
        post.unknown = {"sre@example.com", "boss@example.com"}
        with pytest.raises(Invalid, match="no such user"):
            await mailer(post).send(MAIL)


async def test_without_server_or_addresses_nothing_is_sent(tmp_path):
    """Each with the setting that is missing; the addresses of the settings fill the gap."""
    with pytest.raises(NotConfigured, match=r"mail\.host"):
        await SmtpMailer(None, FakeClock()).send(MAIL)
    async with mail_server(tmp_path) as post:
        with pytest.raises(NotConfigured, match=r"mail\.to"):
            await mailer(post).send(Mail("a", "b", "x1/a"))
        await mailer(post, recipients=("team@example.com",)).send(Mail("a", "b", "x1/a"))
    assert post.recipients == [["team@example.com"]]


async def test_nobody_at_home_is_certainly_not_done():
    """It is tried again, and said."""
    server = MailServer(host="127.0.0.1", port=9, sender="bot@rootmend.dev", timeout_seconds=1)
    clock = FakeClock()
    with pytest.raises(NotDone, match=r"127\.0\.0\.1:9"):
        await SmtpMailer(server, clock).send(MAIL)
    assert len(clock.slept) == 2


@given(st.text(max_size=100), st.text(max_size=60))
def test_what_comes_from_alerts_adds_no_header(subject, reference):
    """A line break in a subject must not become a Bcc."""
    server = MailServer(host="x", sender="bot@rootmend.dev")
    message = as_message(Mail(f"{subject}\r\nBcc: evil@example.com", "text", reference, ("a@b.c",)), server)
    assert message["Bcc"] is None
    assert sorted(message.keys()) == sorted({*message.keys()})
    assert message.as_bytes()
