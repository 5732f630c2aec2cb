"""Reaching people: cards, pages, mails, tickets, pictures of pages. Values in, values out.

The ports share their errors:

``NotConfigured``   the settings lack what is needed, or the other side does not accept it
``NotDone``         it certainly did not happen: asked to come back later until patience ran out
``Invalid``         the other side refused it; trying again would not help
``Unavailable``     nobody knows whether it happened
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, Protocol

from executor.errors import NotConfigured

Severity = Literal["critical", "error", "warning", "info"]
PageAction = Literal["trigger", "acknowledge", "resolve"]
TicketSystem = Literal["jira", "servicenow"]


@dataclass(frozen=True, slots=True)
class Card:
    """A message with a title and a table of facts."""

    text: str
    title: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


class Teams(Protocol):
    """Microsoft Teams, through incoming webhooks that the settings name."""

    async def post(self, webhook: str, card: Card) -> None:
        """Post a card."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """An event for the people on call.

    Attributes:
        dedup_key: events of one key are one alert; sending one twice changes nothing.
        service: name of a routing key in the settings.
        component: what is broken.
        group: what it is part of.
        kind: of the problem.
    """

    action: PageAction
    dedup_key: str
    summary: str = ""
    severity: Severity = "error"
    source: str = ""
    service: str = "default"
    component: str = ""
    group: str = ""
    kind: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


class Pager(Protocol):
    """PagerDuty."""

    async def send(self, page: Page) -> str:
        """Send an event; gives the dedup key as the other side knows it."""
        ...


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail.

    Attributes:
        to: addresses; empty means those of the settings.
        reference: the same for each try of the same mail; its Message-ID is made of it.
    """

    subject: str
    text: str
    reference: str
    to: Sequence[str] = ()
    cc: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Mailed:
    """A mail that the server took.

    Attributes:
        refused: addresses that it did not take.
    """

    message_id: str
    recipients: Sequence[str]
    refused: Sequence[str] = ()


class Mailer(Protocol):
    """A mail server."""

    async def send(self, mail: Mail) -> Mailed:
        """Hand a mail over."""
        ...


@dataclass(frozen=True, slots=True)
class TicketDraft:
    """A ticket to be.

    Attributes:
        reference: found again by it, so that a crash does not open a second one.
        project: Jira's project key, ServiceNow's table; empty: that of the settings.
        kind: Jira's issue type; empty: that of the settings.
        fields: further fields as the system names them.
    """

    summary: str
    description: str
    reference: str
    project: str = ""
    kind: str = ""
    labels: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket of another system."""

    key: str
    url: str = ""
    status: str = ""


class Tickets(Protocol):
    """One ticket system."""

    async def create(self, draft: TicketDraft) -> Ticket:
        """Open a ticket."""
        ...

    async def find(self, reference: str, project: str = "") -> Ticket | None:
        """The ticket with this reference. None may also mean that the system has not indexed it yet."""
        ...

    async def comment(self, key: str, text: str) -> None:
        """Add a comment."""
        ...

    async def transition(self, key: str, state: str, fields: Mapping[str, Any]) -> Ticket:
        """Move a ticket to a state by its name; one that is there already stays. ``Invalid`` names the nearest."""
        ...


class NobodyToTell:
    """Stands for every way to people that this process was made without."""

    def _no(self, what: str) -> NoReturn:
        raise NotConfigured(f"this process was started without {what}")

    async def post(self, *_: object, **__: object) -> Any:
        """No Teams."""
        self._no("Microsoft Teams")

    async def send(self, *_: object, **__: object) -> Any:
        """No pager, no mail."""
        self._no("PagerDuty and mail")


@dataclass(frozen=True, slots=True)
class People:
    """The ways to people, beside chat."""

    teams: Teams = field(default_factory=NobodyToTell)
    pager: Pager = field(default_factory=NobodyToTell)
    mailer: Mailer = field(default_factory=NobodyToTell)
    tickets: Mapping[TicketSystem, Tickets] = field(default_factory=dict)

    def ticket_system(self, name: TicketSystem | None) -> tuple[TicketSystem, Tickets]:
        """The named ticket system, or the only one that there is.

        Raises:
            NotConfigured: it is not set up, or there are several and none is named.
        """
        if name is None and len(self.tickets) == 1:
            name = next(iter(self.tickets))
        if name is None:
            there = "several are set up" if self.tickets else "none is set up"
            raise NotConfigured(f"no ticket system is named (system: jira or servicenow), and {there}")
        if name not in self.tickets:
            raise NotConfigured(f"{name} is not set up: set {name}.base_url and its credentials")
        return name, self.tickets[name]
