"""Who may do what, as values: actors, roles, assignments, and the one question that every entry point asks.

Nothing is allowed unless an assignment says so. Identities are compared by id, letter by letter: a display name or
another spelling gives nobody a right. A part of the scope that is not known is covered only by assignments without a
limit there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from safety.permissions import EVERY, Permission, with_implied

RESERVED = "rootmend:"
"""Begins the names of the built-in roles."""
ADMIN = "rootmend:admin"
API = "rootmend:api"
ALERTS = "rootmend:alerts"
BUILT_IN = (ADMIN, API, ALERTS)


class AccessError(ValueError):
    """Roles or assignments that cannot be used."""


class ActorKind(StrEnum):
    """What an actor is."""

    USER = "user"
    TOKEN = "token"  # noqa: S105 - a kind of actor
    SERVICE_ACCOUNT = "service_account"
    SLACK = "slack"
    SYSTEM = "system"


class SubjectKind(StrEnum):
    """What an assignment can name."""

    USER = "user"
    GROUP = "group"
    SERVICE_ACCOUNT = "service_account"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is acted on. None: all of it, or not known; both are covered only by an assignment without a limit there."""

    tenant: str | None = None
    cluster: str | None = None
    namespace: str | None = None
    runbook: str | None = None

    def __str__(self) -> str:
        parts = ((name, getattr(self, name)) for name in self.__slots__)
        return ", ".join(f"{name} {value}" for name, value in parts if value is not None) or "everything"


@dataclass(frozen=True, slots=True)
class Limits:
    """Where an assignment holds: globs for each part of the scope; an empty tuple for no limit."""

    tenants: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    runbooks: tuple[str, ...] = ()

    def covers(self, scope: Scope) -> bool:
        """Whether the whole scope is inside."""
        return (
            _fits(self.tenants, scope.tenant)
            and _fits(self.clusters, scope.cluster)
            and _fits(self.namespaces, scope.namespace)
            and _fits(self.runbooks, scope.runbook)
        )

    def inside(self, other: Limits) -> bool:
        """Whether everything that these limits cover is surely covered by the others too."""
        return all(
            not theirs or (bool(ours) and all(one in theirs or _plain_in(one, theirs) for one in ours))
            for ours, theirs in (
                (self.tenants, other.tenants),
                (self.clusters, other.clusters),
                (self.namespaces, other.namespaces),
                (self.runbooks, other.runbooks),
            )
        )

    def __str__(self) -> str:
        parts = ((name, getattr(self, name)) for name in self.__slots__)
        return "; ".join(f"{name} {', '.join(value)}" for name, value in parts if value) or "everywhere"


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that an actor brings along, because its token or the settings say so."""

    role: str
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who wants something.

    Attributes:
        kind: what it is.
        id: its identity, stable and unique within its kind; what is compared and recorded.
        name: for people to read; never compared.
        groups: that the identity provider or the settings put it in.
        claims: of the identity, for the record; without secrets.
        owner: the user whom a token or a Slack account stands for; empty when nobody is known.
        grants: roles that it brings along. A token has these and nothing else.
        claimed: the identity was only said, and checked by nobody (a run request on Kafka).
    """

    kind: ActorKind
    id: str
    name: str = ""
    groups: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False)
    owner: str = ""
    grants: tuple[Grant, ...] = ()
    claimed: bool = False

    @property
    def key(self) -> str:
        """Kind and id: unique among all actors."""
        return f"{self.kind}:{self.id}"

    @property
    def person(self) -> str:
        """The id by which one human is one human on every surface; what approvals record and compare.

        A user's own id, the owner of a token or Slack account, else kind and id.
        """
        if self.owner:
            return self.owner
        return self.id if self.kind is ActorKind.USER else self.key

    @property
    def human(self) -> bool:
        """Whether a person stands behind it: a user, or a token or Slack account that belongs to one."""
        return self.kind is ActorKind.USER or (bool(self.owner) and self.kind in {ActorKind.TOKEN, ActorKind.SLACK})

    def __str__(self) -> str:
        return f"{self.key} ({self.name})" if self.name and self.name != self.id else self.key


