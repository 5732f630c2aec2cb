"""Several listeners on the one hook that the core calls."""

from __future__ import annotations

from typing import Any

import structlog

from executor.ports import Hooks

log = structlog.get_logger(__name__)


class MultiHooks:
    """Passes each event on to every listener. A listener that fails is reported once, and disturbs nobody."""

    def __init__(self, *listeners: Hooks) -> None:
        self._listeners = listeners
        self._reported: set[tuple[str, str]] = set()

    def event(self, name: str, **facts: Any) -> None:
        """Something happened."""
        for listener in self._listeners:
            try:
                listener.event(name, **facts)
            except Exception as error:  # noqa: BLE001 - remediation must not fail because counting it does
                self._report(type(listener).__name__, name, error)

    def _report(self, listener: str, name: str, error: Exception) -> None:
        if (listener, name) not in self._reported:
            self._reported.add((listener, name))
            log.warning("hook.failed", listener=listener, about=name, error=str(error))
