"""``rb secrets``: which secrets runbooks can name, whether each can be fetched, and the keys of what is encrypted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from services.sealing import KeyRing
    from services.secrets.make import Secrets
    from services.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def secrets_list(*, as_json: Json = False) -> None:
    """List the names that `{{ secrets.NAME }}` knows, and where each comes from; never a value.

    Nobody is asked but the environment and the folder.

    Examples:
      rb secrets list
      rb secrets list --json
    """
    rows = runtime.run(_named(runtime.settings_for()))
    if as_json:
        runtime.print_json(rows)
        return
    runtime.print_table(
        ("name", "provider", "where"), [(row["name"], row["provider"], row["where"]) for row in rows], "no secrets"
    )


def secrets_check(*, as_json: Json = False) -> int:
    """Fetch every secret from its provider and say whether it worked; never a value.

    Also says when one runs out, and whether the keys of `secrets.encryption` can be used.

    Exit code 0: all can be fetched; 1: one cannot.

    Examples:
      rb secrets check
    """
    rows = runtime.run(_checked(runtime.settings_for()))
    if as_json:
        runtime.print_json(rows)
    else:
        told = [
            (row["name"], row["provider"], "yes" if row["fetched"] else "NO", row["expires_at"] or "", row["problem"])
            for row in rows
        ]
        runtime.print_table(("name", "provider", "fetched", "runs out", "problem"), told, "no secrets")
    return 0 if all(row["fetched"] for row in rows) else 1


def secrets_rotate_key(*, as_json: Json = False) -> int:
    """Wrap everything that is encrypted with the active key of `secrets.encryption`.

    Put the new key beside the old one, make it active, restart the pipeline, run this; then the old key can go. Only
    the keys of the texts are encrypted again. It may be repeated, and the pipeline may run.

    Exit code 0: nothing needs an older key any more; 1: something could not be opened, and keeps its key.

    Examples:
      rb secrets rotate-key
    """
    result = runtime.run(_rotated(runtime.settings_for()))
    if as_json:
        runtime.print_json(result)
    else:
        for problem in result["problems"]:
            runtime.note(f"rb: {problem}")
        typer.echo(f"{result['changed']} records are wrapped with the key {result['active']} now")
    return 1 if result["problems"] else 0


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Secrets]:
    """The secrets, with a cluster where one is needed."""
    from services.clock import SystemClock  # noqa: PLC0415 - keeps rb --help quick
    from services.kubernetes.connect import connect  # noqa: PLC0415 - as above
    from services.masking import masker  # noqa: PLC0415 - as above
    from services.secrets.make import checked_file, make_secrets  # noqa: PLC0415 - as above

    chosen, cluster = settings.secrets, None
    named = checked_file(chosen, chosen.file) if chosen.file else None
    if named and any(place.provider == "kubernetes-secrets" for place in named.places.values()):
        known = settings.kubernetes
        cluster = await connect(known.kubeconfig, known.context, known.practice_id)
    secrets = make_secrets(chosen, os.environ, SystemClock(), masker.register, cluster)
    try:
        yield secrets
    finally:
        await secrets.store.close()
        if cluster is not None:
            await cluster.close()


async def _named(settings: Settings) -> list[dict[str, Any]]:
    async with _opened(settings) as secrets:
        mapped = [
            {
                "name": place.name,
                "provider": place.provider,
                "where": place.path + (f"#{place.field}" if place.field else ""),
            }
            for place in secrets.store.places
        ]
        own = sorted(secrets.store.local_names() - {row["name"] for row in mapped})
        return mapped + [{"name": name, "provider": "environment or folder", "where": ""} for name in own]


async def _checked(settings: Settings) -> list[dict[str, Any]]:
    from executor.errors import RemediationError  # noqa: PLC0415 - keeps rb --help quick
    from services.config_files import ConfigError  # noqa: PLC0415 - as above
    from services.masking import masker  # noqa: PLC0415 - as above
    from services.secrets.keys import read_keys  # noqa: PLC0415 - as above

    async with _opened(settings) as secrets:

        async def look(place: Any) -> dict[str, Any]:
            row = {"name": place.name, "provider": place.provider, "fetched": False, "expires_at": None, "problem": ""}
            try:
                fetched = await secrets.store.look(place)
            except RemediationError as error:
                return {**row, "problem": masker.text(str(error))}
            return {**row, "fetched": True, "expires_at": fetched.expires_at and fetched.expires_at.isoformat()}

        rows = list(await asyncio.gather(*(look(place) for place in secrets.store.places)))
        rows += [
            {"name": name, "provider": "environment or folder", "fetched": True, "expires_at": None, "problem": ""}
            for name in sorted(secrets.store.local_names())
        ]
        try:
            await read_keys(settings.secrets.encryption, os.environ, secrets.store, masker.register)
        except ConfigError as error:
            rows.append(
                {
                    "name": "secrets.encryption",
                    "provider": "keys",
                    "fetched": False,
                    "expires_at": None,
                    "problem": str(error),
                }
            )
        return rows


async def read_ring(settings: Settings) -> KeyRing | None:
    """The keys of the installation; None where none are set.

    Raises:
        ConfigError: one of them cannot be read.
    """
    from services.masking import masker  # noqa: PLC0415 - keeps rb --help quick
    from services.secrets.keys import read_keys  # noqa: PLC0415 - as above

    if not settings.secrets.encryption.keys:
        return None
    async with _opened(settings) as secrets:
        return await read_keys(settings.secrets.encryption, os.environ, secrets.store, masker.register)


async def _rotated(settings: Settings) -> dict[str, Any]:
    from services.graph.sealed import rewrap  # noqa: PLC0415 - keeps rb --help quick

    ring = await read_ring(settings)
    if ring is None:
        raise runtime.CommandError("secrets.encryption names no key, so nothing is encrypted", 2)
    async with runtime.open_graph(settings) as graph:
        result = await rewrap(graph, ring)
    return {"active": ring.active, "changed": result.changed, "problems": list(result.problems)}
