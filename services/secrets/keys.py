"""The keys of ``secrets.encryption``, read where the settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from executor.errors import RemediationError
from services.config_files import ConfigError
from services.sealing import BadKey, KeyRing, read_key
from services.secrets.store import SecretStore
from services.settings_secrets import EncryptionSettings


async def read_keys(
    settings: EncryptionSettings,
    environment: Mapping[str, str],
    store: SecretStore,
    on_read: Callable[[str], None],
) -> KeyRing | None:
    """The key ring; None when no key is set.

    Args:
        settings: checked already.
        environment: the process's variables.
        store: for keys that are secrets themselves.
        on_read: told each key, so that it is masked everywhere.

    Raises:
        ConfigError: a key cannot be read or is none; names the key and its source, never the key.
    """
    if not settings.keys:
        return None
    found: dict[str, bytes] = {}
    problems: list[str] = []
    for name, source in settings.keys.items():
        try:
            text = await _text(source, environment, store)
            on_read(text.strip())
            found[name] = read_key(text)
        except (BadKey, OSError, UnicodeDecodeError, KeyError, RemediationError) as error:
            told = "there is no such variable" if isinstance(error, KeyError) else str(error)
            problems.append(f"secrets.encryption.keys.{name} ({source}): {told}")
    if problems:
        raise ConfigError(tuple(problems))
    return KeyRing(settings.active, found)


async def _text(source: str, environment: Mapping[str, str], store: SecretStore) -> str:
    kind, _, rest = source.partition(":")
    if kind == "file":
        return await asyncio.to_thread(_content, rest)
    return environment[rest] if kind == "env" else await store.get(rest)


def _content(path: str) -> str:
    return Path(path).expanduser().read_text()
