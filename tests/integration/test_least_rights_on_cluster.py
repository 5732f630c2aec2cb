"""The real API server with RBAC on: runbooks act as another account, with exactly the Role that they need."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fakes.action_rig import deployment
from fakes.actions import match_for
from fakes.places import SystemClock, until
from fakes.served import mark, runbook, served
from fakes.world import FakeWorld

from executor.actions import default_actions
from executor.actions.base import Found, Stamp
from executor.actions.naming import ref_of
from executor.errors import Forbidden, NotFound
from executor.model import Access, Account, ObjectRef
from executor.planner import Planner
from executor.reasons import leaves
from executor.rights import needs_of
from matcher.model import Subject as About
from runbooks.loader import load_file
from services.kubernetes.connect import connect
from services.kubernetes.impersonation import Accounts, ActingCluster
from services.rbac.missing import MissingRights
from services.rbac.roles import Subject, documents, rules_of
from services.settings import Runbooks

pytestmark = pytest.mark.stack

ACTIONS = default_actions()
CATALOG = Runbooks().folders[0]
OWN = {"apiVersion": "v1", "kind": "Namespace"}
RBAC = "rbac.authorization.k8s.io/v1"
REVIEW = "authorization.k8s.io/v1"


class Recording(ActingCluster):
    """Writes down which rights each request used, as the API server's authorizer sees it."""

    used: set[tuple[str, str]]

    async def _send(self, method, path, what, query, body, **more):
        parts = path.split("?")[0].strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        rest = rest[2:] if rest[0] == "namespaces" and len(rest) > 2 else rest
        resource = "/".join([rest[0], *rest[2:]])
        read = "get" if len(rest) > 1 else "list"
        verb = {"GET": read, "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}[method]
        if "selfsubjectaccessreviews" not in resource:
            self.used.add((verb, resource))
        return await super()._send(method, path, what, query, body, **more)


def rights_in(binding, role):
    """Whom a binding gives what, as the API server is asked about it."""
    for one in binding["subjects"]:
        account = f"system:serviceaccount:{one.get('namespace')}:{one['name']}"
        subject = {"groups": [one["name"]]} if one["kind"] == "Group" else {"user": account}
        for rule in role["rules"]:
            for group, resource, verb, name in product(
                rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""])
            ):
                plural, _, sub = resource.partition("/")
                place = {"namespace": binding["metadata"].get("namespace", ""), "name": name}
                yield subject, {"verb": verb, "group": group, "resource": plural, "subresource": sub, **place}


@dataclass
class Ground:
    """A namespace with a service account that has no rights yet."""

    admin: Any
    namespace: str
    account: Account
    made: list[ObjectRef]

    async def grant(self, *manifests: Any) -> None:
        for manifest in manifests:
            self.made.append(ref_of(await self.admin.create(manifest)))
        roles = {one["metadata"]["name"]: one for one in manifests if one["kind"].endswith("Role")}
        for binding in manifests:
            if binding["kind"].endswith("Binding"):
                for subject, asked in rights_in(binding, roles[binding["roleRef"]["name"]]):
                    await until(partial(self.has, subject, asked), 60)

    async def has(self, subject: dict[str, str], asked: dict[str, str]) -> bool:
        """The authorizer learns of a binding by a watch, a moment after it is made."""
        review = {"apiVersion": REVIEW, "kind": "SubjectAccessReview", "spec": {**subject, "resourceAttributes": asked}}
        path = f"/apis/{REVIEW}/subjectaccessreviews"
        return (await self.admin._send("POST", path, "ask for a right", {}, review))["status"]["allowed"]

    def acting(self) -> Recording:
        cluster = Recording(self.admin, self.account)
        cluster.used = set()
        return cluster


