"""An action behind another one, which says of itself what that one says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executor.actions.base import Action
from executor.model import Access


class Wrapped(Action[Any]):
    """Base of actions that stand in front of an action and answer in its place."""

    def __init__(self, inner: Action[Any]) -> None:
        self._inner = inner
        self.name, self.aliases = inner.name, inner.aliases
        self.access, self.idempotent = inner.access, inner.idempotent
        self.params_model = inner.params_model

    def access_of(self, params: Mapping[str, Any]) -> Access:
        """As the action says."""
        return self._inner.access_of(params)

    def repeatable(self, params: Mapping[str, Any]) -> bool:
        """As the action says."""
        return self._inner.repeatable(params)
