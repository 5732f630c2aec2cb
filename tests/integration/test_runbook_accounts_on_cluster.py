"""A runbook that names its service account, on the real API server: with its rights, no others, and only if allowed."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from fakes.served import mark, runbook, served

from executor.actions import default_actions
from executor.actions.naming import ref_of
from executor.errors import NotFound
from executor.rights import needs_of
from runbooks.loader import load_file
from services.kubernetes.connect import connect
from services.rbac.roles import Subject, documents, rules_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

RBAC = "rbac.authorization.k8s.io/v1"
PIPELINE = {"kind": "ServiceAccount", "name": "rootmend", "namespace": "rootmend-system"}
PATIENCE = 120.0


@pytest.fixture
async def home(stack):
    """A namespace with an account that the pipeline may act as; what a test grants is taken away again."""
    admin = await connect(stack.admin_kubeconfig, "rootmend-practice-admin")
    namespace = f"accounts-{uuid.uuid4().hex[:8]}"
    made = []

    async def grant(*manifests):
        made.extend([ref_of(await admin.create(manifest)) for manifest in manifests])

    place = {"name": "rootmend-acts-as-fixer", "namespace": namespace}
    rule = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"], "resourceNames": ["fixer"]}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": place["name"]}
    await grant(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": RBAC, "kind": "Role", "metadata": place, "rules": [rule]},
        {"apiVersion": RBAC, "kind": "RoleBinding", "metadata": place, "roleRef": role, "subjects": [PIPELINE]},
    )
    try:
        yield namespace, grant
    finally:
        for ref in reversed(made):
            with suppress(NotFound):
                await admin.delete(ref)
        await admin.close()


async def test_a_runbook_acts_as_the_account_that_it_names_where_the_settings_allow_it(stack, tmp_path, home):
    """Where the account may write it is done; where it may not, and with an account nobody allowed, nothing begins."""
    namespace, grant = home
    settings = {"kubernetes": {"runbook_accounts": [f"{namespace}/fixer"]}}
    async with served(stack, tmp_path, settings=settings) as world:
        named = runbook("NamedTrouble", mark("touched"), id="named", service_account=f"{namespace}/fixer")
        path = world.runbook("named", named)
        other = runbook("OtherTrouble", mark("touched"), id="other", service_account=f"{namespace}/admin")
        world.runbook("other", other)
        allowed, forbidden = await world.namespace(), await world.namespace()
        fixer = Subject("fixer", namespace)
        needs = needs_of(load_file(Path(path)).runbook, default_actions(), {}, ("Deployment",))
        await grant(*documents(rules_of(needs.found, [allowed]), "named", fixer))
        for place in (allowed, forbidden):
            await world.app("web", place)
        await world.app("else", allowed)
        await world.serve()
        events = {name: str(uuid.uuid4()) for name in ("done", "lacks", "other")}
        await world.send(
            [
                world.rca("web", allowed, "NamedTrouble", event_id=events["done"]),
                world.rca("web", forbidden, "NamedTrouble", event_id=events["lacks"]),
                world.rca("else", allowed, "OtherTrouble", event_id=events["other"]),
            ]
        )
        done = await world.execution(events["done"], "done", seconds=PATIENCE)
        assert done["outcome"] == "success", done
        assert "touched" in await world.annotations("web", allowed)

        lacks = await world.decided(events["lacks"], "plan_failed", "refusal", seconds=PATIENCE)
        assert f"system:serviceaccount:{namespace}:fixer" in lacks["message"], lacks
        refused = await world.decided(events["other"], "plan_failed", seconds=PATIENCE)
        assert f"{namespace}/admin, which kubernetes.runbook_accounts does not allow" in refused["message"], refused
        assert "touched" not in await world.annotations("web", forbidden)
        assert "touched" not in await world.annotations("else", allowed)
        shown = await world.rb("rbac", "needed", "named", "-n", allowed, "--target", "Deployment")
        assert shown.returncode == 0, shown.stderr
        assert f"namespace: {namespace}" in shown.stdout, "the binding names the account of the runbook"