def system(part: str) -> Actor:
    """The product itself, such as ``sweeper``; for records. It has no roles."""
    return Actor(ActorKind.SYSTEM, part, part)


@dataclass(frozen=True, slots=True)
class Role:
    """A named set of permissions, with those of the roles that it inherits."""

    name: str
    permissions: frozenset[Permission] = frozenset()
    inherits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom an assignment names, by id."""

    kind: SubjectKind
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    def is_met_by(self, actor: Actor) -> bool:
        """Whether the actor is meant. Tokens never are: they have the roles that they were given."""
        if self.kind is SubjectKind.SERVICE_ACCOUNT:
            return actor.kind is ActorKind.SERVICE_ACCOUNT and actor.id == self.id
        if self.kind is SubjectKind.GROUP:
            return actor.kind is not ActorKind.TOKEN and not actor.claimed and self.id in actor.groups
        human = actor.kind is ActorKind.USER or (actor.kind is ActorKind.SLACK and bool(actor.owner))
        return human and not actor.claimed and actor.person == self.id


@dataclass(frozen=True, slots=True)
class Assignment:
    """A role for subjects, within limits."""

    role: str
    subjects: tuple[Subject, ...]
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Yes, and why.

    Attributes:
        role: that has the permission.
        through: the subject of the assignment, or how else the actor has the role.
    """

    role: str
    through: str

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Denied:
    """No, and what is missing.

    Attributes:
        permission: that is missing.
        scope: where it was needed.
        actor: who asked, for the message.
        roles: that would have it, most modest first.
        elsewhere: limits within which the actor does have it, in words; empty when nowhere.
    """

    permission: Permission
    scope: Scope
    actor: str
    roles: tuple[str, ...]
    elsewhere: str = ""

    def __bool__(self) -> bool:
        return False

    @property
    def reason(self) -> str:
        """The refusal in one sentence: what is missing, where, and which roles would have it."""
        where = "" if self.scope == Scope() else f" for {self.scope}"
        only = f"; it is given only for {self.elsewhere}" if self.elsewhere else ""
        roles = f"; roles that have it: {', '.join(self.roles)}" if self.roles else "; no role has it"
        return f"{self.actor} lacks the permission {self.permission}{where}{only}{roles}"


Answer = Allowed | Denied


