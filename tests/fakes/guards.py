"""Guards for endpoints that are tested by themselves."""

from __future__ import annotations

from safety.access import ALERTS, API, Access, Actor, ActorKind, Grant, Scope, single_operator
from services.access.authenticator import Authenticator, StaticToken
from services.access.door import Door
from services.access.opening import API_TOKEN, RECEIVER_TOKEN
from services.api.guard import Guard


def token_guard(token: str, role: str = API, access: Access | None = None, name: str = "") -> Guard:
    """A guard that knows one static token, as the settings would make it."""
    known = name or (RECEIVER_TOKEN if role == ALERTS else API_TOKEN)
    actor = Actor(ActorKind.TOKEN, known, known, grants=(Grant(role),))
    return Guard(Authenticator([StaticToken(token, actor)]), Door(access or single_operator(), Scope("acme", "prod")))
