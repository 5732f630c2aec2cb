"""Telling people that they are asked, beside the stream of decisions: no message holds up the next one."""

from __future__ import annotations

import asyncio

from executor.model import ExecutionRecord
from executor.notify import Notifier

SUGGESTED = "on_suggestion"
"""The moment at which people are told of a plan that they cannot approve."""


class Questions:
    """Sends the notification ``on_approval`` of executions that wait for an answer, and what is only suggested.

    Args:
        notifier: sends it.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._running: set[asyncio.Task[None]] = set()

    def ask(self, record: ExecutionRecord) -> None:
        """Begin to tell people; returns at once."""
        self._tell(record, "on_approval")

    def suggest(self, record: ExecutionRecord) -> None:
        """Begin to tell people of a plan that nobody is asked about; returns at once."""
        self._tell(record, SUGGESTED)

    def _tell(self, record: ExecutionRecord, moment: str) -> None:
        if not record.notification.get(moment):
            return
        task = asyncio.create_task(self._notifier.tell(record, moment))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
