"""Refusals of admission are told with who refused, why, and what can be done."""

from __future__ import annotations

import pytest

from executor.errors import Blocked, Conflict, Forbidden, Invalid, NotAdmitted, Unavailable
from services.kubernetes.failures import failure

POLICY = (
    'deployments.apps "web" is forbidden: '
    "ValidatingAdmissionPolicy 'max-replicas' with binding 'all' denied request: at most 5 replicas"
)


@pytest.mark.parametrize(
    ("status", "message", "parts"),
    [
        (422, POLICY, ("ValidatingAdmissionPolicy max-replicas (binding all) refused it: at most 5 replicas. Let",)),
        (403, POLICY.replace(" with binding 'all'", ""), ("max-replicas (binding none)",)),
        (
            400,
            'admission webhook "v.kyverno.svc" denied the request: no latest',
            ("webhook v.kyverno.svc", "no latest"),
        ),
        (403, 'admission webhook "v" denied the request without explanation', ("it gives no reason",)),
        (418, 'admission webhook "tea" denied the request: pot', ("admission webhook tea refused it: pot",)),
        (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged', ("restricted:latest",)),
        (
            403,
            "exceeded quota: team, requested: pods=1, used: pods=9, limited: pods=9",
            ("ResourceQuota team", "raised"),
        ),
        (403, "maximum memory usage per Container is 1Gi, but limit is 2Gi", ("LimitRange for each Container",)),
    ],
)
def test_a_refusal_of_admission_names_who_said_no_and_why(status, message, parts):
    """Whatever status it came with, and never as a missing right."""
    error = failure(status, {"message": message}, "patch Deployment/shop/web")
    assert isinstance(error, NotAdmitted)
    assert isinstance(error, Invalid)
    assert str(error).startswith("patch Deployment/shop/web: ")
    for part in parts:
        assert part in str(error)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (403, 'deployments.apps "web" is forbidden: User "x" cannot patch resource "deployments"', Forbidden),
        (422, "spec.replicas: Invalid value: -1", Invalid),
        (409, "the object has been modified", Conflict),
        (500, 'Internal error occurred: failed calling webhook "v.example.com": no route', Unavailable),
    ],
)
def test_other_refusals_stay_what_they_are(status, message, kind):
    """A missing right is not a policy, and a policy server that is away is worth another try."""
    error = failure(status, {"message": message}, "patch Deployment/shop/web")
    assert type(error) is kind


def test_a_webhook_that_does_not_answer_is_named():
    """People look for the webhook, not for the API server."""
    message = 'Internal error occurred: failed calling webhook "v.example.com": context deadline exceeded'
    assert "admission webhook v.example.com does not answer" in str(failure(500, {"message": message}, "patch x"))


def test_a_budget_is_no_admission():
    """An eviction that a budget holds is tried again."""
    assert isinstance(failure(429, {"message": "Cannot evict pod"}, "evict Pod/a/b", eviction=True), Blocked)
