"""Which person a Slack account stands for. Who is not known is nobody: no answer of theirs counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from executor.errors import RemediationError
from executor.ports import Clock
from safety.access import Actor
from services.access.identities import Directory
from services.slack.client import SlackApi

_REMEMBERED_SECONDS = 60.0
_MOST_REMEMBERED = 1_000


class UnknownPerson(Exception):
    """The account stands for nobody; the message says why, for the one who clicked."""


class Who(Protocol):
    """Ties accounts to people."""

    async def actor(self, user_id: str) -> Actor:
        """The actor behind an account.

        Raises:
            UnknownPerson: nobody is tied to it, or it cannot be looked up now.
        """
        ...


class SettingsWho:
    """The mapping of the settings: by Slack's user id, else by the mail address of the account.

    An address counts only when Slack says that it is confirmed, and only of full members of the own workspace: guests
    and people of connected workspaces can give themselves any address there.

    Args:
        users: person by user id or mail address.
        api: looks addresses up; it is asked only when the settings name any.
        directory: the people of ``access.people``, whose accounts count too, and who are in groups.
    """

    def __init__(
        self, users: Mapping[str, str], api: SlackApi, clock: Clock, directory: Directory | None = None
    ) -> None:
        self._directory = directory or Directory()
        self._by_id = self._directory.slack_members | {key: who for key, who in users.items() if "@" not in key}
        self._by_mail = {key.casefold(): person for key, person in users.items() if "@" in key}
        self._api = api
        self._clock = clock
        self._known: dict[str, tuple[float, Actor]] = {}

    async def actor(self, user_id: str) -> Actor:
        """See the port."""
        if user_id in self._by_id:
            return self._directory.standing_for(user_id, self._by_id[user_id])
        if not user_id or not self._by_mail:
            raise UnknownPerson("your Slack account is not tied to a person (slack.users in Rootmend's settings)")
        until, known = self._known.get(user_id, (0.0, None))
        if known is not None and self._clock.monotonic() < until:
            return known
        found = self._directory.standing_for(user_id, await self._by_address(user_id))
        if len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        self._known[user_id] = (self._clock.monotonic() + _REMEMBERED_SECONDS, found)
        return found

    async def _by_address(self, user_id: str) -> str:
        try:
            user = (await self._api.look_up("users.info", user=user_id)).get("user")
        except RemediationError as error:
            raise UnknownPerson(f"your Slack account cannot be looked up now: {error}") from error
        address = _address(user if isinstance(user, Mapping) else {})
        person = self._by_mail.get(address.casefold()) if address else None
        if person is None:
            raise UnknownPerson("your Slack account is not tied to a person (slack.users in Rootmend's settings)")
        return person


_STRANGE = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger", "is_invited_user")


def _address(user: Mapping[str, Any]) -> str:
    """The confirmed address of a full member; empty for all others."""
    if any(user.get(mark) for mark in _STRANGE) or user.get("is_email_confirmed") is not True:
        return ""
    profile = user.get("profile")
    address = profile.get("email") if isinstance(profile, Mapping) else None
    return address if isinstance(address, str) else ""
