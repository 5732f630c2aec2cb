"""The options of rb pause: what they mean, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from safety.scopes import EVERYTHING, PauseScope
from services.cli.pause import end_of, pause, scope_of
from services.cli.runtime import CommandError

NOW = datetime(2026, 5, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))
NOTHING = {"namespace": "", "cluster": "", "tenant": "", "runbook": "", "target": ""}


@pytest.mark.parametrize(
    ("given", "scope"),
    [
        ({}, EVERYTHING),
        ({"namespace": "shop"}, PauseScope(namespace="shop")),
        ({"namespace": "shop", "cluster": "prod", "tenant": "acme"}, PauseScope("acme", "prod", "shop")),
        ({"target": "Deployment/shop/cart"}, PauseScope(target="shop/Deployment/cart")),
        ({"target": "Node/worker-1"}, PauseScope(target="/Node/worker-1")),
    ],
)
def test_the_options_name_a_scope(given, scope):
    """As the gate compares it."""
    assert scope_of(**{**NOTHING, **given}) == scope


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"namespace": "a", "runbook": "b"}, "--namespace and --runbook together would pause less than either"),
        ({"target": "cart"}, "give KIND/NAMESPACE/NAME"),
        ({"target": "Deployment//cart"}, "give KIND/NAMESPACE/NAME"),
    ],
)
def test_a_scope_that_may_be_misread_is_refused(given, said):
    """Who thinks that two options pause both would find one of them running."""
    with pytest.raises(CommandError, match=said) as error:
        scope_of(**{**NOTHING, **given})
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("until", "lasts", "ends"),
    [
        ("", "", None),
        ("", "1h30m", datetime(2026, 5, 1, 12, 0, tzinfo=UTC)),
        ("18:00", "", datetime(2026, 5, 1, 16, 0, tzinfo=UTC)),
        ("08:00", "", datetime(2026, 5, 2, 6, 0, tzinfo=UTC)),
        ("2026-05-03T10:00", "", datetime(2026, 5, 3, 8, 0, tzinfo=UTC)),
        ("2026-05-03T10:00+00:00", "", datetime(2026, 5, 3, 10, 0, tzinfo=UTC)),
    ],
)
def test_a_pause_can_end_by_itself(until, lasts, ends):
    """A time without a zone is the terminal's; a time of day is the next one."""
    assert end_of(until, lasts, NOW) == ends


@pytest.mark.parametrize(
    ("until", "lasts", "said"),
    [
        ("2001-01-01T00:00", "", "over already"),
        ("", "0s", "over already"),
        ("soon", "", "--until soon"),
        ("", "soon", "--for soon"),
        ("18:00", "1h", "not both"),
    ],
)
def test_an_end_that_makes_no_sense_is_refused(until, lasts, said):
    """Nobody believes for hours that something is paused."""
    with pytest.raises(CommandError, match=said):
        end_of(until, lasts, NOW)


def test_a_pause_without_a_reason_is_refused():
    """Everybody who finds automation stopped will ask."""
    with pytest.raises(CommandError, match="--reason"):
        pause(namespace="shop")
