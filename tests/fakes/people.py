"""The ways to people, in memory: what was told, and errors on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from executor.errors import Invalid, NotConfigured
from executor.people_ports import Card, Mail, Mailed, Page, People, Ticket, TicketDraft


@dataclass(slots=True)
class FakeTeams:
    """Keeps cards. ``error`` is raised when set."""

    webhooks: tuple[str, ...] = ("default", "sre")
    cards: list[tuple[str, Card]] = field(default_factory=list)
    error: Exception | None = None

    async def post(self, webhook: str, card: Card) -> None:
        if self.error is not None:
            raise self.error
        if webhook not in self.webhooks:
            raise NotConfigured(f"teams.webhooks has no {webhook!r}")
        self.cards.append((webhook, card))


@dataclass(slots=True)
class FakePager:
    """Keeps events, and alerts by their key."""

    pages: list[Page] = field(default_factory=list)
    alerts: dict[str, str] = field(default_factory=dict)
    error: Exception | None = None

    async def send(self, page: Page) -> str:
        if self.error is not None:
            raise self.error
        self.pages.append(page)
        if page.action == "trigger" or page.dedup_key in self.alerts:
            self.alerts[page.dedup_key] = page.action
        return page.dedup_key


@dataclass(slots=True)
class FakeMailer:
    """Keeps mails."""

    mails: list[Mail] = field(default_factory=list)
    error: Exception | None = None

    async def send(self, mail: Mail) -> Mailed:
        if self.error is not None:
            raise self.error
        self.mails.append(mail)
        return Mailed(f"<{mail.reference}@fake>", [*(mail.to or ("team@example.com",)), *mail.cc])


_WAYS = {"To Do": ("In Progress",), "In Progress": ("Done", "To Do"), "Done": ("To Do",)}


@dataclass(slots=True)
class FakeTickets:
    """Tickets by key."""

    drafts: dict[str, TicketDraft] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    comments: dict[str, list[str]] = field(default_factory=dict)

    async def create(self, draft: TicketDraft) -> Ticket:
        key = f"OPS-{len(self.drafts) + 1}"
        self.drafts[key], self.states[key], self.comments[key] = draft, "To Do", []
        return Ticket(key, f"https://tickets.example.com/{key}")

    async def find(self, reference: str, project: str = "") -> Ticket | None:
        found = [key for key, draft in self.drafts.items() if draft.reference == reference]
        return Ticket(found[0], f"https://tickets.example.com/{found[0]}", self.states[found[0]]) if found else None

    async def comment(self, key: str, text: str) -> None:
        self._known(key)
        self.comments[key].append(text)

    async def transition(self, key: str, state: str, fields: Mapping[str, Any]) -> Ticket:
        self._known(key)
        if self.states[key].casefold() != state.casefold():
            ways = {way.casefold(): way for way in _WAYS[self.states[key]]}
            if state.casefold() not in ways:
                raise Invalid(f"nothing leads to {state!r}")
            self.states[key] = ways[state.casefold()]
        return Ticket(key, status=self.states[key])

    def _known(self, key: str) -> None:
        if key not in self.drafts:
            raise Invalid(f"there is no {key}")


@dataclass(slots=True)
class FakePeople:
    """All of them; ``ports`` is what actions get."""

    teams: FakeTeams = field(default_factory=FakeTeams)
    pager: FakePager = field(default_factory=FakePager)
    mailer: FakeMailer = field(default_factory=FakeMailer)
    jira: FakeTickets = field(default_factory=FakeTickets)

    @property
    def ports(self) -> People:
        return People(self.teams, self.pager, self.mailer, {"jira": self.jira})
