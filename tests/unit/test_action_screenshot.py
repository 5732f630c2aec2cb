"""``ui_screenshot`` with a browser that paints what it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.action_rig import EXECUTION, Rig, facts
from fakes.screens import FakeScreens, png
from fakes.world import FakeWorld

from executor.actions import default_actions
from executor.errors import NotConfigured, PlanError, StepFailed
from executor.model import Access
from executor.rendering import checked

URL = "https://shop.example.com/entities"
SAME, CHANGED = png(), png((200, 100), ((60, 60, 40, 10), "red"))
FOLDER = "/runbooks/enrich"
BASELINE = f"{FOLDER}/screenshots/baseline-entity-list.png"


@pytest.fixture
def screens():
    return FakeScreens({URL: SAME})


def rig(screens, *, folder=FOLDER, **params):
    world = replace(FakeWorld().ports, screens=screens)
    given = {"url": URL, "selector": "#entity-list", **params}
    return Rig(world, "ui_screenshot", given, facts=replace(facts(), folder=folder))


async def test_a_page_that_looks_as_before_passes(screens):
    """The output has the picture, no difference, and the ratio."""
    screens.files[BASELINE] = SAME
    output = await rig(screens).run()
    assert output["passed"] is True
    assert output["changed_ratio"] == 0
    assert output["diff"] is None
    assert output["screenshot"] == f"/reports/{EXECUTION}/fix-entity-list.png"
    assert screens.files[output["screenshot"]] == SAME


async def test_a_change_above_the_threshold_fails_with_a_picture_of_it(screens):
    """The text names the share and the file to look at."""
    screens.files[BASELINE] = SAME
    screens.pages[URL] = CHANGED
    with pytest.raises(StepFailed, match=r"2\.00% of the pixels differ, 1\.00% may: /reports/.*-diff\.png"):
        await rig(screens).run()
    assert f"/reports/{EXECUTION}/fix-entity-list-diff.png" in screens.files


async def test_a_change_can_be_reported_instead(screens):
    """The step goes on, and says that it did not pass."""
    screens.files[BASELINE] = SAME
    screens.pages[URL] = CHANGED
    output = await rig(screens, on_difference="report").run()
    assert (output["passed"], output["changed_ratio"]) == (False, 0.02)
    assert output["diff"] in screens.files


async def test_a_change_below_the_threshold_passes_and_is_kept(screens):
    """Whoever raises the threshold still sees what changed."""
    screens.files[BASELINE] = SAME
    screens.pages[URL] = CHANGED
    output = await rig(screens, threshold=0.05).run()
    assert output["passed"] is True
    assert output["diff"] in screens.files


async def test_another_size_never_passes(screens):
    """Even one row of pixels, whatever the threshold."""
    screens.files[BASELINE] = SAME
    screens.pages[URL] = png((200, 101))
    with pytest.raises(StepFailed, match="size changed from 200 x 100 to 200 x 101"):
        await rig(screens, threshold=1).run()


async def test_what_is_masked_does_not_count(screens):
    """Rectangles are left out of the comparison, selectors are painted over by the browser."""
    screens.files[BASELINE] = SAME
    screens.pages[URL] = CHANGED
    output = await rig(screens, masks=[".clock", {"x": 60, "y": 60, "width": 40, "height": 10}]).run()
    assert output["changed_ratio"] == 0
    assert screens.shots[0].masks == (".clock",)


async def test_without_a_baseline_only_the_picture_is_taken(screens):
    """Nobody said what it should look like, and nothing is written beside the runbook."""
    output = await rig(screens).run()
    assert (output["passed"], output["diff"], output["changed_ratio"]) == (None, None, None)
    assert list(screens.files) == [output["screenshot"]]


async def test_a_baseline_that_is_named_must_be_there(screens):
    """A check that compares with nothing must not look like one that passed."""
    with pytest.raises(StepFailed, match=r"no baseline list\.png .*update_baseline"):
        await rig(screens, baseline="screenshots/list.png").run()
    assert f"{FOLDER}/screenshots/list.png" not in screens.files


@pytest.mark.parametrize("by_setting", [True, False])
async def test_a_baseline_is_written_only_when_somebody_says_so(screens, by_setting):
    """By the step, or for the whole process by the setting; then it replaces the old one."""
    screens.files[BASELINE] = CHANGED
    screens.updates = by_setting
    output = await rig(screens, update_baseline=not by_setting).run()
    assert output["updated"] is True
    assert screens.files[BASELINE] == SAME


@pytest.mark.parametrize(
    "baseline",
    ["../../etc/passwd.png", "/etc/x.png", "screenshots/../../x.png", "list.jpg", "screenshots/a/../../../b.png"],
)
async def test_a_baseline_lies_beside_its_runbook(screens, baseline):
    """A runbook does not read or write files elsewhere."""
    with pytest.raises(PlanError, match="below screenshots/"):
        await rig(screens, baseline=baseline, update_baseline=True).plan()


async def test_a_runbook_that_is_no_file_has_no_baseline(screens):
    """One that came over the API can still take pictures."""
    with pytest.raises(PlanError, match="no file"):
        await rig(screens, folder="", baseline="list.png").plan()
    with pytest.raises(PlanError, match="no file"):
        await rig(screens, folder="", update_baseline=True).plan()
    assert (await rig(screens, folder="").run())["passed"] is None


async def test_the_plan_opens_nothing_and_planning_again_changes_nothing(screens):
    """A read runs in its turn; it is planned once more just before."""
    screens.files[BASELINE] = SAME
    made = rig(screens)
    step = await made.plan()
    again = await Rig(made.world, "ui_screenshot", step.params, facts=made.facts).plan()
    assert screens.shots == []
    assert step.result is None
    assert again.params == step.params
    assert made.action.access is Access.READ


async def test_secrets_reach_the_page_and_no_record(screens):
    """An address or a header may hold one."""
    world = FakeWorld()
    world.secrets.values["key"] = "k3y-value"
    made = Rig(
        replace(world.ports, screens=screens),
        "ui_screenshot",
        {"url": f"{URL}?key=__secret:key__", "headers": {"Authorization": "__secret:key__"}},
    )
    step = await made.plan()
    with pytest.raises(StepFailed) as caught:
        await made.act()
    assert screens.shots[0].url == f"{URL}?key=k3y-value"
    assert screens.shots[0].headers == {"Authorization": "k3y-value"}
    assert "k3y-value" not in f"{caught.value}{step.model_dump_json()}"


async def test_a_process_without_a_browser_says_so():
    """Instead of passing."""
    made = Rig(FakeWorld().ports, "ui_screenshot", {"url": URL})
    await made.plan()
    with pytest.raises(NotConfigured, match="without a browser"):
        await made.act()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"url": URL, "threshold": 2}, "threshold"),
        ({"url": URL, "selector": "#a", "full_page": True}, "either"),
        ({"url": URL, "masks": [{"x": 1}]}, "masks"),
        ({"url": URL, "viewport": {"width": 10}}, "viewport"),
        ({"url": URL, "name": "../x"}, "name"),
        ({"url": URL, "selektor": "#a"}, "did you mean selector"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(params, said):
    """With the parameter that is wrong."""
    with pytest.raises(PlanError, match=said):
        checked(default_actions()["ui_screenshot"], params)


async def test_only_web_addresses_are_opened(screens):
    """A browser would show files of this machine."""
    with pytest.raises(PlanError, match="no http"):
        await rig(screens, url="file:///etc/passwd").plan()
