"""The file of roles: the published example as it is, and every mistake with its place and the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.examples import ABSENT, EXAMPLES

from safety.access import Actor, ActorKind, Scope
from safety.permissions import Permission, with_implied
from services.access.opening import open_access
from services.access.roles_file import load_access
from services.config_files import ConfigError
from services.settings import load_settings

EXAMPLE = Path(__file__).parents[1] / "examples" / "roles.yaml"
PUBLISHED = EXAMPLES / "v1-rbac.yaml"
VIEWER = {"runbooks:list", "runbooks:read", "executions:list", "executions:read", "audit-logs:read"}
OPERATOR = VIEWER | {"runbooks:execute", "runbooks:dry-run", "approvals:respond"}
AUTHOR = OPERATOR | {"runbooks:create", "runbooks:update", "runbooks:delete", "runbooks:publish"}
ADMIN = AUTHOR | {"runbooks:approve-publish", "secrets:manage", "rbac:manage", "audit-logs:export"}


def wrong(tmp_path, text):
    """The problems of a file."""
    path = tmp_path / "roles.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_access(path)
    return [problem.removeprefix(f"{path}:") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("groups", "identity", "expected"),
    [
        ((), "somebody", set()),
        (("engineering",), "somebody", VIEWER),
        (("oncall-engineers",), "somebody", OPERATOR),
        (("sre-team",), "somebody", AUTHOR),
        (("platform-team",), "somebody", AUTHOR),
        (("sre-leads",), "somebody", ADMIN),
        ((), "security-admin", ADMIN),
        ((), "Security-Admin", set()),
        (("security-admin",), "somebody", set()),
        (("engineering", "oncall-engineers"), "somebody", OPERATOR),
    ],
)
@pytest.mark.parametrize(
    "path",
    [EXAMPLE, pytest.param(PUBLISHED, marks=pytest.mark.skipif(not PUBLISHED.is_file(), reason=ABSENT))],
    ids=["own", "published"],
)
def test_the_published_example_gives_everybody_exactly_what_it_says(path, groups, identity, expected):
    """Unchanged: inherited permissions and those that they contain, and nothing else."""
    access = load_access(path)
    actor = Actor(ActorKind.USER, identity, groups=frozenset(groups))
    wanted = with_implied(Permission(name) for name in expected)
    assert access.permissions_of(actor) == wanted
    for permission in Permission:
        assert bool(access.may(actor, permission, Scope("acme", "prod", "shop", "x"))) is (permission in wanted)


def test_assignments_can_be_limited_to_tenants_clusters_namespaces_and_runbooks(tmp_path):
    """One text or a list; names and globs."""
    (tmp_path / "roles.yaml").write_text(
        "roles: [{name: operator, permissions: ['runbooks:*']}]\n"
        "assignments:\n"
        "  - role: operator\n"
        "    subjects: [{user: ada}, {service_account: ci/bot}]\n"
        "    scope: {clusters: [prod-*], namespaces: shop, tenants: acme, runbooks: [restart, 'scale-*']}\n"
    )
    access = load_access(tmp_path / "roles.yaml")
    scope = Scope("acme", "prod-1", "shop", "scale-up")
    for actor in (
        Actor(ActorKind.USER, "ada"),
        Actor(ActorKind.SERVICE_ACCOUNT, "system:serviceaccount:ci:bot"),
    ):
        assert access.may(actor, Permission.RUNBOOKS_DELETE, scope)
        for other in (
            Scope("other", "prod-1", "shop", "scale-up"),
            Scope("acme", "test", "shop", "scale-up"),
            Scope("acme", "prod-1", "web", "scale-up"),
            Scope("acme", "prod-1", "shop", "delete"),
            Scope(),
        ):
            assert not access.may(actor, Permission.RUNBOOKS_DELETE, other)


R = "roles:\n  - name: viewer\n    permissions: [runbooks:read]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("roles:\n  - name: viewer\n    permissions:\n      - runbooks:raed\n",
         "4:9: role viewer: there is no permission 'runbooks:raed'; did you mean runbooks:read?"),
        ("roles:\n  - name: viewer\n    permissions: ['polices:*']\n",
         "3:19: role viewer: there is no permission 'polices:*'; did you mean policies:read?"),
        (R + "    inherit: x\n", "4:5: unknown key inherit; did you mean inherits?"),
        (R + "    inherits: viewr\n", "4:5: there is no role 'viewr'; did you mean viewer?"),
        (R + "    inherits: viewer\n", "4:5: roles inherit in a circle: viewer -> viewer"),
        (R + "  - name: viewer\n", "4:5: role viewer is there twice"),
        (R + "assigments: []\n", "4:1: unknown key assigments; did you mean assignments?"),
        (R + "assignments:\n  - role: viewr\n    subjects: [{user: ada}]\n",
         "5:5: there is no role 'viewr'; did you mean viewer?"),
        (R + "assignments:\n  - role: viewer\n    subjects: [{usr: ada}]\n",
         "6:17: unknown key usr; did you mean user?"),
        (R + "assignments:\n  - role: viewer\n    subjects: [{user: ada, group: sre}]\n",
         "6:16: expected one of user, group, service_account"),
        (R + "assignments:\n  - role: viewer\n    subjects: [{user: ' ada'}]\n",
         "6:16: user: expected an id, a text without blanks around it"),
        (R + "assignments:\n  - role: viewer\n    subjects: [{user: 1}]\n",
         "6:16: user: expected an id, a text without blanks around it"),
        (R + "assignments:\n  - role: viewer\n    subjects: [{service_account: bot}]\n",
         "6:16: service_account: expected NAMESPACE/NAME, not 'bot'"),
        (R + "assignments:\n  - role: viewer\n",
         "5:5: expected `subjects`, a list of `user:`, `group:` or `service_account:`"),
        (R + "assignments:\n  - role: viewer\n    subjects: [{user: ada}]\n    scope: {namespace: shop}\n",
         "7:13: unknown key namespace; did you mean namespaces?"),
        (R + "assignments:\n  - role: viewer\n    subjects: [{user: ada}]\n    scope: {namespaces: []}\n",
         "7:13: namespaces: expected at least one name or glob; leave it out for all"),
        (R + "assignments:\n  - role: viewer\n    subjects: [{user: ada}]\n    scope:\n",
         "7:5: expected limits; leave `scope` out for everywhere"),
        ("roles:\n  - permissions: []\n", "2:5: expected `name`, a text"),
        ("roles:\n  - name: rootmend:admin\n",
         "2:5: role rootmend:admin: names that begin with rootmend: belong to the product"),
        ("roles: viewer\n", "1:1: roles: expected a list"),
        ("assignments: []\n", "1:1: expected a list of roles: without any, nobody may do anything"),
        ("roles: [viewer]\n", "1:9: expected keys and values, not 'viewer'"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_the_nearest_name(tmp_path, text, problem):
    """A misspelt permission must not silently give nothing, nor a misspelt limit everything."""
    assert problem in wrong(tmp_path, text)


def test_all_mistakes_are_told_at_once(tmp_path):
    """Nobody wants to find them one by one."""
    text = (
        "roles:\n  - name: a\n    permissions: [x:y]\n    inherits: [b]\n"
        "assignments:\n  - role: c\n    subjects: [{user: ada}]\n"
    )
    assert len(wrong(tmp_path, text)) == 3


def test_a_built_in_role_can_be_assigned(tmp_path):
    """Whoever runs it needs no copy of all permissions."""
    (tmp_path / "roles.yaml").write_text(R + "assignments:\n  - role: rootmend:admin\n    subjects: [{user: ada}]\n")
    access = load_access(tmp_path / "roles.yaml")
    assert access.permissions_of(Actor(ActorKind.USER, "ada")) == frozenset(Permission)


def test_a_missing_file_and_a_role_of_the_token_that_is_not_there_stop_the_start(tmp_path):
    """Wrong configuration is never replaced by a default."""
    (tmp_path / "rootmend.yaml").write_text("access: {roles_file: roles.yaml, token_role: operatr}\n")
    settings = load_settings(tmp_path / "rootmend.yaml", env={})
    assert settings.access.roles_file == tmp_path / "roles.yaml"
    with pytest.raises(ConfigError, match=r"roles\.yaml: cannot be read"):
        open_access(settings)
    (tmp_path / "roles.yaml").write_text("roles: [{name: operator, permissions: [runbooks:read]}]\n")
    with pytest.raises(ConfigError, match=r"access\.token_role: there is no role 'operatr'; did you mean operator\?"):
        open_access(settings)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("oidc: {issuer: 'http://idp.example.com', audience: rootmend}", "issuer must begin with https://"),
        ("oidc: {issuer: 'https://idp.example.com'}", "issuer needs audience"),
        ("oidc: {issuer: 'https://i', audience: r, algorithms: [HS256]}", "HS256 is not accepted"),
        ("oidc: {issuer: 'https://i', audience: r, algorithms: [none]}", "none is not accepted"),
        ("oidc: {issuer: 'https://i', audience: r, user_claim: name}", "a display name is no identity"),
        ("oidc: {issuer: 'https://i', audience: r, leeway: 1h}", "leeway must be from 0 to 5m"),
        ("service_accounts: {enabled: true, cache: 1h}", "must be from 0 to 5m"),
        ("people: {ada: {slack: U111}, bob: {slack: U111}}", "slack U111 belongs to both ada and bob"),
        ("people: {ada: {}, bob: {os_user: ada}}", "os_user ada belongs to both ada and bob"),
        ("people: {'token:7f': {}}", "is no id"),
        ("people: {ada: {slack: ada}}", "slack"),
        ("cli: trust", "did you mean trusted?"),
    ],
)
def test_settings_that_would_let_the_wrong_ones_in_are_refused(tmp_path, text, problem):
    """Each with its place."""
    (tmp_path / "rootmend.yaml").write_text(f"access:\n  {text}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "rootmend.yaml", env={})
    assert problem in str(caught.value)
    assert "rootmend.yaml:" in str(caught.value)
