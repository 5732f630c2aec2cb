"""Every way in asks the door: all routes and all commands, with every role, with nobody, and with the wrong one."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path

import httpx
import pytest
import yaml
from fakes.memory_notices import MemoryUsedLinks
from fakes.pipeline_rig import CLUSTER, TENANT, TOPICS, Rig, runbook
from fakes.recording_publisher import RecordingPublisher
from fakes.voters import voters

from safety.access import ADMIN, ALERTS, API, Access, Actor, ActorKind, Grant, Limits, Scope, single_operator
from safety.permissions import Permission
from services.access.authenticator import Authenticator, StaticToken
from services.access.door import AccessDenied, Door
from services.access.entry_points import ENTRY_POINTS, EntryPoint, Reach
from services.access.identities import Directory
from services.access.opening import open_access
from services.access.roles_file import load_access
from services.api.app import create_app
from services.api.approvals import ApprovalsApi
from services.api.guard import Guard
from services.api.links import LinkPages
from services.api.receiver import Receiver
from services.api.runs import RunsApi
from services.approvals.answering import Answering
from services.cli import app, identity
from services.health import Health
from services.metrics import Metrics
from services.settings import load_settings

ROLES_FILE = Path(__file__).parents[1] / "examples" / "roles.yaml"
ACCESS = load_access(ROLES_FILE)
ROLES = ("", *ACCESS.roles)
WITHIN = Scope(TENANT, CLUSTER)
COMMANDS = tuple(app.COMMANDS)
GUARDED = tuple(name for name in COMMANDS if not (at := ENTRY_POINTS.get(f"rb {name}")) or not at.is_open)


# Commands


@pytest.fixture
def rb(monkeypatch, tmp_path, capsys):
    """Runs a command as a user with one role; gives the exit code, what was said, and whether it was let in."""
    monkeypatch.chdir(tmp_path)
    for name in ("ROOTMEND_CONFIG", "ROOTMEND_STATE", "ROOTMEND_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(identity, "tell", lambda _: None)  # there is no graph here

    def run(name, *words, role="", limits=None, login="carl"):
        roles = yaml.safe_load(ROLES_FILE.read_text())
        roles["assignments"] = (
            [{"role": role, "subjects": [{"user": "carl"}], **({"scope": limits} if limits else {})}] if role else []
        )
        (tmp_path / "roles.yaml").write_text(yaml.safe_dump(roles))
        (tmp_path / "rootmend.yaml").write_text("access: {roles_file: roles.yaml}\n")
        entered = []
        function = app.resolve(name)

        @functools.wraps(function)
        def instead(*_args, **given):
            entered.append(given)

        with monkeypatch.context() as patch:
            patch.setattr(identity, "login", lambda: login)
            patch.setattr(app, "resolve", lambda _: instead)
            code = app.main([*name.split(), *words])
        return code, capsys.readouterr().err, entered

    return run


def needed_words(name):
    """Words for what a command cannot do without."""
    function = app.resolve(name)
    words = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.default is not inspect.Parameter.empty:
            continue
        info = parameter.annotation.__metadata__[0]
        named = (info.default, *(info.param_decls or ()))  # in an annotation the first name is where a default would be
        options = [one for one in named if isinstance(one, str) and one.startswith("--")]
        words += [options[0], "1"] if options else ["1"]
    return words


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_table(name):
    """A new command without a line in the table would need all rights; this makes its author choose."""
    assert f"rb {name}" in ENTRY_POINTS, f"add 'rb {name}' to services/access/entry_points.py"


@pytest.mark.parametrize("name", GUARDED)
def test_every_command_lets_in_who_has_its_permission_and_refuses_everybody_else(name, rb):
    """All roles; a refusal is exit code 1, names the permission and a role that has it, and nothing is done."""
    words, entry = needed_words(name), ENTRY_POINTS[f"rb {name}"]
    for role in ROLES:
        held = ACCESS.roles.get(role, frozenset())
        code, said, entered = rb(name, *words, role=role)
        if held & set(entry.permissions):
            assert entered, (role, said)
        else:
            assert (code, entered) == (1, []), (role, said)
            assert f"lacks the permission {entry.permissions[0]}" in said
            assert "roles that have it: " in said


def test_a_command_that_is_missing_in_the_table_needs_every_right():
    """Forgotten is not open."""
    for role in ROLES:
        actor = Actor(ActorKind.USER, "carl", grants=(Grant(role),))
        if Permission.RBAC_MANAGE in ACCESS.roles.get(role, ()):
            Door(ACCESS).enter(actor, "rb forgotten")
        else:
            with pytest.raises(AccessDenied):
                Door(ACCESS).enter(actor, "rb forgotten")


@pytest.mark.parametrize(
    ("name", "words", "allowed"),
    [
        ("run", ["restart", "--target", "Deployment/shop/cart"], True),
        ("run", ["restart", "--target", "Deployment/web/cart"], False),
        ("run", ["restart", "--target", "Node/worker-1"], False),
        ("run", ["restart"], False),
        ("run", ["scale", "--target", "Deployment/shop/cart"], False),
        ("run", ["scale", "--target", "Deployment/shop/cart", "--dry-run"], False),
        ("pause", ["--namespace", "shop", "--runbook", "restart", "--reason", "x"], True),
        ("pause", ["--namespace", "web", "--runbook", "restart", "--reason", "x"], False),
        ("pause", ["--reason", "x"], False),
        ("pause", ["--show"], False),
    ],
)
def test_a_role_that_is_limited_to_a_part_reaches_that_part_only(rb, name, words, allowed):
    """What is not named is everything, and everything is not a part."""
    limits = {"namespaces": ["shop"], "runbooks": ["restart"]}
    code, said, entered = rb(name, *words, role="runbook-operator", limits=limits)
    assert bool(entered) is allowed, said
    assert allowed or (code == 1 and "it is given only for namespaces shop; runbooks restart" in said)


def test_a_pause_of_another_cluster_or_tenant_needs_a_role_that_reaches_it(rb):
    """A store may be shared: leaving the cluster out means all of them."""
    limits = {"clusters": ["default"], "tenants": ["default"]}
    own = ["--cluster", "default", "--tenant", "default"]
    for words, allowed in (([], False), (own[:2], False), (["--cluster", "other"], False), (own, True)):
        _, said, entered = rb("pause", "--reason", "x", *words, role="runbook-operator", limits=limits)
        assert bool(entered) is allowed, (words, said)


def test_everybody_goes_on_record_as_themselves(rb):
    """`--by` cannot name somebody else where there are roles."""
    _, _, entered = rb("pause", "--reason", "x", role="runbook-operator")
    assert entered[0]["by"] == "carl"
    _, _, entered = rb("pause", "--reason", "x", "--by", "carl", role="runbook-operator")
    assert entered[0]["by"] == "carl"
    code, said, entered = rb("pause", "--reason", "x", "--by", "ada", role="runbook-operator")
    assert (code, entered) == (2, [])
    assert "you are carl" in said


def test_the_user_of_this_machine_is_not_what_the_environment_says(monkeypatch):
    """USER=security-admin would be a right by spelling."""
    before = identity.login()
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "security-admin")
    assert identity.login() == before != "security-admin"


def test_with_tokens_only_the_user_of_the_machine_counts_for_nothing(monkeypatch, tmp_path, capsys):
    """`access.cli: token`: without a token nothing goes, and a wrong one is told apart."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROOTMEND_TOKEN", raising=False)
    (tmp_path / "rootmend.yaml").write_text(
        "access: {cli: token}\napi: {token: staple-of-a-battery, receiver_token: another-one}\n"
    )
    assert app.main(["pause", "--reason", "x"]) == 2
    assert "say who you are with rb login or ROOTMEND_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("ROOTMEND_TOKEN", "wrong-one")
    assert app.main(["pause", "--reason", "x"]) == 1
    said = capsys.readouterr().err
    assert "this token is not known" in said
    assert "wrong-one" not in said
    monkeypatch.setattr(identity, "tell", lambda _: None)
    monkeypatch.setenv("ROOTMEND_TOKEN", "another-one")
    assert app.main(["pause", "--reason", "x"]) == 1
    assert "lacks the permission automation:pause" in capsys.readouterr().err
    monkeypatch.setenv("ROOTMEND_TOKEN", "staple-of-a-battery")
    assert app.main(["access", "whoami"]) == 0
    assert "token:api.token" in capsys.readouterr().out


