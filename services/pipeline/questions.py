"""Telling people that they are asked, beside the stream of decisions: no message holds up the next one."""

from __future__ import annotations

import asyncio

from executor.model import ExecutionRecord
from executor.notify import Notifier


class Questions:
    """Sends the notification ``on_approval`` of executions that wait for an answer.

    Args:
        notifier: sends it.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._running: set[asyncio.Task[None]] = set()

    def ask(self, record: ExecutionRecord) -> None:
        """Begin to tell people; returns at once."""
        if not record.notification.get("on_approval"):
            return
        task = asyncio.create_task(self._notifier.tell(record, "on_approval"))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
