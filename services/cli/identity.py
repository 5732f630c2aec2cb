"""Who ``rb`` acts for, and whether they may. Every command comes through here before it does anything."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.cli import runtime

if TYPE_CHECKING:
    from safety.access import Actor, Scope
    from safety.permissions import Permission
    from services.access.door import AccessDenied, Door
    from services.settings import Settings

TOKEN = "ROOTMEND_TOKEN"  # noqa: S105 - the name of a variable
LOGIN = "rb login"


class NotAllowed(runtime.CommandError):
    """The caller lacks a permission; the message names it and the roles that have it."""

    def __init__(self, why: AccessDenied) -> None:
        super().__init__(f"not allowed: {why}")
        self.why = why


@dataclass(frozen=True, slots=True)
class Caller:
    """Who acts, where they have to ask, and through which command they came.

    Attributes:
        through: what proved it; empty where the machine is believed.
    """

    actor: Actor
    door: Door
    entry: str = ""
    through: str = ""


_caller: ContextVar[Caller | None] = ContextVar("rb_caller", default=None)


def enter(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Find out who calls, and ask whether they may use the command. Open commands load nothing.

    Args:
        name: of the command, such as ``approvals list``.
        arguments: of the command, by name.

    Returns:
        The arguments, with the caller in the place of ``by``.

    Raises:
        CommandError: the caller may not, or is not proven.
        ConfigError: the settings or the roles cannot be used.
    """
    from services.access.entry_points import ENTRY_POINTS  # noqa: PLC0415 - keeps rb --help quick

    _caller.set(None)
    entry = f"rb {name}"
    given = dict(arguments)
    if entry in ENTRY_POINTS and ENTRY_POINTS[entry].is_open:
        return given
    found = open_caller(runtime.settings_for(), entry)
    _ask(lambda: found.door.enter(found.actor, entry, given))
    _caller.set(found)
    if isinstance(given.get("by"), str):
        given["by"] = acting_as(given["by"])
    return given


def caller() -> Caller:
    """Who calls."""
    found = _caller.get()
    if found is None:
        found = open_caller(runtime.settings_for())
        _caller.set(found)
    return found


def require(permission: Permission, scope: Scope | None = None) -> None:
    """Ask with what is acted on.

    Raises:
        CommandError: the caller may not; names the permission and the roles that have it.
    """
    who = caller()
    _ask(lambda: who.door.require(who.actor, permission, scope, entry=who.entry))


def may(permission: Permission, scope: Scope | None = None) -> bool:
    """The same question, to leave lines out of a list."""
    who = caller()
    return who.door.may(who.actor, permission, scope)


def acting_as(by: str = "") -> str:
    """The id that goes on record. Without roles, ``--by`` may say another name; with roles everybody is who they are.

    Args:
        by: what ``--by`` said.

    Returns:
        The id; empty where nothing was said and the command may take the user of the terminal.

    Raises:
        CommandError: somebody else's name.
    """
    who = caller()
    if not who.door.access.configured and not who.through:
        return by
    person = who.actor.person
    if by.strip() and by.strip() != person:
        raise runtime.CommandError(f"everybody acts as themselves: you are {person}; leave --by out", 2)
    return person


def actor_named(by: str) -> Actor:
    """The actor behind the id that goes on record: the caller, or whom ``--by`` names where names are only said.

    Raises:
        CommandError: the name would read like somebody else's kind of id.
    """
    from services.access.identities import BadIdentity, Directory  # noqa: PLC0415 - keeps rb --help quick

    who = caller().actor
    if by.strip() == who.person:
        return who
    try:
        return Directory(runtime.settings_for().access.people).user(by.strip())
    except BadIdentity as error:
        raise runtime.CommandError(str(error), 2) from error


def need_a_person() -> None:
    """Make sure that no machine answers in a person's place.

    Raises:
        CommandError: the caller is a machine.
    """
    who = caller()
    if not who.actor.human:
        raise runtime.CommandError(f"{who.actor} is a machine, and this needs a person")


def open_caller(settings: Settings, entry: str = "") -> Caller:
    """Who calls: the token where one is given, else who logged in, else the user of this machine where that is trusted.

    Raises:
        CommandError: nobody is proven.
        ConfigError: the roles cannot be used.
    """
    from services.access.opening import open_access, open_door  # noqa: PLC0415 - keeps rb --help quick

    access = open_access(settings)
    door = open_door(settings, access)
    token = os.environ.get(TOKEN, "").strip()
    if token:
        return Caller(_proven(settings, token, TOKEN), door, entry, TOKEN)
    from services.cli.login import current_login  # noqa: PLC0415 - keeps rb --help quick

    if kept := current_login(settings):
        return Caller(_proven(settings, kept.id_token, LOGIN), door, entry, f"{LOGIN} at {kept.issuer}")
    if settings.access.cli == "token":
        raise runtime.CommandError(f"access.cli is token: say who you are with {LOGIN} or {TOKEN}", 2)
    return Caller(_of_this_machine(settings, configured=access.configured), door, entry)


