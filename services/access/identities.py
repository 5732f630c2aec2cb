"""One human on every surface: logins, Slack accounts and the ids of a provider, brought to the id that roles name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from safety.access import Actor, ActorKind
from services.settings_access import Person

_RESERVED = ("system:", "os:", *(f"{kind.value}:" for kind in ActorKind))
"""Beginnings of ids that no outside source may give to a user: they are how other kinds of actors are written."""


class BadIdentity(Exception):
    """An id that would read like somebody else's."""


class Directory:
    """The people of the settings.

    Args:
        people: by id, as ``access.people`` has them; ids and accounts are unique there.
    """

    def __init__(self, people: Mapping[str, Person] | None = None) -> None:
        self._people = dict(people or {})
        self._logins = {person.os_user or identity: identity for identity, person in self._people.items()}
        self._slack = {person.slack: identity for identity, person in self._people.items() if person.slack}
        self._mail = {person.email: identity for identity, person in self._people.items() if person.email}

    def user(
        self, identity: str, *, name: str = "", groups: Iterable[str] = (), claims: Mapping[str, Any] | None = None
    ) -> Actor:
        """A user whose id was proven.

        Args:
            identity: the id.
            name: for people to read.
            groups: that the source of the id tells; those of the settings are added.
            claims: for the record.

        Raises:
            BadIdentity: the id is empty, not printable, or reads like another kind of actor.
        """
        if not identity.strip() or not identity.isprintable() or identity != identity.strip():
            raise BadIdentity(f"{identity!r:.100} is no usable id")
        if identity.startswith(_RESERVED):
            raise BadIdentity(f"{identity!r:.100} reads like the id of another kind of actor")
        person = self._people.get(identity)
        # Groups that begin so are the API server's to give.
        told = frozenset(group for group in groups if not group.startswith("system:"))
        own = frozenset(person.groups) if person else frozenset()
        shown = name or (person.name if person else "") or identity
        return Actor(ActorKind.USER, identity, shown, told | own, claims or {})

    def os_user(self, login: str) -> Actor:
        """The user of this machine. A login that is another person's id, but not their login, stays a stranger."""
        identity = self._logins.get(login)
        if identity is None and login in self._people:
            return Actor(ActorKind.USER, f"os:{login}", login)
        return self.user(identity or login)

    def slack(self, member: str, name: str = "") -> Actor:
        """Somebody in Slack, by member id (``U012AB3CD``); only who is in the settings stands for a user.

        Args:
            member: as a verified request of Slack tells it.
            name: display name, for people to read; it gives no right.
        """
        identity = self._slack.get(member)
        return Actor(ActorKind.SLACK, member, name) if identity is None else self.standing_for(member, identity)

    @property
    def slack_members(self) -> dict[str, str]:
        """Ids of people by their Slack member ids."""
        return dict(self._slack)

    def standing_for(self, member: str, identity: str) -> Actor:
        """A Slack account that was tied to a person by other means, with the person's name and groups."""
        person = self._people.get(identity, Person())
        return Actor(ActorKind.SLACK, member, person.name or identity, frozenset(person.groups), owner=identity)

    def mail(self, address: str) -> Actor | None:
        """The user of an address that was proven, such as by a signed link; None for a stranger."""
        identity = self._mail.get(address)
        return None if identity is None else self.user(identity)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of all people of the settings."""
        return tuple(self._people)

    def email_of(self, identity: str) -> str:
        """The address of somebody; empty for none."""
        person = self._people.get(identity)
        return person.email if person else ""

    def members(self, group: str) -> frozenset[str]:
        """Ids of the people whom the settings put in a group; a provider's own members are not known here."""
        return frozenset(identity for identity, person in self._people.items() if group in person.groups)
