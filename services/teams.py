"""Cards for Microsoft Teams, through incoming webhooks and workflows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from executor.errors import NotConfigured
from executor.people_ports import Card
from runbooks.findings import did_you_mean
from services.json_calls import Api, JsonCalls

_TEXT, _TITLE, _NAME, _VALUE, _FACTS = 20_000, 400, 100, 300, 12
"""Bytes as JSON, and the number of facts: together below the 28 KB that Teams takes."""
_HIDDEN_ERROR = re.compile(r"HTTP error (\d{3})")


class TeamsWebhooks:
    """Implements ``executor.people_ports.Teams``.

    Args:
        calls: makes the calls.
        webhooks: addresses by name. They are secrets: who knows one can post.
    """

    def __init__(self, calls: JsonCalls, webhooks: Mapping[str, str]) -> None:
        self._calls = calls
        self._webhooks = webhooks

    async def post(self, webhook: str, card: Card) -> None:
        """Post a card. It is sent again only when Teams did not take it."""
        url = self._webhooks.get(webhook)
        if not url:
            hint = did_you_mean(webhook, self._webhooks) if self._webhooks else "none is set"
            raise NotConfigured(f"teams.webhooks has no {webhook!r}; {hint}")
        api = Api("Teams", "teams.webhooks", {}, (url, url.partition("://")[2].partition("/")[2]), _true_status)
        await self._calls.call(api, "POST", url, message(card))


def message(card: Card) -> dict[str, Any]:
    """A card as Teams takes it: an Adaptive Card in a message."""
    body: list[dict[str, Any]] = []
    if card.title:
        title = shortened(card.title, _TITLE)
        body.append({"type": "TextBlock", "text": title, "weight": "Bolder", "size": "Medium", "wrap": True})
    body.append({"type": "TextBlock", "text": shortened(card.text, _TEXT), "wrap": True})
    if card.facts:
        pairs = list(card.facts.items())[:_FACTS]
        facts = [{"title": shortened(name, _NAME), "value": shortened(value, _VALUE)} for name, value in pairs]
        body.append({"type": "FactSet", "facts": facts})
    content = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "msteams": {"width": "Full"},
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [attachment]}


def shortened(text: str, most: int) -> str:
    """The text, cut so that it takes no more than a number of bytes as JSON."""
    if (size := _size(text)) <= most:
        return text
    while size > most - 3:
        text = text[: max(0, min(len(text) - 1, len(text) * (most - 3) // size))]
        size = _size(text)
    return f"{text}…"


def _size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode())


def _true_status(status: int, text: str) -> int:
    """Connectors answer 200 and put the error into the text."""
    found = _HIDDEN_ERROR.search(text)
    return int(found[1]) if status < 300 and found else status  # noqa: PLR2004 - HTTP success