def _ask(question: Callable[[], None]) -> None:
    from services.access.door import AccessDenied  # noqa: PLC0415 - keeps rb --help quick

    try:
        question()
    except AccessDenied as denied:
        raise NotAllowed(denied) from denied


def tell(refused: NotAllowed) -> None:
    """Put a denied try on record. Without the graph it stays what the caller was told."""
    from services import logs  # noqa: PLC0415 - keeps rb --help quick
    from services.access.denials import tell_denial  # noqa: PLC0415 - as above
    from services.audit.trail import Neo4jTrail  # noqa: PLC0415 - as above

    settings = runtime.settings_for()
    logs.configure("error", settings.logging.format)  # that it could not be told is not the answer

    async def work() -> None:
        async with runtime.open_graph(settings) as graph:
            await tell_denial(Neo4jTrail(graph), refused.why.entry, refused.why.actor, refused.why.denied)

    runtime.run(work())


def _of_this_machine(settings: Settings, *, configured: bool) -> Actor:
    from dataclasses import replace  # noqa: PLC0415 - keeps rb --help quick

    from safety.access import ADMIN, Grant  # noqa: PLC0415 - as above
    from services.access.identities import BadIdentity, Directory  # noqa: PLC0415 - as above

    try:
        actor = Directory(settings.access.people).os_user(login())
    except BadIdentity as error:
        raise runtime.CommandError(f"the user of this machine: {error}", 2) from error
    return actor if configured else replace(actor, grants=(Grant(ADMIN),))


def login() -> str:
    """The user of this process as the system knows it. What ``USER`` or ``LOGNAME`` say is no proof."""
    try:
        import pwd  # noqa: PLC0415 - not on Windows
    except ImportError:
        return runtime.whoami()
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid-{os.geteuid()}"  # a container without a passwd entry


def _proven(settings: Settings, token: str, through: str) -> Actor:
    from services import logs  # noqa: PLC0415 - keeps rb --help quick
    from services.access.errors import IdentityUnavailable, Unauthenticated  # noqa: PLC0415 - as above

    logs.configure("error", settings.logging.format)  # that a login could not be told is not the answer
    logs.masker.register(token)
    try:
        return runtime.run(_prove(settings, token))
    except Unauthenticated as error:
        raise runtime.CommandError(f"{through}: {error}") from error
    except IdentityUnavailable as error:
        raise runtime.CommandError(f"{through} cannot be checked now: {error}") from error


async def _prove(settings: Settings, token: str) -> Actor:
    """Connects to what this token needs, and to what keeps the record of logins."""
    from contextlib import AsyncExitStack  # noqa: PLC0415 - keeps rb --help quick

    from services.access.logins import Logins  # noqa: PLC0415 - as above
    from services.access.opening import open_authenticator  # noqa: PLC0415 - as above
    from services.access.tokens import looks_like_one  # noqa: PLC0415 - as above
    from services.audit.trail import Neo4jTrail  # noqa: PLC0415 - as above
    from services.clock import SystemClock  # noqa: PLC0415 - as above
    from services.graph.tokens import Neo4jTokens  # noqa: PLC0415 - as above
    from services.kubernetes.connect import connect  # noqa: PLC0415 - as above

    async with AsyncExitStack() as stack:
        tokens, reviewer = None, None
        graph = await stack.enter_async_context(runtime.open_graph(settings))
        redis = await stack.enter_async_context(runtime.open_redis(settings))
        if looks_like_one(token):
            tokens = Neo4jTokens(graph, settings.redis.prefix)
        elif settings.access.service_accounts.enabled:
            kubernetes = settings.kubernetes
            reviewer = await connect(kubernetes.kubeconfig, kubernetes.context, kubernetes.practice_id)
            stack.push_async_callback(reviewer.close)
        logins = Logins(Neo4jTrail(graph), redis, settings.redis.prefix, SystemClock())
        opened = open_authenticator(settings, SystemClock(), tokens=tokens, reviewer=reviewer, logins=logins)
        authenticator = await stack.enter_async_context(opened)
        return await authenticator.actor(token)
