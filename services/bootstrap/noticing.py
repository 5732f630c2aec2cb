"""Who tells people what the timers of questions say, put together."""

from __future__ import annotations

from executor.actions.base import World
from services.approvals.notices import NoticeDesk
from services.approvals.telling import Ways
from services.bootstrap.parts import Parts
from services.graph.workflows import Neo4jNotices
from services.logs import masker
from services.settings_approvals import Links


def link_keys(links: Links) -> dict[str, str]:
    """Signing keys by name; logs and records never show them."""
    keys = {name: key.get_secret_value() for name, key in links.keys.items()}
    for key in keys.values():
        masker.register(key)
    return keys


def make_notices(parts: Parts, acting: World) -> NoticeDesk:
    """Who tells people of escalations, reminders and bypasses, and sends links."""
    settings = parts.settings
    chosen = settings.approvals
    link_keys(chosen.links)
    ways = Ways(
        chat=acting.chat,
        people=acting.people,
        http=acting.http,
        clock=parts.clock,
        ways=chosen.tell,
        channel=chosen.channel,
        redact=masker.text,
        asks_in_slack=settings.slack.asks,
    )
    return NoticeDesk(
        notices=Neo4jNotices(parts.graph, settings.default_cluster),
        voters=parts.voters,
        ledger=parts.ledger,
        ways=ways,
        directory=parts.directory,
        links=chosen.links,
        clock=parts.clock,
        holder=parts.holder,
        redact=masker.text,
        remind_every=chosen.remind_every,
    )
