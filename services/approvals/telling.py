"""What people are told about a question in words, and the ways on which they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from executor.errors import NotConfigured
from executor.people_ports import Card, Mail, Page, People, Severity
from executor.ports import Chat, Clock, Http
from safety.notices import Notice, NoticeKind
from services.access.identities import Directory
from services.approvals.facts import Question, Redact
from services.json_calls import Api, JsonCalls

LINK_WAYS = ("mail", "teams")
_HEAD = {
    NoticeKind.ASKED: "Approval needed",
    NoticeKind.ESCALATION: "Nobody has answered yet: approval needed",
    NoticeKind.REMINDER: "Reminder: approval needed",
    NoticeKind.BYPASS: "EMERGENCY BYPASS of an approval",
}
_SHOWN = 10
_PLAIN = str.maketrans({"[": "(", "]": ")", "*": "\u2217", "_": "\uff3f", "`": "\u02cb", "<": "\u2039", ">": "\u203a"})
"""Look-alikes of what formats and links."""
_SEVERITIES: dict[str, Severity] = {"critical": "critical", "high": "error", "error": "error", "warning": "warning"}
_SEVERITIES |= {"info": "info", "low": "info"}


def way_of(target: str) -> str:
    """The way of a target: what stands before the first colon."""
    return target.partition(":")[0]


class Ways:
    """Tells people.

    Args:
        chat: Slack.
        people: Teams, PagerDuty, mail.
        http: for channels of type webhook.
        ways: that are used for what names no channel, and for announcements to everybody.
        channel: of Slack; empty for its own.
        asks_in_slack: questions stand in Slack anyway, with buttons.
    """

    def __init__(
        self,
        *,
        chat: Chat,
        people: People,
        http: Http,
        clock: Clock,
        ways: Sequence[str],
        channel: str,
        redact: Redact,
        asks_in_slack: bool = False,
    ) -> None:
        self._chat = chat
        self._people = people
        self._calls = JsonCalls(http, clock)
        self._ways = tuple(ways)
        self._channel = channel
        self._redact = redact
        self._asks_in_slack = asks_in_slack

    def targets(self, notice: Notice) -> tuple[str, ...]:
        """Where something is told, each as ``way`` or ``way:place``; the same in every process."""
        own = tuple(self._own(notice))
        if notice.kind is NoticeKind.ASKED:
            return own
        return tuple(dict.fromkeys((*own, *self._ways)))

    def _own(self, notice: Notice) -> Iterator[str]:
        for each in notice.channels:
            way = "mail" if each.type == "email" else each.type
            if notice.kind is NoticeKind.ASKED and way == "slack" and self._asks_in_slack:
                continue  # it stands there, with buttons
            yield f"{way}:{each.channel}" if each.channel else way

    async def tell(
        self, notice: Notice, target: str, question: Question, people: Sequence[str], directory: Directory
    ) -> None:
        """Tell it on one way.

        Args:
            notice: what.
            target: one of ``targets``.
            question: that it is about.
            people: ids of whom it is for; empty for everybody.
            directory: their addresses.

        Raises:
            NotConfigured: the way is not set up.
        """
        way, _, place = target.partition(":")
        head = self._redact(f"{_HEAD[notice.kind]}: {question.runbook} on {question.target}")
        text = self._redact("\n".join(_lines(notice, question, people)))
        if way == "slack":
            # Names come from outside: none may become a link or call a channel.
            await self._chat.post(place or self._channel, escape(f"{head}\n{text}", quote=False))
        elif way == "teams":
            await self._people.teams.post(place or "default", Card(plain(text), plain(head), {}))
        elif way == "pagerduty":
            await self._people.pager.send(self._page(notice, question, head, text, place))
        elif way == "mail":
            found = tuple(filter(None, (directory.email_of(who) for who in people)))
            await self._people.mailer.send(Mail(head, text, f"{notice.key}/{target}", (place,) if place else found))
        elif way == "webhook":
            await self._hook(notice, question, head, text, place)

    def _page(self, notice: Notice, question: Question, head: str, text: str, place: str) -> Page:
        wanted = next((one.severity for one in notice.channels if one.type == "pagerduty" and one.severity), "")
        severity = "critical" if notice.kind is NoticeKind.BYPASS else _SEVERITIES.get(wanted.lower(), "error")
        key = f"approval/{question.approval.id}/{notice.kind}"
        return Page("trigger", key, head, severity, question.target, place or "default", details={"text": text})

    async def _hook(self, notice: Notice, question: Question, head: str, text: str, url: str) -> None:
        if not url.startswith(("https://", "http://")):
            raise NotConfigured("a channel of type webhook needs an address in `channel`")
        body = {
            "kind": notice.kind.value,
            "approval_id": question.approval.id,
            "execution_id": question.approval.execution_id,
            "title": head,
            "text": text,
        }
        await self._calls.call(Api("The webhook of an approval", "approvals.rules.channels", {}), "POST", url, body)

    async def send_link(self, way: str, address: str, question: Question, who: str, url: str) -> None:
        """Send somebody their own link.

        Args:
            way: one of ``LINK_WAYS``.
            address: mail address, or name of the webhook that posts to this person alone.
            question: with all its facts.
            who: id of the person.
            url: of the link.
        """
        head = self._redact(f"Your approval is needed: {question.runbook} on {question.target}")
        told = self._redact("\n".join(_facts(question)))
        last = f"This link is for {who} alone, and good for one answer. Do not pass it on."
        if way == "teams":
            # The address of the link is ours; everything else is shown as it is.
            text = f"{plain(told)}\n\n[Look at it and answer]({url})\n\n{plain(last)}"
            await self._people.teams.post(address, Card(text, plain(head), {}))
            return
        mail = f"{told}\n\nLook at it and answer:\n{url}\n\n{last}"
        await self._people.mailer.send(Mail(head, mail, f"{question.approval.id}/link/{who}", (address,)))


def plain(text: str) -> str:
    """Text for cards, in which nothing foreign is a link or formatting."""
    return text.translate(_PLAIN)


def _lines(notice: Notice, question: Question, people: Sequence[str]) -> Iterator[str]:
    approval = question.approval
    if notice.kind is NoticeKind.BYPASS:
        yield f"{approval.answered_by} used the bypass {approval.bypassed!r} at {approval.answered_at:%H:%M:%S} UTC."
        yield f"Justification: {approval.answer_reason}"
        yield "Nobody else was asked. Every limit of the gate still holds."
    else:
        whom = [*notice.names, *(who for who in people if who not in notice.names)]
        if whom:
            yield f"For: {', '.join(whom)}"
        yield from (f"Still needed: {who}" for who in approval.lacking)
        yield f"Open until {approval.expires_at:%Y-%m-%d %H:%M:%S} UTC; no answer is no."
        yield f"Answer with: rb approvals approve {approval.id}"
    yield from _facts(question)


def _facts(question: Question) -> Iterator[str]:
    yield f"Runbook {question.runbook} {question.version} on {question.target}"
    yield from question.chain[:_SHOWN]
    for write in question.writes[:_SHOWN]:
        undo = f"undo: {write.undo}" if write.undo else "cannot be undone"
        yield f"- {write.summary} [{undo}]"
    if len(question.writes) > _SHOWN:
        yield f"- and {len(question.writes) - _SHOWN} more changes"
    if question.blast:
        yield f"Blast radius: {question.blast}"
    yield f"Approval {question.approval.id}, plan {question.approval.plan_hash[:12]}"
