"""Slack as a place where people are asked."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from executor.errors import NotConfigured
from services.approvals.facts import Question
from services.approvals.progress import Progress
from services.approvals.surface import Spot
from services.slack import blocks
from services.slack.client import SlackApi
from services.slack.text import escaped

NAME = "slack"


class SlackSurface:
    """Implements ``services.approvals.surface.Surface``.

    Args:
        channel: where questions are asked whose runbook names no channel, or one that is not allowed.
        channels: that runbooks may name; empty for any.
    """

    name = NAME

    def __init__(self, api: SlackApi, channel: str, channels: Collection[str] = ()) -> None:
        self._api = api
        self._channel = channel
        self._channels = frozenset(channels)

    async def ask(self, question: Question, root: Spot | None) -> Spot:
        """See the port. Later questions of an incident stand in its thread, and are shown in the channel as well."""
        content: dict[str, Any] = {
            "text": blocks.headline(question),
            "blocks": blocks.message(question),
            "unfurl_links": False,
            "unfurl_media": False,
            "metadata": {
                "event_type": "rootmend_question",
                "event_payload": {"approval_id": question.approval.id},
            },
        }
        if root is not None:
            thread = root.thread or root.message
            return await self._post(root.channel, content | {"thread_ts": thread, "reply_broadcast": True}, thread)
        wanted = self._wanted(question)
        try:
            return await self._post(wanted, content, "")
        except NotConfigured:
            if wanted == self._channel:
                raise
            # A channel that is gone must not keep the question from being asked at all.
            return await self._post(self._channel, content, "")

    def _wanted(self, question: Question) -> str:
        named = question.channel
        return named if named and (not self._channels or named in self._channels) else self._channel

    async def _post(self, channel: str, content: dict[str, Any], thread: str) -> Spot:
        answer = await self._api.call("chat.postMessage", channel, channel=channel, **content)
        # Messages are changed by the id of their channel; only posting takes a name.
        return Spot(str(answer.get("channel") or channel), str(answer.get("ts") or ""), thread)

    async def show(self, spot: Spot, question: Question) -> None:
        """See the port."""
        text, shown = blocks.headline(question), blocks.message(question)
        await self._api.call(
            "chat.update", spot.channel, channel=spot.channel, ts=spot.message, text=text, blocks=shown
        )

    async def tell(self, spot: Spot, progress: Progress, known: str) -> str:
        """See the port. One message that is changed, so that many steps are no flood."""
        text, shown = escaped(f"Execution: {progress.stage}", 200), blocks.progress(progress)
        if known:
            await self._api.call("chat.update", spot.channel, channel=spot.channel, ts=known, text=text, blocks=shown)
            return known
        return await self._reply(spot, text, shown)

    async def end(self, spot: Spot, progress: Progress) -> None:
        """See the port."""
        await self._reply(spot, escaped(f"Ended: {progress.ending}", 400), blocks.ending(progress))

    async def _reply(self, spot: Spot, text: str, shown: list[blocks.Block]) -> str:
        thread = spot.thread or spot.message
        answer = await self._api.call(
            "chat.postMessage", spot.channel, channel=spot.channel, thread_ts=thread, text=text, blocks=shown
        )
        return str(answer.get("ts") or "")
