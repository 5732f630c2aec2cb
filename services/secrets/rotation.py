"""Looking after secrets: one that was rotated is used at once, one that runs out soon is told of."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from executor.errors import RemediationError
from executor.ports import Clock
from services.secrets.model import Fetched, Place
from services.secrets.naming import Rotation
from services.secrets.store import SecretStore

log = structlog.get_logger(__name__)


class RotationWatch:
    """A duty of the sweeper: does something only when the interval has passed.

    Args:
        store: whose secrets.
        rotation: how often, and how early.
        clock: for both.
        event: told ``secret.checked`` for each name, for the metrics.
    """

    def __init__(self, store: SecretStore, rotation: Rotation, clock: Clock, event: Callable[..., None]) -> None:
        self._store = store
        self._interval = rotation.check_interval.total_seconds()
        self._early = rotation.alert_on_expiring_soon
        self._clock = clock
        self._event = event
        self._versions: dict[tuple[str, str], str] = {}
        self._due: float | None = None

    async def sweep(self) -> None:
        """Look at every mapped secret, when it is time."""
        now = self._clock.monotonic()
        if self._due is not None and now < self._due:
            return
        self._due = now + self._interval
        for place in self._store.places:
            await self._look(place)

    async def _look(self, place: Place) -> None:
        facts = {"secret_name": place.name, "provider": place.provider}
        try:
            fetched = await self._store.look(place)
        except RemediationError as error:
            log.warning("secret.unreadable", **facts, error=str(error))
            self._event("secret.checked", **facts, readable=False, rotated=False, seconds_left=None)
            return
        rotated = self._rotated(place, fetched)
        if rotated:
            log.info("secret.rotated", **facts)
        self._event("secret.checked", **facts, readable=True, rotated=rotated, seconds_left=self._left(place, fetched))

    def _rotated(self, place: Place, fetched: Fetched) -> bool:
        key = place.provider, f"{place.path}#{place.name}"
        before = self._versions.get(key)
        self._versions[key] = fetched.version
        return before is not None and before != fetched.version

    def _left(self, place: Place, fetched: Fetched) -> float | None:
        if fetched.expires_at is None:
            return None
        left = fetched.expires_at - self._clock.now()
        if left <= self._early:
            log.warning(
                "secret.expiring",
                secret_name=place.name,
                provider=place.provider,
                expires_at=fetched.expires_at.isoformat(),
                days=round(left.total_seconds() / 86_400, 1),
            )
        return left.total_seconds()