class Access:
    """Roles and their assignments.

    Args:
        roles: of the roles file; the built-in ones are there in any case.
        assignments: who has which.
        configured: False where no roles file is set: single-operator mode.

    Raises:
        AccessError: a role that is not known or twice there, a reserved name, inheritance in a circle.
    """

    def __init__(
        self, roles: Iterable[Role] = (), assignments: Sequence[Assignment] = (), *, configured: bool = True
    ) -> None:
        by_name: dict[str, Role] = {}
        for role in roles:
            if role.name.startswith(RESERVED):
                raise AccessError(f"role {role.name}: names that begin with {RESERVED} belong to the product")
            if role.name in by_name:
                raise AccessError(f"role {role.name} is there twice")
            by_name[role.name] = role
        self.configured = configured
        self._roles = {name: _resolve(name, by_name, ()) for name in by_name} | _built_in()
        for assignment in assignments:
            if assignment.role not in self._roles:
                raise AccessError(f"an assignment names the role {assignment.role}, which is not there")
        self._assignments = tuple(assignments)

    @property
    def roles(self) -> Mapping[str, frozenset[Permission]]:
        """Each role with all its permissions, inherited and contained ones included."""
        return self._roles

    @property
    def assignments(self) -> Sequence[Assignment]:
        """As configured."""
        return self._assignments

    def may(self, actor: Actor, permission: Permission, scope: Scope | None = None) -> Answer:
        """Whether the actor may do this here. Deny by default.

        Args:
            actor: whose identity was checked; one that is only claimed has no rights.
            permission: what is wanted.
            scope: on what; left out, on everything.
        """
        where = scope or Scope()
        elsewhere: list[str] = []
        for role, limits, through in self._held(actor):
            if permission in self._roles.get(role, ()):
                if limits.covers(where):
                    return Allowed(role, through)
                elsewhere.append(str(limits))
        return Denied(permission, where, str(actor), self.roles_with(permission), " or ".join(dict.fromkeys(elsewhere)))

    def may_somewhere(self, actor: Actor, permission: Permission) -> Answer:
        """Whether the actor has this for anything; asked before the scope is known, never instead of it."""
        for role, _, through in self._held(actor):
            if permission in self._roles.get(role, ()):
                return Allowed(role, through)
        return Denied(permission, Scope(), str(actor), self.roles_with(permission))

    def permissions_of(self, actor: Actor, scope: Scope | None = None) -> frozenset[Permission]:
        """Everything that the actor may do here."""
        where = scope or Scope()
        held = (self._roles.get(role, frozenset()) for role, limits, _ in self._held(actor) if limits.covers(where))
        return frozenset().union(*held)

    def may_grant(self, actor: Actor, grant: Grant) -> Answer:
        """Whether the actor has everything that it would give away, within at least these limits."""
        for permission in sorted(self._roles.get(grant.role, EVERY)):
            if not any(
                permission in self._roles.get(role, ()) and grant.limits.inside(limits)
                for role, limits, _ in self._held(actor)
            ):
                return Denied(permission, Scope(), str(actor), self.roles_with(permission))
        return Allowed(grant.role, "everything in it is the actor's own")

    def roles_of(self, actor: Actor) -> tuple[tuple[str, Limits, str], ...]:
        """The actor's roles with their limits, and through whom it has each."""
        return tuple(self._held(actor))

    def roles_with(self, permission: Permission) -> tuple[str, ...]:
        """Roles that have a permission, the most modest one first; built-in ones only if no other has it."""
        found = [name for name, permissions in self._roles.items() if permission in permissions]
        own = [name for name in found if not name.startswith(RESERVED)]
        return tuple(sorted(own or found, key=lambda name: (len(self._roles[name]), name)))

    def _held(self, actor: Actor) -> Iterable[tuple[str, Limits, str]]:
        if actor.claimed:
            return
        for grant in actor.grants:
            yield grant.role, grant.limits, "the actor's own role"
        for assignment in self._assignments:
            for subject in assignment.subjects:
                if subject.is_met_by(actor):
                    yield assignment.role, assignment.limits, str(subject)


def single_operator() -> Access:
    """Without a roles file: only the built-in roles, which the local command line and the static tokens bring along."""
    return Access(configured=False)


def _built_in() -> dict[str, frozenset[Permission]]:
    api = {
        Permission.RUNBOOKS_LIST,
        Permission.RUNBOOKS_READ,
        Permission.RUNBOOKS_EXECUTE,
        Permission.RUNBOOKS_DRY_RUN,
        Permission.EXECUTIONS_LIST,
        Permission.EXECUTIONS_READ,
    }
    return {ADMIN: EVERY, API: frozenset(api), ALERTS: frozenset({Permission.ALERTS_SEND})}


def _resolve(name: str, roles: Mapping[str, Role], above: tuple[str, ...]) -> frozenset[Permission]:
    if name in above:
        raise AccessError(f"roles inherit in a circle: {' -> '.join((*above[above.index(name) :], name))}")
    role = roles.get(name)
    if role is None:
        raise AccessError(f"role {above[-1]} inherits {name}, which is not there")
    inherited = (_resolve(other, roles, (*above, name)) for other in role.inherits)
    return with_implied(role.permissions.union(*inherited))


def _fits(patterns: tuple[str, ...], value: str | None) -> bool:
    return not patterns or (value is not None and any(fnmatchcase(value, pattern) for pattern in patterns))


def _plain_in(one: str, patterns: tuple[str, ...]) -> bool:
    return not set("*?[") & set(one) and any(fnmatchcase(one, pattern) for pattern in patterns)
