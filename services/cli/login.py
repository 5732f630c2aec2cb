"""``rb login`` and ``rb logout``: who ``rb`` acts for on this machine."""

from __future__ import annotations

import fcntl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import runtime

if TYPE_CHECKING:
    from safety.access import Actor
    from services.access.kept_login import KeptLogin
    from services.access.login import Asked, DeviceLogin, Tokens
    from services.settings import Settings

_EARLY_SECONDS = 30.0
"""A token that ends under way is of no use."""


def login(
    *,
    token: Annotated[
        bool, typer.Option("--token", help="Log nobody in: print the token of the login, for calls of the REST API.")
    ] = False,
) -> None:
    """Log in at the identity provider of the settings, in a browser on any device.

    From then on `rb` acts as you on this machine, until the login ends or `rb logout`. ROOTMEND_TOKEN wins over it.

    Examples:
      rb login
      curl -H "Authorization: Bearer $(rb login --token)" http://127.0.0.1:8088/api/v1/runbooks
    """
    settings = runtime.settings_for()
    if token:
        kept = current_login(settings)
        if kept is None:
            raise runtime.CommandError("nobody is logged in: rb login")
        typer.echo(kept.id_token)
        return
    _needs_client(settings)
    actor, kept = runtime.run(_logged_in(settings))
    _keep(kept)
    until = time.strftime("%H:%M", time.localtime(kept.expires_at))
    again = "; it is renewed by itself" if kept.refresh_token else ""
    typer.echo(f"logged in: {actor}; on record as {actor.person}, until {until}{again}")


def logout() -> None:
    """Forget the login on this machine, and end it at the provider where it can be renewed.

    Examples:
      rb logout
    """
    from services.access import kept_login  # noqa: PLC0415 - keeps rb --help quick
    from services.access.errors import AccessFailure  # noqa: PLC0415 - as above

    path = kept_login.login_file()
    try:
        kept = kept_login.read_login(path)
    except kept_login.BadLogin:
        kept = None  # what cannot be read can be removed
    try:
        there = kept_login.forget_login(path)
    except kept_login.BadLogin as error:
        raise runtime.CommandError(str(error)) from error
    typer.echo("logged out" if there else "nobody was logged in")
    if kept is None or not kept.refresh_token:
        return
    settings = runtime.settings_for()
    if kept.issuer != settings.access.oidc.issuer:
        runtime.note(f"the login at {kept.issuer} was not ended there: it is not the issuer of the settings")
        return
    try:
        ended = runtime.run(_revoked(settings, kept))
    except AccessFailure as error:
        runtime.note(f"the login was not ended at {kept.issuer}: {error}")
    else:
        if not ended:
            runtime.note(f"{kept.issuer} has no way to end a login; it ends by itself")


def current_login(settings: Settings) -> KeptLogin | None:
    """The login of this machine for the provider of the settings, renewed where it has ended; None for nobody.

    Raises:
        CommandError: it has ended, or its file cannot be used.
    """
    from services.access import kept_login  # noqa: PLC0415 - keeps rb --help quick
    from services.access.errors import IdentityUnavailable, Unauthenticated  # noqa: PLC0415 - as above

    path = kept_login.login_file()
    if not settings.access.oidc.issuer or not path.is_file():
        return None
    try:
        kept = _fitting(kept_login.read_login(path), settings)
        if kept is None or _good(kept):
            return kept
        if not kept.refresh_token:
            raise runtime.CommandError("your login has ended: rb login, or rb logout")
        with _alone(path):
            kept = _fitting(kept_login.read_login(path), settings)  # another process may have renewed it
            if kept is None or _good(kept):
                return kept
            renewed = runtime.run(_renewed(settings, kept))
            kept_login.keep_login(path, renewed)
            return renewed
    except kept_login.BadLogin as error:
        raise runtime.CommandError(str(error), 2) from error
    except Unauthenticated as error:
        raise runtime.CommandError(f"your login has ended ({error}): rb login, or rb logout") from error
    except IdentityUnavailable as error:
        raise runtime.CommandError(f"your login cannot be renewed now: {error}") from error


def _good(kept: KeptLogin) -> bool:
    return time.time() < kept.expires_at - _EARLY_SECONDS