def test_without_roles_the_local_command_line_may_everything_and_the_check_says_so(monkeypatch, tmp_path, capsys):
    """Single-operator mode is a choice that is told."""
    monkeypatch.chdir(tmp_path)
    for name in ("ROOTMEND_CONFIG", "ROOTMEND_STATE", "ROOTMEND_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert app.main(["access", "check", "--permission", "rbac:manage"]) == 0
    assert f"has the role {ADMIN}" in capsys.readouterr().out
    assert app.main(["config", "check"]) == 0
    assert "single-operator mode" in capsys.readouterr().err
    (tmp_path / "rootmend.yaml").write_text("access: {roles_file: nowhere.yaml}\n")
    assert app.main(["config", "check"]) == 2
    assert "nowhere.yaml: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--as", "security-admin", "--permission", "secrets:manage"], 0, "yes: user:security-admin has the role"),
        (["--as", "carl", "--permission", "runbooks:execute"], 1, "roles that have it: runbook-operator"),
        (["--as", "carl", "--group", "sre-team", "--permission", "runbooks:publish"], 0, "runbook-author (group sre"),
        (["--as", "ci/bot", "--permission", "runbooks:list"], 1, "service_account:system:serviceaccount:ci:bot lacks"),
        (["--as", "carl", "--permission", "runbooks:exec"], 2, "did you mean runbooks:execute?"),
    ],
)
def test_access_check_says_who_may_and_why(monkeypatch, tmp_path, capsys, words, code, said):  # noqa: PLR0917 - pytest gives them by name
    """Exit code 0 for yes, 1 for no, 2 for a question that makes no sense."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roles.yaml").write_text(ROLES_FILE.read_text())
    (tmp_path / "rootmend.yaml").write_text("access: {roles_file: roles.yaml}\n")
    assert app.main(["access", "check", *words]) == code
    found = capsys.readouterr()
    assert said in found.out + found.err


# Routes


def guard_for(access, roles):
    """A guard with one token for each role, named like the role; the empty one has none."""
    tokens = [
        StaticToken(f"token-of-{role}", Actor(ActorKind.TOKEN, f"t-{role}", grants=(Grant(role),) if role else ()))
        for role in roles
    ]
    return Guard(Authenticator(tokens), Door(access, WITHIN))


def answering_of(rig):
    """Takes answers to the questions of a rig."""
    return Answering(
        approvals=rig.store,
        executions=rig.store,
        access=ACCESS,
        voters=voters(ACCESS),
        publisher=rig.kafka,
        topics=TOPICS,
        clock=rig.clock,
    )


def whole_app(guard):
    """The application with everything that can be switched on."""
    rig = Rig(runbook())
    known = {one.runbook.id: one for one in rig.runbooks}
    runs = RunsApi(
        runbooks=lambda: known,
        publisher=rig.kafka,
        topic=TOPICS.run_requests,
        ledger=rig.store,
        executions=rig.store,
        clock=rig.clock,
        guard=guard,
        tenant=TENANT,
        cluster=CLUSTER,
    )
    facts = {"approvals": rig.store, "clock": rig.clock, "answering": answering_of(rig)}
    questions = ApprovalsApi(
        approvals=rig.store, executions=rig.store, answering=facts["answering"], guard=guard, max_body_bytes=10_000
    )
    pages = LinkPages(
        keys={}, used=MemoryUsedLinks(), ledger=rig.store, directory=Directory(), redact=lambda text: text, **facts
    )
    more = [*questions.routes(), *pages.routes()]
    return create_app(Health(), Metrics(), Receiver(RecordingPublisher(), "alerts", guard), runs, more=more), rig


ROUTES = sorted(
    (method, route.path)
    for route in whole_app(guard_for(single_operator(), ()))[0].routes
    for method in route.methods - {"HEAD"}
)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_lets_in_who_has_its_permission_and_refuses_everybody_else(method, path):
    """All roles and nobody: 401 without a token, 403 with the permission that is missing."""
    entry = ENTRY_POINTS.get(f"{method} {path}")
    assert entry is not None, f"add '{method} {path}' to services/access/entry_points.py"
    application, rig = whole_app(guard_for(ACCESS, ROLES))
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://rootmend") as http:
        at = path.replace("{id}", "raise-memory")

        async def call(token):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return await http.request(method, at, headers=headers, json={})

        if entry.is_open:
            return
        for nobody in ("", "wrong", "token-of"):
            assert (await call(nobody)).status_code == 401
        for role in ROLES:
            rig.kafka.messages.clear()
            answer = await call(f"token-of-{role}")
            held = ACCESS.roles.get(role, frozenset())
            if held & set(entry.permissions):
                assert answer.status_code not in {401, 403}, (role, answer.text)
            else:
                assert answer.status_code == 403, (role, answer.text)
                assert any(f"lacks the permission {one}" in answer.text for one in entry.permissions)
                assert rig.kafka.messages == []


@pytest.mark.parametrize(
    ("namespace", "dry", "role", "status"),
    [
        ("shop", False, "runbook-operator", 202),
        ("web", False, "runbook-operator", 403),
        (None, False, "runbook-operator", 403),
        ("shop", False, "runbook-viewer", 403),
        ("shop", True, "runbook-operator", 202),
    ],
)
async def test_a_token_that_is_limited_to_a_namespace_runs_nothing_elsewhere(namespace, dry, role, status):
    """The target counts, not only the endpoint."""
    actor = Actor(ActorKind.TOKEN, "7f", grants=(Grant(role, Limits(namespaces=("shop",))),))
    guard = Guard(Authenticator([StaticToken("x", actor)]), Door(ACCESS, WITHIN))
    application, rig = whole_app(guard)
    target = {"kind": "Deployment", "namespace": namespace, "name": "app"} if namespace else None
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://rootmend") as http:
        answer = await http.post(
            "/api/v1/runbooks/raise-memory/execute",
            headers={"Authorization": "Bearer x"},
            json={"target": target, "dry_run": dry, "requested_by": "somebody else"},
        )
    assert answer.status_code == status, answer.text
    assert len(rig.kafka.messages) == (status == 202)
    if status == 202:
        assert b'"requested_by":"token:7f"' in rig.kafka.messages[0].value


class Listening:
    """Hooks that keep what they are told."""

    def __init__(self):
        self.events = []

    def event(self, name, **facts):
        self.events.append((name, facts))


def test_each_denied_try_is_told_to_the_hooks():
    """With who, what and why; never with a token."""
    hooks = Listening()
    door = Door(ACCESS, WITHIN, hooks)
    actor = Actor(ActorKind.USER, "eve", "Eve")
    with pytest.raises(AccessDenied):
        door.enter(actor, "rb resume")
    with pytest.raises(AccessDenied):
        door.require(actor, Permission.RUNBOOKS_EXECUTE, Scope(namespace="shop"), entry="slack run")
    (one, first), (_, second) = hooks.events
    assert one == "access.denied"
    assert first["permission"] == "automation:resume"
    assert (second["entry"], second["actor"], second["person"]) == ("slack run", "user:eve", "eve")
    assert "namespace shop" in second["scope"]


def test_the_static_tokens_are_actors_with_one_role_each(tmp_path):
    """Alerts may be sent with the one, runbooks asked for with the other, and nothing else."""
    (tmp_path / "rootmend.yaml").write_text("api: {token: a-token, receiver_token: another}\n")
    settings = load_settings(tmp_path / "rootmend.yaml", env={})
    from services.access.opening import static_tokens  # noqa: PLC0415 - beside what it is about

    access = open_access(settings)
    held = {one.actor.id: access.permissions_of(one.actor) for one in static_tokens(settings)}
    assert held == {"api.token": access.roles[API], "api.receiver_token": access.roles[ALERTS]}
    assert access.roles[API].isdisjoint({Permission.APPROVALS_RESPOND, Permission.ALERTS_SEND, Permission.RBAC_MANAGE})


def test_an_entry_point_is_open_for_a_reason_or_needs_a_permission():
    """Never by omission."""
    for given in ({}, {"permissions": (Permission.RUNBOOKS_LIST,), "why_open": "both"}):
        with pytest.raises(ValueError, match="a reason to be open"):
            EntryPoint(**given)
    assert all(entry.reach in Reach for entry in ENTRY_POINTS.values())


def test_who_is_not_allowed_is_not_told_whether_the_runbook_exists():
    """Names of runbooks are for those who may see them: the permission is asked before anything is looked up."""
    guard = guard_for(Access((), ()), ("",))
    application, _ = whole_app(guard)

    async def call(name):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://rootmend") as http:
            return await http.post(
                f"/api/v1/runbooks/{name}/execute", headers={"Authorization": "Bearer token-of-"}, json={}
            )

    import asyncio  # noqa: PLC0415 - only here

    answers = [asyncio.run(call(name)) for name in ("raise-memory", "no-such-runbook")]
    assert [one.status_code for one in answers] == [403, 403]
