"""Approvals in Slack, put together; nothing of it exists where ``slack.mode`` is off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from services.api.interactions import Interactions
from services.approvals.answering import Answering
from services.approvals.keeper import Keeper
from services.bootstrap.parts import Parts, Role
from services.graph.places import Neo4jPlaces
from services.logs import masker
from services.slack.clicks import Clicks
from services.slack.client import SlackApi
from services.slack.signed import Signatures
from services.slack.socket import Socket
from services.slack.surface import SlackSurface
from services.slack.who import SettingsWho


@dataclass(slots=True)
class SlackDesk:
    """What a process does about Slack.

    Attributes:
        tasks: that run beside the pipeline, by name.
        interactions: the endpoint for clicks, where they come over HTTP.
        keeper: keeps the messages true; None where another role's process does.
    """

    tasks: Sequence[tuple[str, Callable[[], Awaitable[None]]]]
    interactions: Interactions | None
    keeper: Keeper | None

    def wake(self) -> None:
        """Somebody asked or answered."""
        if self.keeper:
            self.keeper.wake()


def make_slack(parts: Parts, roles: Sequence[Role]) -> SlackDesk | None:
    """What this process does about Slack; None when it is nothing.

    Args:
        parts: connected already.
        roles: ``approvals`` posts, and listens by Socket Mode; ``api`` takes clicks over HTTP.
    """
    chosen = parts.settings.slack
    listens = Role.APPROVALS in roles and chosen.mode == "socket"
    serves = Role.API in roles and chosen.mode == "http"
    if not chosen.asks or not (Role.APPROVALS in roles or serves):
        return None
    for secret in (chosen.token, chosen.app_token, chosen.signing_secret):
        masker.register(_plain(secret))
    api = SlackApi(_plain(chosen.token), base_url=chosen.base_url)
    keeper = _keeper(parts, api) if Role.APPROVALS in roles else None
    clicks = _clicks(parts, api, keeper)
    tasks: list[tuple[str, Callable[[], Awaitable[None]]]] = []
    if keeper:
        tasks.append(("slack", keeper.run))
    if listens:
        socket = Socket(_plain(chosen.app_token), base_url=chosen.base_url, take=clicks.take)
        tasks.append(("slack.socket", socket.run))
    return SlackDesk(tuple(tasks), _interactions(parts, clicks) if serves else None, keeper)


def _keeper(parts: Parts, api: SlackApi) -> Keeper:
    settings = parts.settings
    return Keeper(
        SlackSurface(api, settings.slack.channel, settings.slack.allowed_channels),
        Neo4jPlaces(parts.graph, settings.default_cluster),
        parts.ledger,
        parts.clock,
        holder=parts.holder,
        redact=masker.text,
        seconds=settings.execution.sweep_seconds,
    )


def make_answering(parts: Parts) -> Answering:
    """The one way from any surface to the record."""
    return Answering(
        approvals=parts.approvals,
        executions=parts.executions,
        access=parts.door.access,
        voters=parts.voters,
        publisher=parts.bus,
        topics=parts.settings.kafka.topics,
        clock=parts.clock,
        denials=parts.denials,
    )


def _clicks(parts: Parts, api: SlackApi, keeper: Keeper | None) -> Clicks:
    return Clicks(
        api=api,
        who=SettingsWho(parts.settings.slack.users, api, parts.clock, parts.directory),
        answering=make_answering(parts),
        approvals=parts.approvals,
        ledger=parts.ledger,
        redact=masker.text,
        on_answer=keeper.wake if keeper else lambda: None,
        denials=parts.denials,
    )


def _interactions(parts: Parts, clicks: Clicks) -> Interactions:
    settings = parts.settings
    signatures = Signatures(
        _plain(settings.slack.signing_secret), parts.redis, settings.redis.prefix, lambda: parts.clock.now().timestamp()
    )
    return Interactions(signatures, clicks, parts.denials)


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""
