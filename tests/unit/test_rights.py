"""Least rights: what a runbook needs is declared, asked for before its first step, and never exceeded."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from fakes.action_rig import deployment
from fakes.actions import ListedSignals, RecordingHooks, SwitchGuard, match_for, permit_for, record_of
from fakes.cluster import FakeCluster
from fakes.journal import MemoryJournal
from fakes.world import FakeWorld

from executor.actions import default_actions
from executor.errors import Forbidden, Invalid, Unavailable
from executor.model import Account, Outcome
from executor.planner import Planner
from executor.rights import Need, needs_of, target_kinds, writes_of
from executor.runner import Executor
from runbooks.loader import load_file
from runbooks.model import Runbook
from services.cli.app import main
from services.config_files import ConfigError
from services.rbac.accounts import account_of, account_rules
from services.rbac.missing import MissingRights
from services.rbac.roles import Subject, documents, rules_of
from services.settings import Runbooks, load_settings

ACTIONS = default_actions()
ACCOUNT = Account(user="system:serviceaccount:shop:fixer")
CATALOG = Runbooks().folders[0]


def book(*steps, **more):
    return Runbook.model_validate({"id": "rb", "trigger": {"root_cause_reason": "x"}, "steps": list(steps), **more})


def step(action, name="do", **params):
    return {"name": name, "action": action, "params": params}


def needed(runbook, *kinds, known=None, **params):
    return needs_of(runbook, ACTIONS, params, kinds or ("Deployment",), known)


def table(needs):
    """Verbs by resource, as a reviewer reads them."""
    return {one.resource: set(one.verbs) for one in rules_of(needs.found, ["shop"])}


@pytest.mark.parametrize("name", sorted({action.name for action in ACTIONS.values()}))
def test_every_action_declares_what_it_needs_of_the_api_server(name):
    """An action without a declaration would make the printed Role too small, and the refusal come too late."""
    action = ACTIONS[name]
    assert action.rights is not None
    assert action.rights_for({}, ("Deployment",)) is not None
    if name.startswith("kubectl_"):
        assert action.rights, "it asks the API server for something"


def test_an_action_that_declares_nothing_is_named():
    """Plugins may not know of rights yet: what cannot be told is said, not left out."""

    class Silent(type(ACTIONS["kubectl_get"])):
        rights = None

        def rights_for(self, params, kinds):
            return None

    found = needs_of(book(step("silent", resource="pod")), {"silent": Silent()}, {}, ("Deployment",))
    assert not found.found
    assert found.doubts == ["rb, step 'do': kubectl_get does not declare its rights"]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([step("kubectl_scale", resource="sts", replicas=1)], {"statefulsets": {"get", "patch"}}),
        ([step("kubectl_cordon")], {"nodes": {"get", "patch"}}),
        (
            [step("kubectl_rollout_undo")],
            {"deployments": {"get", "patch"}, "replicasets": {"list"}},
        ),
        (
            [step("kubectl_logs", resource="deployment/web")],
            {"deployments": {"get"}, "replicasets": {"list"}, "pods": {"get", "list"}, "pods/log": {"get"}},
        ),
        (
            [step("kubectl_exec", resource="pod/x", command=["ls"])],
            {
                "deployments": {"get"},
                "replicasets": {"list"},
                "pods": {"get", "list"},
                "pods/exec": {"get", "create"},
            },
        ),
        ([step("kubectl_delete", resource="pod", name="x")], {"pods": {"get", "delete"}}),
        ([step("kubectl_delete", resource="configmap", name="x")], {"configmaps": {"get", "delete", "create"}}),
        (
            [step("kubectl_patch", resource="secret", name="x", patch={"data": {}})],
            {"secrets": {"get", "create", "patch", "delete"}},
        ),
        ([step("kubectl_drain")], {"nodes": {"get", "patch"}, "pods": {"list"}, "pods/eviction": {"create"}}),
        ([step("kubectl_create_job", cronjob="x")], {"cronjobs": {"get"}, "jobs": {"get", "create", "delete"}}),
        ([step("wait", seconds=5)], {}),
        ([step("wait", condition="rollout complete")], {"deployments": {"get"}}),
        ([step("kubectl_list", resource="pods", all_namespaces=True)], {"pods": {"list"}}),
        ([step("slack_notify", channel="x", message="y")], {}),
        (
            [step("kubectl_apply", manifest={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})],
            {"configmaps": {"get", "create", "delete", "patch"}},
        ),
    ],
)
def test_a_role_holds_what_the_steps_need_and_nothing_else(steps, expected):
    """Reads, dry runs and the way back included."""
    assert table(needed(book(*steps))) == expected


def test_steps_on_the_way_back_and_in_called_runbooks_count():
    """A rollback that lacks a right would leave things half done."""
    inner = book(step("kubectl_uncordon", node="n")).model_copy(update={"id": "inner"})
    outer = book(
        step("run_runbook", runbook="inner"), rollback=[step("kubectl_scale", resource="deployment", replicas=1)]
    )
    assert table(needed(outer, known={"inner": inner})) == {"nodes": {"get", "patch"}, "deployments": {"get", "patch"}}
    assert "calls inner" in needed(outer).doubts[0]


def test_parameters_say_what_is_touched():
    """What only an incident can tell is a doubt; the same for what is given as a parameter is none."""
    runbook = book(
        step("kubectl_get", resource="{{ params.kind }}", name="x"), parameters=[{"name": "kind", "type": "string"}]
    )
    assert needed(runbook).doubts
    sure = needed(runbook, kind="configmap")
    assert (table(sure), sure.doubts) == ({"configmaps": {"get"}}, [])


def test_the_trigger_says_what_the_target_may_be():
    """A pod stands for the workload that owns it."""
    assert target_kinds(book(step("kubectl_cordon"), trigger={"root_cause_reason": "x"}))[0] == "Deployment"
    of_nodes = {"root_cause_reason": "x", "affected_resource_kinds": ["nodes"]}
    assert target_kinds(book(step("kubectl_cordon"), trigger=of_nodes)) == ("Node",)
    assert target_kinds(book(step("kubectl_cordon")), ["sts"]) == ("StatefulSet",)


def test_rights_stay_in_the_namespaces_that_are_named():
    """Objects of the cluster need a ClusterRole; what is granted everywhere is not granted again in one place."""
    needs = {
        Need("get", "Deployment"),
        Need("get", "ConfigMap", namespace="infra"),
        Need("get", "Node"),
        Need("list", "Pod", everywhere=True),
        Need("list", "Pod"),
    }
    rules = rules_of(needs, ["shop", "billing"])
    assert [(one.namespace, one.resource) for one in rules] == [
        ("", "nodes"),
        ("", "pods"),
        ("billing", "deployments"),
        ("infra", "configmaps"),
        ("shop", "deployments"),
    ]
    made = documents(rules, "Raise_Memory", Subject("fixer", "shop"))
    assert [one["kind"] for one in made] == ["ClusterRole", "ClusterRoleBinding", *["Role", "RoleBinding"] * 3]
    assert made[-1]["subjects"] == [{"kind": "ServiceAccount", "name": "fixer", "namespace": "shop"}]
    assert made[-1]["roleRef"]["name"] == made[-2]["metadata"]["name"] == "rootmend-raise-memory"


def test_an_unknown_kind_is_told_with_the_nearest_one():
    """A kind of an extension is written with its group."""
    with pytest.raises(Invalid, match="write a kind of an extension as PLURAL"):
        rules_of({Need("get", "Rollout")}, [])
    (rule,) = rules_of({Need("get", "rollouts.argoproj.io")}, [])
    assert (rule.group, rule.resource) == ("argoproj.io", "rollouts")


@pytest.mark.parametrize("path", sorted(CATALOG.glob("*/runbook.yaml")), ids=lambda path: path.parent.name)
def test_rights_of_every_catalog_runbook_can_be_told(path, capsys, monkeypatch, tmp_path):
    """``rb rbac needed`` prints manifests; none of them lets a runbook raise its own rights."""
    monkeypatch.chdir(tmp_path)
    loaded = load_file(path)
    needs = needed(loaded.runbook, *target_kinds(loaded.runbook))
    assert not [doubt for doubt in needs.doubts if "does not declare" in doubt or "there is no action" in doubt]
    assert main(["rbac", "needed", str(path), "-n", "shop", "--service-account", "shop/fixer"]) == 0
    made = list(yaml.safe_load_all(capsys.readouterr().out))
    groups = {group for one in made for rule in one.get("rules", ()) for group in rule["apiGroups"]}
    assert "rbac.authorization.k8s.io" not in groups
    assert all("*" not in str(one.get("rules")) for one in made)


# Before the first step


class Answers:
    """An API server that knows who may do what, and counts how often it is asked."""

    def __init__(self, *missing, error=None):
        self.missing = set(missing)
        self.asked = []
        self.error = error

    def __call__(self, account):
        self.account = account
        return self

    async def allowed(self, verb, ref, subresource=""):
        self.asked.append((verb, ref.kind, ref.name))
        if self.error:
            raise self.error
        return (verb, ref.kind, ref.name) not in self.missing and (verb, ref.kind) not in self.missing


@pytest.fixture
async def world():
    cluster = FakeCluster()
    await cluster.create(deployment("web", "shop"))
    return replace(FakeWorld().ports, cluster=cluster)


async def planned(world, *, account=None, **more):
    steps = [step("kubectl_scale", resource="deployment", replicas=2)]
    match = match_for(
        {"id": "rb", "trigger": {"root_cause_reason": "x"}, "steps": steps, **more}, name="web", namespace="shop"
    )
    return await Planner(ACTIONS, world, {}, accounts=lambda _: account).plan(match, "x1234567")


async def test_a_missing_right_is_found_before_the_first_step(world):
    """The refusal names verb, kind and namespace, and the command that tells what is needed."""
    refusal = await MissingRights(ACTIONS, Answers(("patch", "Deployment")))(await planned(world))
    assert refusal is not None
    assert refusal.check == "missing_right"
    assert "may not patch Deployment in namespace shop" in refusal.message
    assert "rb rbac needed rb" in refusal.message
    assert refusal.numbers["verb"] == "patch"


async def test_a_right_for_one_name_is_enough(world):
    """A Role may name its objects: no to all of them is not yet a no to this one."""
    only = Answers(("patch", "Deployment", ""))
    assert await MissingRights(ACTIONS, only)(await planned(world)) is None
    assert only.asked == [("patch", "Deployment", ""), ("patch", "Deployment", "web")]


@pytest.mark.parametrize("error", [Unavailable("away"), Forbidden("cannot impersonate")])
async def test_a_review_that_cannot_be_answered_is_a_no(world, error):
    """Missing data never permits."""
    refusal = await MissingRights(ACTIONS, Answers(error=error))(await planned(world))
    assert refusal is not None
    assert str(error) in refusal.message


async def test_a_yes_is_asked_for_once_in_a_minute_and_a_no_each_time(world):
    """No further round trip for each decision, and a right that is granted counts at the next alert."""
    now = [0.0]
    answers = Answers()
    rights = MissingRights(ACTIONS, answers, clock=lambda: now[0])
    plan = await planned(world)
    for _ in range(5):
        assert await rights(plan) is None
    assert len(answers.asked) == 1
    now[0] = 61.0
    answers.missing = {("patch", "Deployment")}
    assert await rights(plan) is not None
    answers.missing = set()
    assert await rights(plan) is None


async def test_each_account_has_its_own_answers(world):
    """What the pipeline may do says nothing of what another account may."""
    answers = Answers()
    rights = MissingRights(ACTIONS, answers)
    plan = await planned(world)
    await rights(plan)
    answers.missing = {("patch", "Deployment")}
    assert await rights(plan.model_copy(update={"account": ACCOUNT})) is not None
    assert answers.account == ACCOUNT


async def test_what_is_not_known_in_advance_is_asked_about_as_far_as_its_kind_is(world):
    """A write after a write is planned in its turn; its right is asked for all the same."""
    named = {"resource": "configmap", "name": "{{ steps.first.output.metadata.name }}"}
    deferred = {"name": "later", "action": "kubectl_delete", "params": named}
    first = {**step("kubectl_get", "first", resource="deployment"), "id": "first"}
    plan = await planned(world, steps=[step("kubectl_scale", resource="deployment", replicas=2), first, deferred])
    assert ("delete", "ConfigMap") in {(one.verb, one.ref.kind) for one in writes_of(plan, ACTIONS)}


# Acting as another account


def settings_with(tmp_path, *rules):
    file = tmp_path / "rootmend.yaml"
    file.write_text(yaml.safe_dump({"kubernetes": {"impersonate": list(rules)}}))
    return load_settings(file, env={})


def test_the_first_rule_that_means_a_runbook_says_its_account(tmp_path):
    """By id or tag, with globs; a runbook that none means keeps the pipeline's own account."""
    rules = account_rules(
        settings_with(
            tmp_path,
            {"runbooks": ["rb"], "service_account": "shop/fixer"},
            {"tags": ["db-*"], "user": "dba", "groups": ["dbas", "oncall"]},
        )
    )
    assert account_of(book(step("kubectl_cordon")), rules) == ACCOUNT
    tagged = book(step("kubectl_cordon"), tags=["db-main"]).model_copy(update={"id": "other"})
    assert account_of(tagged, rules) == Account(user="dba", groups=("dbas", "oncall"))
    assert account_of(tagged.model_copy(update={"tags": ()}), rules) is None


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"runbooks": ["*"]}, "give service_account or user"),
        ({"runbooks": ["*"], "user": "a", "service_account": "b/c"}, "give service_account or user"),
        ({"user": "a"}, "give runbooks or tags"),
        ({"runbooks": ["*"], "service_account": "fixer"}, "expected NAMESPACE/NAME"),
        ({"runbooks": ["*"], "user": "a", "groups": ["system:masters"]}, "may do everything"),
        ({"runbooks": ["*"], "user": "system:serviceaccount:a:b"}, "write a service account as"),
    ],
)
def test_an_account_that_cannot_be_meant_stops_the_start(tmp_path, rule, why):
    """Configuration mistakes are told, never guessed."""
    with pytest.raises(ConfigError, match=why):
        settings_with(tmp_path, rule)


