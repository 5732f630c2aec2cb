"""Scopes: what a pause covers, and how a scope is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.scopes import EVERYTHING, Axis, Pause, PauseScope, StormScope, Where, storm_scopes

CART = Where("acme", "prod", "oom", "prod/shop/Deployment/cart", ("shop",), "OOMKilled")


@pytest.mark.parametrize(
    ("scope", "covers"),
    [
        (EVERYTHING, True),
        (PauseScope(namespace="shop"), True),
        (PauseScope(namespace="shop-2"), False),
        (PauseScope(cluster="prod"), True),
        (PauseScope(cluster="test"), False),
        (PauseScope(tenant="acme"), True),
        (PauseScope(tenant="other"), False),
        (PauseScope(runbook="oom"), True),
        (PauseScope(runbook="oom-2"), False),
        (PauseScope(target="shop/Deployment/cart"), True),
        (PauseScope(target="shop/Deployment/card"), False),
        (PauseScope(cluster="prod", namespace="shop"), True),
        (PauseScope(cluster="test", namespace="shop"), False),
    ],
)
def test_a_pause_covers_what_matches_every_part(scope, covers):
    """Parts narrow each other; a name that only begins alike is another name."""
    assert scope.covers(CART) == covers


def test_a_pause_of_a_namespace_covers_whatever_writes_there():
    """A plan for a target elsewhere that writes into it as well is stopped."""
    assert PauseScope(namespace="db").covers(Where("acme", "prod", "oom", CART.target_key, ("db", "shop")))


names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@given(names, names, names, names, names)
def test_every_scope_has_a_key_of_its_own_that_is_read_back(tenant, cluster, namespace, runbook, target):
    """Whatever somebody calls a namespace: no comma or sign of equality makes it another scope."""
    scope = PauseScope(tenant, cluster, namespace, runbook, target)
    assert PauseScope.of(scope.key) == scope


def test_an_unknown_part_is_refused_with_the_known_ones():
    """A misspelt scope must not become the pause of everything."""
    with pytest.raises(ValueError, match="knows no team; it knows cluster, namespace"):
        PauseScope.of("team=a")


def test_a_storm_scope_is_read_as_it_is_named():
    """As people type it after rb breaker reset."""
    for scope in storm_scopes(CART):
        assert StormScope.of("acme", scope.key) == scope
    assert str(StormScope("acme", Axis.REASON, "prod/OOMKilled")) == "reason OOMKilled in cluster prod"
    with pytest.raises(ValueError, match="begins with reason:, runbook:"):
        StormScope.of("acme", "pod:x")


def test_a_pause_says_what_it_stops():
    """Who finds automation stopped reads what, by whom and why."""
    assert str(Pause("ada", "release", PauseScope(cluster="prod", namespace="shop"))) == (
        "namespace shop of cluster prod is paused by ada: release"
    )
    assert str(Pause("ada", "stop")) == "paused by ada: stop"