def _fitting(kept: KeptLogin | None, settings: Settings) -> KeptLogin | None:
    """A login at another provider says nothing here."""
    oidc = settings.access.oidc
    return kept if kept is not None and kept.issuer == oidc.issuer and kept.client in oidc.audience else None


def _needs_client(settings: Settings) -> None:
    oidc = settings.access.oidc
    if not oidc.issuer or not oidc.login_client:
        lacking = "access.oidc.login_client" if oidc.issuer else "access.oidc.issuer and access.oidc.login_client"
        raise runtime.CommandError(f"rb login needs {lacking} in the settings (docs/access.md)", 2)


def _keep(kept: KeptLogin) -> None:
    from services.access import kept_login  # noqa: PLC0415 - keeps rb --help quick

    try:
        kept_login.keep_login(kept_login.login_file(), kept)
    except kept_login.BadLogin as error:
        raise runtime.CommandError(str(error)) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time: a refresh token that is shown twice ends the login at many providers."""
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def _logged_in(settings: Settings) -> tuple[Actor, KeptLogin]:
    from services.access.errors import IdentityUnavailable, Unauthenticated  # noqa: PLC0415 - keeps rb --help quick

    try:
        oidc = settings.access.oidc
        async with _provider(settings, oidc.login_client) as device:
            tokens = await device.run(_show)
        return await _checked(settings, oidc.login_client, tokens)
    except (Unauthenticated, IdentityUnavailable) as error:
        raise runtime.CommandError(str(error)) from error


async def _renewed(settings: Settings, kept: KeptLogin) -> KeptLogin:
    from services.access.errors import Unauthenticated  # noqa: PLC0415 - keeps rb --help quick

    async with _provider(settings, kept.client) as device:
        tokens = await device.renew(kept.refresh_token)
    _, renewed = await _checked(settings, kept.client, tokens)
    if _claims(renewed.id_token).get("sub") != _claims(kept.id_token).get("sub"):
        raise Unauthenticated("the provider renewed it for somebody else")
    return renewed


async def _revoked(settings: Settings, kept: KeptLogin) -> bool:
    async with _provider(settings, kept.client) as device:
        return await device.revoke(kept.refresh_token)


@asynccontextmanager
async def _provider(settings: Settings, client: str) -> AsyncIterator[DeviceLogin]:
    from services.access.login import DeviceLogin  # noqa: PLC0415 - keeps rb --help quick
    from services.access.opening import provider_http  # noqa: PLC0415 - as above
    from services.clock import SystemClock  # noqa: PLC0415 - as above

    http = provider_http(settings)
    try:
        oidc = settings.access.oidc
        yield DeviceLogin(oidc.issuer, client, oidc.login_scopes, http, SystemClock())
    finally:
        await http.close()


async def _checked(settings: Settings, client: str, tokens: Tokens) -> tuple[Actor, KeptLogin]:
    """Held to the same rules as every token that is shown, before it is kept."""
    from services.access.kept_login import KeptLogin  # noqa: PLC0415 - keeps rb --help quick
    from services.access.opening import open_authenticator  # noqa: PLC0415 - as above
    from services.clock import SystemClock  # noqa: PLC0415 - as above
    from services.masking import masker  # noqa: PLC0415 - as above

    for secret in filter(None, (tokens.id_token, tokens.refresh_token)):
        masker.register(secret)
    async with open_authenticator(settings, SystemClock()) as authenticator:
        actor = await authenticator.actor(tokens.id_token)
    ends = float(_claims(tokens.id_token)["exp"])
    issuer = settings.access.oidc.issuer
    return actor, KeptLogin(
        issuer=issuer, client=client, id_token=tokens.id_token, refresh_token=tokens.refresh_token, expires_at=ends
    )


def _claims(token: str) -> Mapping[str, Any]:
    """What a token says that was checked before."""
    import jwt  # noqa: PLC0415 - keeps rb --help quick

    return jwt.decode(token, options={"verify_signature": False})


def _show(asked: Asked) -> None:
    runtime.note(f"To log in, open  {asked.where}\nand type in      {asked.code}")
    if asked.whole:
        runtime.note(f"or open          {asked.whole}\nand compare the code")
    runtime.note(f"It is good for {asked.seconds / 60:.0f} minutes. Waiting ...")
