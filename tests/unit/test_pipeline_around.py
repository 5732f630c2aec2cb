"""What surrounds a plan, from the alert to the recorded decision."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.pipeline_rig import Rig, runbook

from safety.policy import PolicySettings
from safety.surroundings import CLEAR, Budget, Disabled, Frozen, Managed
from services.pipeline.proposals import TEMPORARY_CHECKS
from services.records import DecisionKind

FREE = {"require_approval": False}
ARGO = Managed("Value/shop/app", "Argo CD", "shop", reverted=True, patch="kind: Value\n")


async def decided(surroundings=CLEAR, policy=None):
    rig = Rig(runbook(safety=FREE))
    rig.policy = policy or rig.policy
    rig.blast.surroundings = surroundings
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    return rig, process


@pytest.mark.parametrize(
    ("around", "check"),
    [
        ({"disabled": (Disabled("Namespace/shop", "migration"),)}, "disabled"),
        ({"disabled": None}, "disabled"),
        ({"managed": (ARGO,)}, "gitops"),
        ({"managed": None}, "gitops_unknown"),
        ({"budgets": (Budget("shop/app", 0, 1),)}, "disruption_budget"),
        ({"budgets": None}, "disruption_budget"),
    ],
)
async def test_what_surrounds_the_target_is_a_recorded_no_and_nothing_runs(around, check):
    """A later repeat asks again, unless only Git can change the answer."""
    rig, _ = await decided(replace(CLEAR, **around))
    refusal = rig.only(DecisionKind.REFUSAL)
    assert (refusal.check, rig.effects()) == (check, [])
    assert (check in TEMPORARY_CHECKS) is (check != "gitops")
    (footprint,) = rig.blast.footprints
    assert footprint.target == "Deployment/shop/app"
    assert [write.resource for write in footprint.writes] == ["Value/shop/app"]


async def test_a_refusal_that_passes_is_decided_again_when_the_alert_repeats():
    """The mark is taken away, and the next alert about the same problem is acted on."""
    rig, process = await decided(replace(CLEAR, disabled=(Disabled("Deployment/shop/app"),)))
    rig.blast.surroundings = CLEAR
    rig.clock.passed += 600
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    assert rig.outcomes() == ["success"]


async def test_a_stale_graph_is_a_no_for_now():
    """Topology that nobody updates is no evidence."""
    rig = Rig(runbook(safety=FREE))
    rig.blast.graph_age = 901.0
    process = rig.process()
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    assert (rig.only(DecisionKind.REFUSAL).check, rig.effects()) == ("graph_age", [])
    assert "graph_age" in TEMPORARY_CHECKS


async def test_a_freeze_is_told_before_anything_is_planned():
    """The API server is spared a plan that cannot be carried out."""
    rig = Rig(runbook(safety=FREE))
    process = rig.process()

    async def frozen(_):
        return (Frozen("year end", "2026-01-05T00:00:00Z"),)

    process.permits._frozen = frozen
    await process.ingest.on_batch([rig.event()])
    await process.quiet()
    assert rig.only(DecisionKind.REFUSAL).message == "freeze year end until 2026-01-05T00:00:00Z"
    assert rig.blast.footprints == []


async def test_a_suggested_patch_is_kept_and_told_and_nothing_runs():
    """The text for a pull request is on record with the decision."""
    rig, _ = await decided(replace(CLEAR, managed=(ARGO,)), policy=PolicySettings(gitops="suggest"))
    refusal = rig.only(DecisionKind.REFUSAL)
    assert (refusal.check, rig.effects()) == ("gitops", [])
    assert refusal.suggested == ("# Argo CD: shop\nkind: Value\n",)
    assert refusal.suggestion is not None


async def test_a_change_that_lasts_until_the_next_release_asks_a_human():
    """Helm puts nothing back by itself."""
    rig, _ = await decided(replace(CLEAR, managed=(replace(ARGO, tool="Helm", reverted=False),)))
    assert rig.outcomes() == ["waiting_approval"]
