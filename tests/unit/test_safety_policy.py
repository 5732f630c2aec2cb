"""The policy's checks, one row for one case."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest
from fakes.gate_rigs import LIMITS, approval, request
from hypothesis import given
from hypothesis import strategies as st

from safety.limits import bounds
from safety.model import ApprovalNeeded, BlastRadius, Refusal
from safety.policy import CHECKS, PolicySettings, decide

TARGET = "prod/shop/Deployment/cart"
DEFAULTS = PolicySettings()


def limits(**changes):
    return request(limits=replace(LIMITS, **changes))


def blast(graph, live):
    return request(blast=BlastRadius(graph, live, (TARGET,), cluster_pods=1000, graph_age_seconds=1))


ROWS = [
    (request(), None),
    (request(execution_id=""), "request"),
    (request(runbook_id=""), "request"),
    (request(cluster="pro"), "request"),
    (request(approval=replace(approval(), approval_id="")), "request"),
    (limits(cooldown_seconds=-1), "limits"),
    (limits(max_executions_per_hour=-1), "limits"),
    (limits(blast_radius=-1), "limits"),
    (limits(min_confidence=1.01), "limits"),
    (limits(min_confidence=inf), "limits"),
    (request(namespaces=("kube-system",)), "protected_namespace"),
    (request(namespaces=("shop", "KUBE-PUBLIC")), "protected_namespace"),
    (request(namespaces=("kube-node-lease",)), "protected_namespace"),
    (request(namespaces=("rootmend-system",)), "protected_namespace"),
    (request(target="prod/kube-system/Deployment/coredns", namespaces=()), "protected_namespace"),
    (request(target="prod//Namespace/kube-system", namespaces=("",)), "protected_namespace"),
    (request(target="prod//Node/kube-system", namespaces=("",)), None),
    (request(namespaces=("kube-system-of-mine",)), None),
    (request(confidence=None), "confidence"),
    (request(confidence=nan), "confidence"),
    (request(confidence=1.5), "confidence"),
    (request(confidence=-0.1), "confidence"),
    (request(confidence=0.7999), "confidence"),
    (request(confidence=0.8), None),
    (replace(limits(min_confidence=0), confidence=0.49), "confidence"),
    (blast(None, 3), "blast_radius"),
    (blast(3, None), "blast_radius"),
    (blast(-1, 3), "blast_radius"),
    (blast(10, 10), None),
    (blast(11, 1), "blast_radius"),
    (blast(1, 11), "blast_radius"),
    (limits(blast_radius=0), "blast_radius"),
    (replace(blast(51, 1), limits=replace(LIMITS, blast_radius=1000)), "blast_radius"),
]


@pytest.mark.parametrize(("asked", "check"), ROWS)
def test_each_check_refuses_what_it_is_for(asked, check):
    """A request is refused by the check that is named, or by none."""
    decided = decide(asked, DEFAULTS)
    assert (decided.check if isinstance(decided, Refusal) else decided) == check


def test_the_order_of_the_checks_is_fixed():
    """A request that everything speaks against hears the first check; approval is asked for last."""
    names = ["valid_request", "sane_limits", "freeze", "protected_namespaces", "protected_labels", "disabled"]
    names += ["confidence", "gitops", "blast_radius", "graph_age", "blast_share", "blast_share_workload"]
    names += ["blast_share_namespace", "blast_share_cluster", "disruption_budget"]
    assert [check.__name__ for check in CHECKS] == names
    hopeless = request(namespaces=("kube-system",), confidence=0.1, approval_reasons=("careful",))
    assert decide(hopeless, DEFAULTS).check == "protected_namespace"


def test_a_refusal_carries_its_numbers():
    """The numbers behind a no can be read by programs."""
    refusal = decide(blast(4, 11), DEFAULTS)
    assert refusal.numbers == {"count": 11, "graph": 4, "live": 11, "limit": 10}
    assert refusal.message == "11 resources are affected, 10 are allowed"


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, None),
        ({"approval_reasons": ("careful",)}, 1),
        ({"approval_reasons": ("careful",), "approval": approval()}, None),
        ({"approval_reasons": ("careful",), "approval": approval("hash-0")}, 2),
        ({"approval": approval("hash-0")}, 1),
        ({"limits": replace(LIMITS, max_executions_per_hour=0)}, 1),
        ({"limits": replace(LIMITS, max_executions_per_hour=0), "approval": approval()}, None),
    ],
)
def test_invariant_1_only_a_yes_to_this_plan_answers_the_reasons(changes, reasons):
    """Reasons ask for a human, until one said yes to the very plan."""
    decided = decide(request(**changes), DEFAULTS)
    assert (len(decided.reasons) if isinstance(decided, ApprovalNeeded) else decided) == reasons


def test_a_limit_of_zero_is_no_limit_for_the_approved():
    """The store is told: no limit, since each run was answered by a human."""
    (free, *_), (three, *_) = bounds(limits(max_executions_per_hour=0), DEFAULTS), bounds(request(), DEFAULTS)
    assert [rate.limit for rate in free.rates] == []
    assert [rate.limit for rate in three.rates] == [3]


def test_protected_namespaces_may_be_globs():
    """A pattern protects all that it matches."""
    settings = PolicySettings(protected_namespaces=("openshift-*",))
    assert decide(request(namespaces=("openshift-etcd",)), settings).check == "protected_namespace"
    assert decide(request(), settings) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"permit_ttl_seconds": 0},
        {"lock_lease_seconds": nan},
        {"rate_window_seconds": inf},
        {"provisional_ttl_seconds": 500},
        {"min_confidence_floor": 1.1},
        {"max_blast_radius": -1},
        {"max_executions_per_hour_total": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    """Nothing is replaced by a default behind the operator's back."""
    with pytest.raises(ValueError, match=r"must"):
        PolicySettings(**wrong)


@given(graph=st.none() | st.integers(-5, 100), live=st.none() | st.integers(-5, 100), limit=st.integers(0, 100))
def test_invariant_6_only_two_known_counts_within_both_limits_pass(graph, live, limit):
    """Whatever the sources say: a pass means that both counted, and the larger count is within the stricter limit."""
    asked = replace(blast(graph, live), limits=replace(LIMITS, blast_radius=limit))
    passes = decide(asked, DEFAULTS) is None
    known = graph is not None and live is not None and graph >= 0 and live >= 0
    assert passes == (known and max(graph, live) <= min(limit, 50))


@given(confidence=st.none() | st.floats(), threshold=st.floats(0, 1))
def test_invariant_6_only_a_known_confidence_above_both_thresholds_passes(confidence, threshold):
    """No float, however odd, gets past the thresholds of runbook and policy."""
    asked = replace(limits(min_confidence=threshold), confidence=confidence)
    passes = decide(asked, DEFAULTS) is None
    assert passes == (confidence is not None and max(threshold, 0.5) <= confidence <= 1)
