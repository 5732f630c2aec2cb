"""``rb access``: who may do what, and who one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli import identity, runtime

if TYPE_CHECKING:
    from safety.access import Access, Actor, Scope

_ACCOUNT = "system:serviceaccount:"

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def access_show(
    role: Annotated[str, typer.Argument(help="Only this role, with what it contains.", show_default=False)] = "",
    *,
    as_json: Json = False,
) -> None:
    """Show the roles with all their permissions, inherited ones included, and who has them where.

    Examples:
      rb access show
      rb access show runbook-operator
    """
    from services.access.opening import open_access, remarks  # noqa: PLC0415 - keeps rb --help quick

    settings = runtime.settings_for()
    access = open_access(settings)
    if role and role not in access.roles:
        from runbooks.findings import did_you_mean  # noqa: PLC0415 - as above

        raise runtime.CommandError(f"there is no role {role!r}; {did_you_mean(role, access.roles)}".rstrip("; "), 2)
    chosen = {name: sorted(held) for name, held in access.roles.items() if role in {"", name}}
    if as_json:
        runtime.print_json({"configured": access.configured, "roles": chosen, "assignments": _assigned(access, role)})
        return
    for remark in remarks(settings):
        runtime.note(remark)
    runtime.print_table(("role", "permissions"), [(name, ", ".join(held)) for name, held in chosen.items()])
    rows = [(one["role"], ", ".join(one["subjects"]), one["where"]) for one in _assigned(access, role)]
    typer.echo()
    runtime.print_table(("role", "who", "where"), rows, empty="No role is assigned to anybody.")


def access_check(
    *,
    permission: Annotated[str, typer.Option("--permission", help="Such as runbooks:execute.")],
    as_: Annotated[
        str, typer.Option("--as", help="Id of a user, or of a service account: NAMESPACE/NAME. Default: you.")
    ] = "",
    group: Annotated[list[str] | None, typer.Option("--group", help="As if in this group; repeat it.")] = None,
    tenant: Annotated[str, typer.Option("--tenant", help="Default: that of the settings.")] = "",
    cluster: Annotated[str, typer.Option("--cluster", help="Default: that of the settings.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", help="Default: all of them.")] = "",
    runbook: Annotated[str, typer.Option("--runbook", help="Default: all of them.")] = "",
    as_json: Json = False,
) -> int:
    """Say whether somebody may do something, and through which role. Exit code 1 for no.

    Groups that only an identity provider knows are given with --group.

    Examples:
      rb access check --as security-admin --permission runbooks:execute
      rb access check --as alice --group sre-team --permission approvals:respond --namespace shop
    """
    from safety.access import Denied, Scope  # noqa: PLC0415 - keeps rb --help quick
    from services.access.opening import open_access, open_door  # noqa: PLC0415 - as above

    settings = runtime.settings_for()
    wanted = _permission(permission)
    door = open_door(settings, open_access(settings))
    actor = _somebody(as_, group or []) if as_ or group else identity.open_caller(settings).actor
    scope: Scope = door.at(Scope(tenant, cluster, namespace, runbook))
    answer = door.access.may(actor, wanted, scope)
    told: dict[str, Any] = {
        "actor": actor.key,
        "permission": wanted.value,
        "scope": str(scope),
        "allowed": bool(answer),
    }
    if isinstance(answer, Denied):
        told["reason"] = answer.reason
        text = f"no: {answer.reason}"
    else:
        told |= {"role": answer.role, "through": answer.through}
        text = f"yes: {actor} has the role {answer.role} ({answer.through}) for {scope}"
    if as_json:
        runtime.print_json(told)
    else:
        typer.echo(text)
    return 0 if answer else 1


def access_whoami(*, as_json: Json = False) -> None:
    """Say who you are to Rootmend, and what you may do.

    Examples:
      rb whoami
      ROOTMEND_TOKEN=... rb whoami --json
    """
    who = identity.open_caller(runtime.settings_for())
    roles = [
        {"role": role, "where": str(limits), "through": how}
        for role, limits, how in who.door.access.roles_of(who.actor)
    ]
    told = {
        "actor": who.actor.key,
        "name": who.actor.name,
        "person": who.actor.person,
        "through": who.through or "the user of this machine",
        "groups": sorted(who.actor.groups),
        "roles": roles,
        "permissions": sorted(who.door.access.permissions_of(who.actor, who.door.home)),
    }
    if as_json:
        runtime.print_json(told)
        return
    typer.echo(f"{who.actor}; on record as {who.actor.person}; through {told['through']}")
    if who.actor.groups:
        typer.echo(f"groups: {', '.join(sorted(who.actor.groups))}")
    rows = [(one["role"], one["where"], one["through"]) for one in roles]
    runtime.print_table(("role", "where", "through"), rows, empty="No role: nothing is allowed.")


def _permission(text: str) -> Any:
    from runbooks.findings import did_you_mean  # noqa: PLC0415 - keeps rb --help quick
    from safety.permissions import Permission  # noqa: PLC0415 - as above

    try:
        return Permission(text)
    except ValueError as error:
        near = did_you_mean(text, (each.value for each in Permission))
        raise runtime.CommandError(f"there is no permission {text!r}" + f"; {near}" * bool(near), 2) from error


def _somebody(text: str, groups: list[str]) -> Actor:
    from safety.access import Actor, ActorKind  # noqa: PLC0415 - keeps rb --help quick
    from services.access.identities import BadIdentity, Directory  # noqa: PLC0415 - as above

    if "/" in text or text.startswith(_ACCOUNT):
        full = text if text.startswith(_ACCOUNT) else _ACCOUNT + text.replace("/", ":", 1)
        return Actor(ActorKind.SERVICE_ACCOUNT, full, groups=frozenset(groups))
    try:
        return Directory(runtime.settings_for().access.people).user(text or "nobody-in-particular", groups=groups)
    except BadIdentity as error:
        raise runtime.CommandError(f"--as: {error}", 2) from error


def _assigned(access: Access, role: str) -> list[dict[str, Any]]:
    return [
        {"role": one.role, "subjects": [str(who) for who in one.subjects], "where": str(one.limits)}
        for one in access.assignments
        if role in {"", one.role}
    ]
