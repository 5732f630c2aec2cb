"""Schemas, numbers, names for values, and JSONPath."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from fakes.action_rig import Rig, deployment, facts
from fakes.world import FakeWorld
from hypothesis import given
from hypothesis import strategies as st

from executor.errors import NotConfigured, PlanError, StepFailed
from executor.jsonpath import extract, is_path
from executor.model import Access

SCHEMA = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "n": {"type": "integer"}}}


@pytest.fixture
def world():
    return FakeWorld()


def rig(world, name, **params):
    return Rig(world.ports, name, params, facts=replace(facts(), folder="/runbooks", runbook="rb-1"))


async def test_a_list_is_parted_into_valid_items_and_errors(world):
    """Each error says which item, where in it, and what is wrong."""
    step = await rig(
        world, "schema_check", entities=[{"id": "a"}, {"n": "x"}, {"id": "b", "n": 1}], schema=SCHEMA
    ).plan()
    assert step.result["valid"] == [{"id": "a"}, {"id": "b", "n": 1}]
    assert (step.result["valid_count"], step.result["error_count"]) == (2, 1)
    assert [(e["index"], e["path"], e["type"]) for e in step.result["errors"]] == [
        (1, "$", "schema_validation"),
        (1, "$.n", "schema_validation"),
    ]


@given(st.lists(st.one_of(st.integers(), st.text(), st.none(), st.booleans()), max_size=30))
async def test_no_item_is_lost_or_counted_twice(items):
    """Valid ones keep their order, the others are counted."""
    step = await rig(FakeWorld(), "schema_check", value=items, schema={"type": "string"}).plan()
    assert step.result["valid"] == [item for item in items if isinstance(item, str)]
    assert step.result["valid_count"] + step.result["error_count"] == len(items)


async def test_one_wrong_value_fails_the_step(world):
    """In its turn, so that what follows a failure applies; so does a list that must be right."""
    one = rig(world, "schema_check", value={"n": 1}, schema=SCHEMA)
    assert (await one.plan()).result is None
    with pytest.raises(StepFailed, match="'id' is a required property"):
        await one.act()
    many = rig(world, "schema_check", value=[{"n": 1}], schema=SCHEMA, on_errors="fail")
    await many.plan()
    with pytest.raises(StepFailed, match="item 0"):
        await many.act()


async def test_a_schema_may_be_a_file_beside_the_runbook(world):
    """YAML or JSON; its mistakes are told with the file."""
    world.files.texts |= {"entity-v2.json": '{"type": "string"}', "bad.json": "{"}
    step = await rig(world, "schema_check", entities=["a", 1], schema="entity-v2.json").plan()
    assert (step.result["valid"], step.params["schema"]) == (["a"], {"type": "string"})
    with pytest.raises(PlanError, match=r"bad\.json, line \d"):
        await rig(world, "schema_check", value=1, schema="bad.json").plan()


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strnig"}, r"wrong at \$"),
        ([1], "a mapping"),
        ({"$ref": "https://schemas.example.com/x.json"}, "refers to what it does not hold"),
        ({"$ref": "file:///etc/passwd"}, "refers to what it does not hold"),
    ],
)
async def test_a_schema_that_cannot_be_used_is_refused(world, schema, said):
    """And none is fetched from anywhere."""
    with pytest.raises(PlanError, match=said):
        await rig(world, "schema_check", value=[1], schema=schema).plan()


async def test_set_gives_values_names(world):
    """They are known at once; secrets are refused because they would be stored."""
    one = rig(world, "set", values={"a": 1, "b": [2]})
    assert (await one.plan()).result == {"a": 1, "b": [2]}
    assert one.action.access is Access.NONE
    with pytest.raises(PlanError, match="token"):
        await rig(world, "set", values={"a": "__secret:token__"}).plan()


# metrics_publish


async def test_numbers_are_published_under_the_runbooks_name(world):
    """Texts that are numbers are numbers."""
    one = rig(world, "metrics_publish", metrics={"entities_processed": "195", "seconds": 1.5}, labels={"team": "a"})
    await one.plan()
    assert world.metrics_sink.published == {}
    assert (await one.act())["published"] == {"entities_processed": 195.0, "seconds": 1.5}
    assert world.metrics_sink.published == {
        (("runbook", "rb-1"), ("team", "a")): {"entities_processed": 195.0, "seconds": 1.5}
    }


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"metrics": {"a b": 1}}, "no name of a metric"),
        ({"metrics": {"a": "many"}}, "no number"),
        ({"metrics": {"a": math.nan}}, "no measurement"),
        ({"metrics": {"a": "inf"}}, "no measurement"),
        ({"metrics": {"a": 1}, "labels": {"job": "x"}}, "no name of a label"),
    ],
)
async def test_what_is_no_number_or_no_name_is_refused_at_planning(world, params, said):
    """Before anything is published."""
    with pytest.raises(PlanError, match=said):
        await rig(world, "metrics_publish", **params).plan()


# metrics_query


async def test_one_series_gives_one_number(world):
    """Read while planning, unless it is a check."""
    world.metrics.add("errors", 4.0, pod="a")
    assert (await rig(world, "metrics_query", query="errors").plan()).result == {"query": "errors", "value": 4.0}
    check = rig(world, "metrics_query", query="errors", expect="value < 5")
    assert (await check.plan()).result is None
    assert (await check.act())["value"] == 4.0


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "no series"),
        ({"a": 1.0, "b": 2.0}, "2 series where one is meant"),
        ({"a": math.nan}, "NaN"),
        ({"a": math.inf}, r"\+Inf"),
        ({"a": 9.0}, "expected value < 5, found value = 9"),
    ],
)
@pytest.mark.parametrize("each", [False, True])
async def test_a_silent_or_strange_metric_never_passes(world, values, said, each):
    """Nothing measured is no zero; several series are fine only when each is judged."""
    for pod, value in values.items():
        world.metrics.add("errors", value, pod=pod)
    one = rig(world, "metrics_query", query="errors", expect="value < 5", each=each)
    await one.plan()
    if each and len(values) == 2:
        assert (await one.act())["count"] == 2
        return
    with pytest.raises(StepFailed, match=said):
        await one.act()


async def test_each_series_must_hold(world):
    """One bad pod among good ones fails the check."""
    world.metrics.add("errors", 1.0, pod="a")
    world.metrics.add("errors", 9.0, pod="b")
    one = rig(world, "metrics_query", query="errors", expect="value < 5", each=True)
    await one.plan()
    with pytest.raises(StepFailed, match="found value = 9"):
        await one.act()


async def test_a_look_back_needs_its_points(world):
    """Gaps are missing data; the output has the extremes."""
    for ago in (600, 300, 0):
        world.metrics.add("errors", float(ago), seconds_ago=ago)
    params = {"query": "errors", "range": "10m", "step": "1m"}
    step = await rig(world, "metrics_query", **params).plan()
    assert (step.result["max"], step.result["value"], step.result["points"]) == (600, 0, 11)
    world.metrics.add("young", 1.0, seconds_ago=60)
    short = rig(world, "metrics_query", **{**params, "query": "young"}, expect="max < 5")
    await short.plan()
    with pytest.raises(StepFailed, match="2 of 11 points"):
        await short.act()


async def test_a_named_query_is_made_for_the_target(world):
    """The settings name it; what comes from the incident cannot break out of its quotes."""
    world.metrics.queries["errorRate"] = 'errors{namespace="{{ namespace }}",name="{{ name }}"}'
    world.metrics.add("errors", 3.0, namespace="shop", name="web")
    step = await rig(world, "metrics_query", metric="errorRate").plan()
    assert step.result["value"] == 3.0
    one = rig(world, "metrics_query", metric="errorRate", expect="value < 5")
    one.facts = facts(name='web"} or vector(0) #')
    assert '\\"}' in (await one.plan()).params["query"]
    with pytest.raises(NotConfigured, match="errorRate"):
        await rig(world, "metrics_query", metric="errorRat").plan()


# wait


async def test_waiting_for_a_metric_asks_until_it_is_as_expected(world):
    """What is not measured yet does not count."""
    one = rig(world, "wait", metric="errors", expect="value < 5", poll="10s", timeout="1m")
    world.clock.on_sleep = lambda: world.metrics.add("errors", 9.0 if world.clock.monotonic() < 30 else 1.0)
    await one.plan()
    assert (await one.act())["waited_seconds"] == 30
    assert set(world.clock.slept) == {10}


async def test_a_condition_over_live_things_is_looked_at_again_and_again(world):
    """A field that is not there yet does not hold."""
    world.cluster.add(deployment())
    condition = "deployment.metadata.annotations.warm == 'yes' and deployment.spec.replicas == 2"
    one = rig(world, "wait", condition=condition, pollInterval="15s")
    done = {"metadata": {"annotations": {"warm": "yes"}}}
    world.clock.on_sleep = lambda: world.cluster.change("Deployment", "web", "shop", done)
    await one.plan()
    assert (await one.act())["waited_seconds"] == 15


async def test_a_condition_must_hold_for_as_long_as_asked(world):
    """A single good look is not enough, and a bad one begins the count anew."""
    world.metrics.queries["load"] = "load"
    values = iter([1, 9, 1, 1, 1])
    world.metrics.add("load", 1.0)
    world.clock.on_sleep = lambda: world.metrics.add("load", float(next(values)))
    one = rig(world, "wait", until="metrics.load < 5", poll=10, hold=20, timeout="5m")
    one.timeout = 400
    await one.plan()
    assert (await one.act())["waited_seconds"] == 50


async def test_what_never_holds_fails_with_what_was_seen_last(world):
    """A silent metric is no pass."""
    world.metrics.queries["load"] = "load"
    one = rig(world, "wait", until="metrics.load < 5", poll=10, timeout=30)
    await one.plan()
    with pytest.raises(StepFailed, match="not reached within 30 s: load gives no series"):
        await one.act()


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("metrics.laod < 5", "load"),
        ("deploymnt.status.x == 1", "did you mean deployment"),
        ("1 == 1", "nothing that changes"),
        ("node.status.x == 1", "about a Node, and the incident is about"),
        ("metrics.load <", "cannot be read"),
    ],
)
async def test_a_condition_that_can_never_be_told_is_refused_at_planning(world, until, said):
    """Not after the wait."""
    world.metrics.queries["load"] = "load"
    with pytest.raises((PlanError, NotConfigured), match=said):
        await rig(world, "wait", until=until).plan()


# JSONPath


def test_a_path_to_one_place_gives_what_is_there_and_any_other_a_list():
    """Missing data is an error, not an empty text."""
    value = {"data": {"items": [{"id": 1}, {"id": 2}], "none": None}}
    assert extract(value, "$.data.items[0].id") == 1
    assert extract(value, "$.data.items[*].id") == [1, 2]
    assert extract(value, "$..id") == [1, 2]
    assert extract(value, "$.data.none") is None
    assert extract(value, "$.data.items[?@.id > 1].id") == [2]
    with pytest.raises(StepFailed, match="nothing at"):
        extract(value, "$.data.name")
    with pytest.raises(PlanError, match="no JSONPath"):
        extract(value, "$.data[")
    assert [is_path(text) for text in ("$.a", "$", "$['a']", "a", "$5", 3)] == [True, True, True, False, False, False]