@pytest.fixture
async def ground(stack):
    admin = await connect(stack.admin_kubeconfig, "rootmend-practice-admin")
    namespace = f"rights-{uuid.uuid4().hex[:8]}"
    account = Account(user=f"system:serviceaccount:{namespace}:fixer")
    here = Ground(admin, namespace, account, [])
    try:
        await here.grant({**OWN, "metadata": {"name": namespace}})
        yield here
    finally:
        for ref in reversed(here.made):
            with suppress(NotFound):
                await admin.delete(ref)
        await admin.close()


async def two_revisions(here):
    """A Deployment that was rolled out twice, so that there is a revision to go back to."""
    await here.admin.create(deployment("web", here.namespace))
    ref = ObjectRef(kind="Deployment", name="web", namespace=here.namespace)

    async def sets(count):
        return len(await here.admin.list("ReplicaSet", here.namespace)) >= count

    await until(lambda: sets(1), 60)
    limits = {"memory": "128Mi", "cpu": "100m"}
    containers = [{"name": "app", "image": "shop/app:2", "resources": {"limits": limits}}]
    await here.admin.patch(ref, {"spec": {"template": {"spec": {"containers": containers}}}}, how="strategic")
    await until(lambda: sets(2), 60)


def catalog(name):
    return load_file(CATALOG / name / "runbook.yaml").runbook


UNUSED: dict[str, set[tuple[str, str]]] = {}
"""Rights that a run may leave unused, by runbook: those of other branches than the one that was taken."""


@pytest.mark.parametrize(
    "name", ["oomkilled-increase-memory", "crashloop-after-rollout-undo", "cpu-throttling-raise-limit"]
)
async def test_a_runbook_runs_and_is_taken_back_with_exactly_the_role_that_it_needs(ground, name):
    """No 403 in planning, rehearsal, writing, asking what happened and undoing; and no right that nothing used."""
    await two_revisions(ground)
    tried = catalog(name)
    needs = needs_of(tried, ACTIONS, {}, ("Deployment",))
    rules = rules_of(needs.found, [ground.namespace])
    await ground.grant(*documents(rules, tried.id, Subject("fixer", ground.namespace)))
    cluster = ground.acting()
    fake = FakeWorld()
    world = replace(fake.ports, cluster=ground.admin, clock=SystemClock(), impersonates=lambda _: cluster)
    live = await ground.admin.get("Deployment", "web", ground.namespace)
    still = {"steps": [{"name": "wait", "action": "wait", "params": {"seconds": 1}}]}
    match = match_for(still, name="web", namespace=ground.namespace, uid=live["metadata"]["uid"], container="app")
    subject = About("Pod", "app-0", ground.namespace, "uid-0")
    incident = replace(
        match.incident,
        signal=replace(match.incident.signal, subject=subject),
        cause=replace(match.incident.cause, subject=subject),
    )
    match = replace(match, incident=incident, runbook=match.runbook.model_copy(update={"runbook": plain(tried)}))
    plan = await Planner(ACTIONS, world, {}, accounts=lambda _: ground.account).plan(match, "x1234567")
    assert await MissingRights(ACTIONS, lambda _: cluster)(plan) is None
    acting, written = replace(world, cluster=cluster), 0
    for step in leaves(plan.steps):
        if step.access is not Access.WRITE or step.when is False or not step.changes:
            continue
        action, stamp = ACTIONS[step.action], Stamp("x1234567", step.id, 7)
        await action.dry_run(step, acting)
        saved = await action.prepare(step, stamp, acting)
        await action.perform(step, saved, stamp, acting)
        assert (await action.recover(step, saved, stamp, acting)).found is Found.DONE
        await action.undo(step, saved, stamp, acting)
        written += 1
    assert written, "something was changed"
    granted = {(verb, rule.resource) for rule in rules for verb in rule.verbs}
    assert cluster.used <= granted
    assert granted - cluster.used == UNUSED.get(name, set())


def plain(tried):
    """Without what looks at metrics or at the clock: only the steps are tried."""
    return tried.model_copy(update={"preconditions": (), "assumptions": ()})