async def run(world, plan):
    record = record_of(plan, "x1234567")
    journal = MemoryJournal()
    journal.open(record, 1)
    executor = Executor(
        actions=ACTIONS,
        world=world,
        journal=journal,
        guard=SwitchGuard(),
        clock=world.clock,
        hooks=RecordingHooks(),
        fresh=ListedSignals(),
    )
    return await executor.run(permit_for(record, 1), record)


async def test_steps_act_as_the_account_and_nothing_else_does(world):
    """Planning, dry run, write and undo go through the account; verification through the pipeline's own."""
    other = FakeCluster()
    await other.create(deployment("web", "shop"))
    asked = []

    def impersonates(account):
        asked.append(account)
        return other

    acting = replace(world, impersonates=impersonates)
    plan = await planned(acting, account=ACCOUNT)
    assert plan.account == ACCOUNT
    assert plan.hash != (await planned(acting)).hash, "people approve the account as well"
    await run(acting, plan)
    assert set(asked) == {ACCOUNT}
    untouched = await world.cluster.get("Deployment", "web", "shop")
    assert "rootmend.dev/execution" not in untouched["metadata"].get("annotations", {})


async def test_who_cannot_act_as_the_account_does_nothing(world):
    """Its steps never fall back to the pipeline's own rights."""
    plan = await planned(replace(world, impersonates=lambda _: world.cluster), account=ACCOUNT)
    ended = await run(world, plan)
    assert ended.outcome is Outcome.ABORTED
    assert "cannot act as anybody else" in ended.error
    assert not ended.steps
