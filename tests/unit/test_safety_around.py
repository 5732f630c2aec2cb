"""What surrounds a plan: each check with its yes, its no, and what happens when nobody could read it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.gate_rigs import LIMITS, approval, request
from hypothesis import given
from hypothesis import strategies as st

from safety.disruption import allowed, budgets_for, guards, lost, selects
from safety.model import ApprovalNeeded, BlastRadius, Refusal
from safety.ownership import owner_of, self_heals
from safety.policy import PolicySettings, decide
from safety.surroundings import CLEAR, UNREAD, Budget, Disabled, Frozen, Managed, Write, veto

TARGET = "prod/shop/Deployment/cart"
CART = "Deployment/shop/cart"
DEFAULTS = PolicySettings()
ARGO = Managed(CART, "Argo CD", "shop", reverted=True, patch="kind: Deployment\n")
HELM = Managed(CART, "Helm", "cart", reverted=False)


def around(**changes):
    return request(around=replace(CLEAR, **changes))


def blast(count=3, **changes):
    return request(
        blast=BlastRadius(count, count, (TARGET,), **{"graph_age_seconds": 1, **changes}),
        limits=replace(LIMITS, blast_radius=1000),
    )


def check_of(asked, settings=DEFAULTS):
    decided = decide(asked, settings)
    return decided.check if isinstance(decided, Refusal) else decided


ROWS = [
    (around(), None, "nothing stands in the way"),
    (around(frozen=(Frozen("year end", "2027-01-06T23:00:00Z"),)), "freeze", "no"),
    (around(frozen=(Frozen("c.ics", unreadable="HTTP 500"),)), "freeze", "an unreadable calendar"),
    (around(frozen=None), "freeze", "missing"),
    (around(disabled=(Disabled("Namespace/shop", "migration"),)), "disabled", "no"),
    (around(disabled=None), "disabled", "missing"),
    (around(managed=(ARGO,)), "gitops", "no"),
    (around(managed=None), "gitops", "missing"),
    (around(budgets=(Budget("shop/cart", 2, 2),)), None, "yes"),
    (around(budgets=(Budget("shop/cart", 1, 2),)), "disruption_budget", "no"),
    (around(budgets=(Budget("shop/cart", None, 1),)), "disruption_budget", "the budget does not say"),
    (around(budgets=None), "disruption_budget", "missing"),
    (request(around=UNREAD), "freeze", "nothing was read"),
    (blast(graph_age_seconds=900), None, "yes"),
    (blast(graph_age_seconds=901), "graph_age", "no"),
    (blast(graph_age_seconds=None), "graph_age", "missing"),
    (blast(11, cluster_pods=40), None, "yes"),
    (blast(11, cluster_pods=30), "blast_share_cluster", "no"),
    (blast(11, cluster_pods=None), "blast_share_cluster", "missing"),
    (blast(10, cluster_pods=None), None, "so few are never too large a share"),
]


@pytest.mark.parametrize(("asked", "check", "why"), ROWS, ids=[f"{row[1]}-{row[2]}" for row in ROWS])
def test_invariant_6_each_check_says_yes_no_and_no_to_what_is_missing(asked, check, why):
    """Missing data never permits."""
    assert check_of(asked) == check


SHARES = [
    (PolicySettings(max_blast_percent_workload=50), around(workload_percent=50.0), None),
    (PolicySettings(max_blast_percent_workload=50), around(workload_percent=50.1), "blast_share_workload"),
    (PolicySettings(max_blast_percent_workload=50), around(workload_percent=None), "blast_share_workload"),
    (
        PolicySettings(max_blast_percent_namespace=50, max_blast_percent_cluster=None, blast_percent_from=0),
        blast(5, pods=10),
        None,
    ),
    (
        PolicySettings(max_blast_percent_namespace=50, max_blast_percent_cluster=None, blast_percent_from=0),
        blast(6, pods=10),
        "blast_share_namespace",
    ),
    (
        PolicySettings(max_blast_percent_namespace=50, max_blast_percent_cluster=None, blast_percent_from=0),
        blast(1),
        "blast_share_namespace",
    ),
    (PolicySettings(max_graph_age_seconds=None), blast(graph_age_seconds=None), None),
    (PolicySettings(gitops="allow"), around(managed=(ARGO, HELM)), None),
    (PolicySettings(gitops="allow"), around(managed=None), None),
]


@pytest.mark.parametrize(("settings", "asked", "check"), SHARES)
def test_limits_of_shares_age_and_owners_follow_the_policy(settings, asked, check):
    """A limit that is not set is none, and one that is set cannot be met by what nobody knows."""
    assert check_of(asked, settings) == check


def test_the_stricter_share_of_runbook_and_policy_counts():
    """A runbook may ask for less than the policy allows, never for more."""
    limits = replace(LIMITS, blast_percent_workload=20)
    asked = replace(around(workload_percent=30.0), limits=limits)
    assert check_of(asked) == "blast_share_workload"
    assert check_of(asked, PolicySettings(max_blast_percent_workload=90)) == "blast_share_workload"
    own = replace(blast(2, cluster_pods=10), limits=replace(LIMITS, blast_percent_cluster=10))
    assert check_of(own) == "blast_share_cluster"


def test_a_refusal_names_the_budget_the_freeze_and_the_owner_with_their_numbers():
    """People read who said no, and programs the numbers."""
    no = decide(around(budgets=(Budget("shop/cart", 1, 2),)), DEFAULTS)
    assert no.message == "disruption budget shop/cart allows 1 disruptions, the plan makes 2"
    assert no.numbers == {"budget": "shop/cart", "allowed": 1, "needed": 2}
    no = decide(around(frozen=(Frozen("year end", "2027-01-06T23:00:00Z", "nobody is there"),)), DEFAULTS)
    assert no.message == "freeze year end (nobody is there) until 2027-01-06T23:00:00Z"
    no = decide(around(disabled=(Disabled("Namespace/shop", "migration"),)), DEFAULTS)
    assert no.message == "automation is switched off for Namespace/shop (rootmend.dev/disabled): migration"
    no = decide(request(around=replace(CLEAR, budgets=None, problems={"budgets": "away"})), DEFAULTS)
    assert no.message == "the disruption budgets could not be read: away"


def test_a_change_that_gitops_would_put_back_is_told_as_a_patch_where_the_policy_says_so():
    """The suggestion is the text for a pull request; nothing runs either way."""
    refused = decide(around(managed=(ARGO,)), DEFAULTS)
    assert "suggestion" not in refused.numbers
    told = decide(around(managed=(ARGO, HELM)), PolicySettings(gitops="suggest"))
    assert told.check == "gitops"
    assert told.numbers["suggestion"] == "# Argo CD: shop\nkind: Deployment\n"


def test_helm_alone_asks_a_human_once():
    """The change lasts until the next release; a yes to this very plan answers."""
    asked = around(managed=(HELM, HELM))
    needed = decide(asked, DEFAULTS)
    assert needed == ApprovalNeeded((f"{CART} belongs to Helm (cart): its next sync undoes the change",))
    assert decide(replace(asked, approval=approval()), DEFAULTS) is None
    assert isinstance(decide(replace(asked, approval=approval("other")), DEFAULTS), ApprovalNeeded)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_blast_percent_cluster": 0},
        {"max_blast_percent_workload": 101},
        {"max_graph_age_seconds": 0},
        {"max_graph_age_seconds": float("nan")},
        {"gitops": "maybe"},
        {"blast_percent_from": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    """A limit that cannot be read is never replaced by a default."""
    with pytest.raises(ValueError, match=next(iter(wrong)).removesuffix("_seconds") + "|negative"):
        PolicySettings(**wrong)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, None),
        ({"labels": None, "annotations": None}, None),
        ({"labels": {"rootmend.dev/disabled": "true"}}, ""),
        ({"annotations": {"rootmend.dev/disabled": "Yes"}}, ""),
        ({"annotations": {"rootmend.dev/disabled": "db migration"}}, "db migration"),
        ({"annotations": {"rootmend.dev/disabled": "false"}}, None),
        ({"labels": {"rootmend.dev/disabled": ""}}, None),
        ({"annotations": {"rootmend.dev/disabled": "off"}, "labels": {"rootmend.dev/disabled": "true"}}, ""),
    ],
)
def test_a_mark_switches_automation_off_with_or_without_a_reason(metadata, reason):
    """Everything but a plain no keeps automation away."""
    found = veto(CART, metadata)
    assert (found.reason if found else None) == reason


FLUX = "kustomize.toolkit.fluxcd.io"


@pytest.mark.parametrize(
    ("labels", "annotations", "tool", "name", "reverts"),
    [
        ({}, {}, None, None, None),
        ({}, {"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/cart"}, "Argo CD", "shop", None),
        ({"argocd.argoproj.io/instance": "shop"}, {}, "Argo CD", "shop", None),
        ({"app.kubernetes.io/instance": "shop"}, {}, None, None, None),
        ({f"{FLUX}/name": "apps", f"{FLUX}/namespace": "flux"}, {}, "Flux", "flux/apps", True),
        ({f"{FLUX}/name": "apps"}, {f"{FLUX}/reconcile": "disabled"}, "Flux", "apps", False),
        ({f"{FLUX}/name": "apps"}, {f"{FLUX}/ssa": "Ignore"}, "Flux", "apps", False),
        ({"helm.toolkit.fluxcd.io/name": "cart"}, {}, "Flux", "cart", True),
        ({"app.kubernetes.io/managed-by": "Helm"}, {"meta.helm.sh/release-name": "cart"}, "Helm", "cart", False),
        ({"app.kubernetes.io/managed-by": "Helm"}, {}, None, None, None),
        ({"app.kubernetes.io/managed-by": "kustomize"}, {"meta.helm.sh/release-name": "cart"}, None, None, None),
    ],
)
def test_who_keeps_an_object_is_told_from_its_marks(labels, annotations, tool, name, reverts):
    """Labels that everybody uses, such as app.kubernetes.io/instance, say nothing by themselves."""
    owner = owner_of({"labels": labels, "annotations": annotations})
    assert (owner and (owner.tool, owner.name, owner.reverts)) == (tool and (tool, name, reverts))


def test_argo_cd_may_track_by_another_label():
    """The settings name it."""
    marks = {"labels": {"app.kubernetes.io/instance": "shop"}}
    assert owner_of(marks, ["app.kubernetes.io/instance"]).tool == "Argo CD"


@pytest.mark.parametrize(
    ("spec", "heals"),
    [
        ({}, False),
        ({"syncPolicy": {}}, False),
        ({"syncPolicy": {"automated": {}}}, False),
        ({"syncPolicy": {"automated": {"selfHeal": True}}}, True),
        ({"syncPolicy": {"automated": {"selfHeal": True, "enabled": False}}}, False),
    ],
)
def test_an_application_puts_changes_back_when_it_heals_itself(spec, heals):
    """Automated synchronisation alone waits for the next commit."""
    assert self_heals({"spec": spec}) is heals


def workload(kind="Deployment", replicas=4, available=None, **spec):
    available = replicas if available is None else available
    status = {"availableReplicas": available}
    if kind == "DaemonSet":
        status = {"desiredNumberScheduled": replicas, "numberAvailable": available}
    return {"kind": kind, "spec": {"replicas": replicas, **spec}, "status": status}


ROLL, DELETE = Write(CART, "restart", rolls=True), Write(CART, "delete")


@pytest.mark.parametrize(
    ("write", "item", "count"),
    [
        (ROLL, workload(), 1),
        (ROLL, workload(replicas=3), 0),  # 25 % of 3, rounded down; one more comes first
        (ROLL, workload(replicas=1), 0),
        (ROLL, workload(available=3), 0),  # the one that is down already is the one that may be
        (ROLL, workload(available=0), 0),  # nothing works, so nothing is disrupted
        (ROLL, workload(strategy={"type": "Recreate"}), 4),
        (ROLL, workload(strategy={"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}), 0),
        (ROLL, workload(strategy={"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}), 1),
        (ROLL, workload(strategy={"rollingUpdate": {"maxUnavailable": "50%"}}), 2),
        (ROLL, workload("StatefulSet"), 1),
        (ROLL, workload("StatefulSet", updateStrategy={"type": "OnDelete"}), 0),
        (ROLL, workload("StatefulSet", updateStrategy={"rollingUpdate": {"maxUnavailable": "30%"}}), 2),
        (ROLL, workload("DaemonSet"), 1),
        (Write(CART, "scale", replicas=1), workload(), 3),
        (Write(CART, "scale", replicas=6), workload(), 0),
        (Write(CART, "scale", replicas=1), workload(available=1), 0),
        (DELETE, workload(available=3), 3),
        (Write(CART, "patch"), workload(), 0),
    ],
)
def test_a_change_disrupts_the_working_pods_that_it_takes_away_at_once(write, item, count):
    """A rollout keeps to its strategy; pods that do not work are not disrupted by being replaced."""
    assert lost(write, item) == count


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 100))
def test_no_change_disrupts_more_pods_than_work(replicas, available, percent):
    """And never a negative number."""
    item = workload(
        replicas=replicas, available=available, strategy={"rollingUpdate": {"maxUnavailable": f"{percent}%"}}
    )
    for write in (ROLL, DELETE, Write(CART, "scale", replicas=replicas // 2)):
        assert 0 <= lost(write, item) <= available


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ({}, True),
        ({"matchLabels": {"app": "cart"}}, True),
        ({"matchLabels": {"app": "web"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["cart"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Strange"}]}, False),
    ],
)
def test_selectors_choose_as_in_the_cluster(selector, chosen):
    """An empty selector of a budget is every pod of its namespace."""
    assert selects(selector, {"app": "cart"}) is chosen
    budget = {"metadata": {"namespace": "shop"}, "spec": {"selector": selector}}
    assert guards(budget, "shop", {"app": "cart"}) is chosen
    assert guards(budget, "bank", {"app": "cart"}) is False
    assert guards({"metadata": {"namespace": "shop"}, "spec": {}}, "shop", {"app": "cart"}) is False


def budget(allows=1, generation=1, seen=1):
    return {
        "metadata": {"name": "cart", "namespace": "shop", "generation": generation},
        "spec": {"selector": {"matchLabels": {"app": "cart"}}},
        "status": {"disruptionsAllowed": allows, "observedGeneration": seen},
    }


def test_a_budget_that_its_controller_has_not_looked_at_allows_nobody_knows_what():
    """A number of an earlier form of the budget is no number."""
    assert allowed(budget(3)) == 3
    assert allowed(budget(3, generation=2)) is None
    assert allowed({"metadata": {}, "status": {}}) is None


def test_a_budget_adds_up_what_the_plan_takes_from_it():
    """Two workloads and deleted pods behind one budget count together; evictions go one by one."""
    labels = {"app": "cart"}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    pod = {"metadata": {"namespace": "shop", "labels": labels}, "status": ready}
    assert budgets_for([budget()], [("shop", labels, 1), ("shop", labels, 2)]) == (Budget("shop/cart", 1, 3),)
    assert budgets_for([budget()], [], [pod, pod]) == (Budget("shop/cart", 1, 1),)
    assert budgets_for([budget()], [("shop", labels, 0)], [{**pod, "status": {}}]) == ()
    assert budgets_for([budget()], [("shop", {"app": "web"}, 1)]) == ()