async def test_without_a_right_the_plan_is_refused_and_the_api_server_says_no(ground):
    """The review and the real request agree, on an account with one right too few."""
    await two_revisions(ground)
    tried = catalog("crashloop-after-rollout-undo")
    needs = needs_of(tried, ACTIONS, {}, ("Deployment",))
    rules = [
        replace(rule, verbs=tuple(verb for verb in rule.verbs if verb != "patch"))
        for rule in rules_of(needs.found, [ground.namespace])
    ]
    await ground.grant(*documents(rules, tried.id, Subject("fixer", ground.namespace)))
    cluster = ground.acting()
    ref = ObjectRef(kind="Deployment", name="web", namespace=ground.namespace)
    assert await cluster.get("Deployment", "web", ground.namespace)
    assert not await cluster.allowed("patch", ref)
    with pytest.raises(Forbidden):
        await cluster.patch(ref, {"metadata": {"labels": {"a": "b"}}}, how="merge", dry_run=True)
    with pytest.raises(Forbidden):
        await cluster.list("Pod", "kube-system")


async def test_groups_are_impersonated_as_well(ground):
    """Each group is a header of its own; a right of the second one counts."""
    name = f"{ground.namespace}-group"
    meta = {"name": "readers", "namespace": ground.namespace}
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    subject = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": name}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "readers"}
    await ground.grant(
        {"apiVersion": RBAC, "kind": "Role", "metadata": meta, "rules": [rule]},
        {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": meta, "roleRef": role, "subjects": [subject]},
    )
    both = Accounts(ground.admin)(Account(user="somebody", groups=("others", name)))
    assert await both.list("ConfigMap", ground.namespace) is not None
    with pytest.raises(Forbidden):
        await Accounts(ground.admin)(Account(user="somebody", groups=("others",))).list("ConfigMap", ground.namespace)


async def test_the_pipeline_acts_as_the_account_of_a_runbook_and_refuses_what_that_may_not(stack, tmp_path, ground):
    """``rb serve``: an allowed step is the account's own, in the audit of the object; a forbidden one never begins."""
    account = f"{ground.namespace}/fixer"
    grants = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"], "resourceNames": ["fixer"]}
    names = {"name": f"rootmend-impersonates-{ground.namespace}"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": names["name"]}
    place = {**names, "namespace": ground.namespace}
    pipeline = {"kind": "ServiceAccount", "name": "rootmend", "namespace": "rootmend-system"}
    await ground.grant(
        {"apiVersion": RBAC, "kind": "Role", "metadata": place, "rules": [grants]},
        {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": place, "roleRef": reference, "subjects": [pipeline]},
    )
    rules = {"kubernetes": {"impersonate": [{"runbooks": ["mark-*"], "service_account": account}]}}
    async with served(stack, tmp_path, settings=rules) as world:
        body = runbook("TestTrouble", mark("touched"), id="mark-it")
        path = world.runbook("mark-it", body)
        allowed, forbidden = await world.namespace(), await world.namespace()
        needs = needs_of(load_file(Path(path)).runbook, ACTIONS, {}, ("Deployment",))
        made = documents(rules_of(needs.found, [allowed]), "mark-it", Subject("fixer", ground.namespace))
        await ground.grant(*made)
        # In the other namespace it may look, so that there is a plan, and not write.
        readers = documents(
            [replace(rule, verbs=("get",)) for rule in rules_of(needs.found, [forbidden])],
            "mark-it",
            Subject("fixer", ground.namespace),
        )
        await ground.grant(*readers)
        for namespace in (allowed, forbidden):
            await world.app("web", namespace)
        await world.serve()
        events = {place: str(uuid.uuid4()) for place in (allowed, forbidden)}
        await world.send([world.rca("web", place, event_id=event) for place, event in events.items()])
        done = await world.execution(events[allowed], "done")
        assert done["outcome"] == "success", done
        refused = await world.decided(events[forbidden], "refusal")
        assert refused["check"] == "missing_right", refused
        assert "cannot patch" in refused["message"], refused
        assert "rb rbac needed mark-it" in refused["message"], refused
        assert "touched" not in await world.annotations("web", forbidden)
