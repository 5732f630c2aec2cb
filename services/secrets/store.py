"""The secrets of runbooks: by name, from their provider, for a short time in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from executor.errors import MissingSecret, RemediationError
from executor.ports import Clock
from runbooks.findings import did_you_mean
from services.secrets.local import SecretProvider
from services.secrets.model import Fetched, Place, Provider


@dataclass(frozen=True, slots=True)
class _Kept:
    fetched: Fetched
    until: float


class SecretStore:
    """Implements ``executor.ports.Secrets``.

    A name that is mapped comes from its provider and from nowhere else: when it is missing there, an old variable of
    that name must not stand in for it. All others come from the environment and the folder.

    Args:
        local: environment and folder.
        places: the mapped names.
        providers: by name.
        clock: for the time in memory.
        ttl_seconds: how long a secret is kept; 0 for not at all.
        on_read: told each value before it is given out, so that logs and records can take it out again.
    """

    def __init__(
        self,
        local: SecretProvider,
        places: Mapping[str, Place],
        providers: Mapping[str, Provider],
        clock: Clock,
        *,
        ttl_seconds: float = 30.0,
        on_read: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._local = local
        self._places = dict(places)
        self._providers = dict(providers)
        self._clock = clock
        self._ttl = ttl_seconds
        self._on_read = on_read
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._asking: dict[tuple[str, str], asyncio.Task[Fetched]] = {}

    def __repr__(self) -> str:
        return f"SecretStore(names={sorted(self._places)}, values=***)"

    @property
    def places(self) -> Sequence[Place]:
        """Every mapped name, in the order of the file."""
        return tuple(self._places.values())

    def local_names(self) -> frozenset[str]:
        """The names that environment and folder have."""
        return self._local.names()

    async def close(self) -> None:
        """Forget everything, and leave the providers."""
        self._kept.clear()
        for provider in self._providers.values():
            await provider.close()

    async def get(self, name: str) -> str:
        """The value.

        Raises:
            MissingSecret: nobody has it; the text names the secret and its provider.
            NotConfigured: the provider does not let us in, or not to this secret.
            Unavailable: the provider is away or sealed.
        """
        place = self._places.get(name)
        if place is None:
            self._refuse_group(name)
            return await self._local.get(name)
        value = self._value(place, await self._fetched(place))
        self._on_read(value)
        return value

    def forget(self, names: Collection[str]) -> None:
        """A target refused these secrets: the next step asks their providers again."""
        for name in names:
            if place := self._places.get(name):
                self._kept.pop((place.provider, place.path), None)

    async def look(self, place: Place) -> Fetched:
        """What the provider has now, past the cache; errors as in ``get``. What is kept is replaced."""
        self.forget([place.name])
        fetched = await self._fetched(place)
        self._value(place, fetched)
        return fetched

    async def _fetched(self, place: Place) -> Fetched:
        key = place.provider, place.path
        kept = self._kept.get(key)
        if kept is not None and self._clock.monotonic() < kept.until:
            return kept.fetched
        self._kept.pop(key, None)
        task = self._asking.get(key)
        if task is None:
            # Many steps of a storm need the same secret at once: one of them asks.
            task = self._asking[key] = asyncio.create_task(self._ask(place), name=f"secret {place.path}")
            task.add_done_callback(partial(self._answered, key))
        # A step that is cancelled must not take the answer from the others.
        return await asyncio.shield(task)

    def _answered(self, key: tuple[str, str], task: asyncio.Task[Fetched]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # when everybody who waited is gone, nobody is left to hear of it

    async def _ask(self, place: Place) -> Fetched:
        try:
            fetched = await self._providers[place.provider].fetch(place.path)
        except RemediationError as error:
            raise type(error)(f"the secret {place.name!r} cannot be fetched: {error}") from error
        for value in fetched.values.values():
            self._on_read(value)
        if self._ttl > 0:
            self._kept[place.provider, place.path] = _Kept(fetched, self._clock.monotonic() + self._ttl)
        return fetched

    def _value(self, place: Place, fetched: Fetched) -> str:
        if place.field in fetched.values:
            return fetched.values[place.field]
        advice = did_you_mean(place.field, (name for name in fetched.values if name))
        what = f"no field {place.field!r}" if place.field else "no value without a field"
        raise MissingSecret(
            f"the secret {place.name!r} is missing: {place.provider} has {what} at {place.path}; {advice}".rstrip("; ")
        )

    def _refuse_group(self, name: str) -> None:
        """A mapped name with fields means none of them by itself."""
        fields = [known for known in self._places if known.startswith(f"{name}.")]
        if fields:
            raise MissingSecret(f"the secret {name!r} has several fields: say {', '.join(fields)}")
        if name not in self._local.names() and (near := did_you_mean(name, self._places)).startswith("did you mean"):
            raise MissingSecret(f"there is no secret {name!r}; {near}")
