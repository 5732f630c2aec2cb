"""A runbook acts as the account that it names only where the settings allow it, and never as another one instead."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from fakes.actions import match_for
from fakes.world import FakeWorld

from executor.actions import default_actions
from executor.errors import PlanError
from executor.model import Account
from executor.planner import Planner
from runbooks.comparing import Risk, changes
from runbooks.findings import RunbookError
from runbooks.loader import load_text
from services.config_files import ConfigError
from services.rbac.accounts import account_of, account_rules
from services.settings import load_settings

FIXER = Account(user="system:serviceaccount:shop:fixer")


def loaded(account="", name="rb", *steps):
    """A runbook that names an account."""
    body = {
        "id": name,
        "trigger": {"root_cause_reason": "X"},
        "steps": list(steps) or [{"name": "wait", "action": "wait", "params": {"seconds": 1}}],
        **({"service_account": account} if account else {}),
    }
    return load_text(yaml.safe_dump({"runbook": body}))


def settings(tmp_path, **kubernetes):
    file = tmp_path / "rootmend.yaml"
    file.write_text(yaml.safe_dump({"kubernetes": kubernetes}))
    return load_settings(file, env={})


@pytest.mark.parametrize(
    ("allowed", "named", "account"),
    [
        ((), "", None),
        (("shop/fixer",), "", None),
        (("shop/fixer",), "shop/fixer", FIXER),
        (("shop/*",), "shop/fixer", FIXER),
        (("*/fixer",), "shop/fixer", FIXER),
    ],
)
def test_an_account_that_is_allowed_is_the_one_of_the_steps(allowed, named, account):
    """Without a name the pipeline's own account stays."""
    assert account_of(loaded(named).runbook, (), allowed) == account


@pytest.mark.parametrize("allowed", [(), ("shop/other",), ("sho*/x",), ("*/x*",), ("other/*",), ("shop",)])
def test_an_account_that_nobody_allowed_is_no_plan(allowed):
    """Nothing is allowed by default, and a star ends at the slash."""
    with pytest.raises(PlanError, match=r"shop/fixer, which kubernetes\.runbook_accounts does not allow"):
        account_of(loaded("shop/fixer").runbook, (), allowed)


def test_the_settings_go_before_the_runbook(tmp_path):
    """A rule that means the runbook gives its account; a runbook that names another one is not run as either."""
    rules = account_rules(settings(tmp_path, impersonate=[{"runbooks": ["rb"], "service_account": "shop/fixer"}]))
    assert account_of(loaded("shop/fixer").runbook, rules) == FIXER
    assert account_of(loaded().runbook, rules, ("*/*",)) == FIXER
    with pytest.raises(PlanError, match=r"kubernetes\.impersonate gives it system:serviceaccount:shop:fixer"):
        account_of(loaded("shop/admin").runbook, rules, ("*/*",))


@pytest.mark.parametrize("pattern", ["fixer", "shop/fixer/x", "Shop/fixer", "", "system:masters", "shop/[a-z]"])
def test_a_pattern_that_is_no_account_stops_the_start(tmp_path, pattern):
    """Configuration mistakes are told, never guessed."""
    with pytest.raises(ConfigError, match="expected NAMESPACE/NAME"):
        settings(tmp_path, runbook_accounts=[pattern])


@pytest.mark.parametrize(
    "account", ["fixer", "shop/", "/fixer", "shop/fixer/x", "system:masters", "{{ x }}/y", "shop/*"]
)
def test_a_runbook_names_one_plain_account(account):
    """No user, no group, no template and no pattern."""
    with pytest.raises(RunbookError, match="service_account"):
        loaded(account)


def test_another_account_is_the_riskier_runbook():
    """Whoever reviews a change of a runbook sees it first."""
    found, *_ = changes(loaded().runbook, loaded("shop/fixer").runbook)
    assert (found.risk, found.path) == (Risk.RISKIER, "service_account")
    assert found.text == "acts as shop/fixer instead of the account of the settings"


@pytest.mark.parametrize(("caller", "works"), [("shop/fixer", True), ("", False)])
async def test_a_called_runbook_is_not_run_with_the_rights_of_another_account(caller, works):
    """Its steps act as the account of the caller: when it names another one, there is no plan."""
    inner = loaded("shop/fixer", "inner")
    call = {"name": "call", "action": "run_runbook", "params": {"runbook": "inner"}}
    outer = loaded(caller, "outer", call)
    ports = FakeWorld().ports
    match = match_for({"steps": [{"name": "wait", "action": "wait", "params": {"seconds": 1}}]})
    match = replace(match, runbook=outer)
    planner = Planner(
        default_actions(),
        replace(ports, impersonates=lambda _: ports.cluster),
        {},
        runbooks=lambda: {"inner": inner},
        accounts=lambda runbook: account_of(runbook, (), ("shop/*",)),
    )
    if works:
        assert (await planner.plan(match, "x1234567")).account == FIXER
    else:
        with pytest.raises(PlanError, match="the runbook that calls it acts as the pipeline's own account"):
            await planner.plan(match, "x1234567")
