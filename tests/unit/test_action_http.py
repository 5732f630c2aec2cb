"""Calls of REST and GraphQL APIs."""

from __future__ import annotations

import json

import pytest
from fakes.action_rig import EXECUTION, Rig, facts
from fakes.world import FakeWorld

from executor.actions import default_actions
from executor.actions.base import Found
from executor.actions.graphql import operation_of
from executor.errors import PlanError, StepFailed, Unavailable
from executor.model import Access

URL = "https://api.example.com/v1/nodes/n1"
QUERY = "query Owner($name: String!) { service(name: $name) { owner } }"
MUTATION = "mutation { restart(id: 1) { ok } }"


@pytest.fixture
def world():
    return FakeWorld()


def rig(world, name, **params):
    return Rig(world.ports, name, params)


# REST


@pytest.mark.parametrize(
    ("params", "access"),
    [
        ({"url": URL}, Access.READ),
        ({"url": URL, "method": "head"}, Access.READ),
        ({"url": URL, "method": "DELETE"}, Access.WRITE),
        ({"url": URL, "method": "{{ params.method }}"}, Access.WRITE),
    ],
)
def test_only_a_method_that_is_known_to_read_reads(params, access):
    """A method that is not known yet may write, so it counts as a write."""
    action = default_actions()["http_request"]
    assert action.access_of(params) is access
    assert action.repeatable(params) is (access is Access.READ)


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete"])
async def test_each_method_has_a_name_of_its_own(world, verb):
    """As runbooks of other dialects write it; only get reads."""
    action = default_actions()[f"http/{verb}"]
    assert action.name == f"http_{verb}"
    assert action.access_of({"url": URL}) is (Access.READ if verb == "get" else Access.WRITE)
    one = rig(world, action.name, url=URL)
    await one.plan()
    await one.act()
    assert world.http.requests[-1].method == verb.upper()


async def test_a_read_is_made_while_planning(world):
    """So later steps can be shown with its answer; data where it is JSON."""
    world.http.answers = [(200, '{"id": 7}', {"Content-Type": "application/json", "X-Other": "1"})]
    step = await rig(world, "http_request", url=URL).plan()
    assert step.result == {"status": 200, "headers": {"content-type": "application/json"}, "body": {"id": 7}}
    assert step.changes == ()
    assert "Idempotency-Key" not in world.http.requests[0].headers


@pytest.mark.parametrize("answer", [Unavailable("away"), (503, "busy"), (404, "")])
async def test_a_read_that_fails_while_planning_is_left_for_its_turn(world, answer):
    """There its retries apply, and what follows a failure."""
    world.http.answers = [answer]
    one = rig(world, "http_get", url=URL)
    assert (await one.plan()).result is None
    world.http.answers = [(503, "busy"), (200, "ok")]
    assert (await one.act())["body"] == "ok"


async def test_a_check_is_made_in_its_turn(world):
    """Nobody is asked while planning, and what does not hold fails."""
    one = rig(world, "http_get", url=URL, expect="status == 200 and body.up")
    assert (await one.plan()).result is None
    assert world.http.requests == []
    world.http.answers = [(200, '{"up": true}'), (200, '{"up": false}'), (200, "{}")]
    assert (await one.act())["body"] == {"up": True}
    with pytest.raises(StepFailed, match="expected status == 200"):
        await one.perform()
    with pytest.raises(StepFailed, match="cannot be told"):
        await one.perform()


async def test_a_write_is_shown_and_made_once_with_its_key(world):
    """It cannot be undone, and nobody knows what became of it after a crash."""
    one = rig(world, "http_post", url=URL, body={"a": 1})
    step = await one.plan()
    assert step.changes[0].irreversible
    assert world.http.requests == []
    world.http.answers = [Unavailable("away")]
    with pytest.raises(StepFailed, match="is unknown"):
        await one.act()
    assert world.http.seen_keys == {f"{EXECUTION}/fix": 1}
    assert (await one.recover()).found is Found.UNKNOWN
    assert "cannot be taken back" in await one.undo()


async def test_a_write_that_is_declared_idempotent_is_repeated_with_the_same_key(world):
    """Also when the other side says that it has too much to do, as long as it asks for."""
    one = rig(world, "http_put", url=URL, idempotent=True)
    await one.plan()
    world.http.answers = [(429, "", {"Retry-After": "7"}), (200, "ok")]
    await one.act()
    assert world.http.seen_keys == {f"{EXECUTION}/fix": 2}
    assert world.clock.slept == [7.0]
    assert default_actions()["http_put"].repeatable({"idempotent": True})


async def test_a_token_goes_into_the_header_and_nowhere_else(world):
    """Output, plan and errors do not hold it."""
    world.secrets.values["api"] = "tok-12345"
    world.http.answers = [(200, '{"echo": "tok-12345"}'), (500, "no tok-12345")]
    one = rig(world, "data_fetch", source_url=URL, auth_token="__secret:api__", retries=0)
    step = await one.plan()
    assert world.http.requests[0].headers["Authorization"] == "Bearer tok-12345"
    assert "tok-12345" not in step.model_dump_json()
    with pytest.raises(StepFailed) as error:
        await one.act()
    assert "tok-12345" not in str(error.value)


async def test_fetched_data_is_the_output_itself(world):
    """Parts are taken of it by JSONPath; what is no JSON is no data."""
    world.http.answers = [(200, '{"data": {"entities": [1, 2]}}'), (200, "<html>"), (200, "<html>")]
    one = rig(world, "data_fetch", url=URL)
    assert (await one.plan()).result == {"data": {"entities": [1, 2]}}
    with pytest.raises(StepFailed, match="answered no JSON"):
        await one.act()


async def test_an_answer_that_is_too_long_is_an_error_and_not_cut(world):
    """Half a list must not pass for a whole one."""
    world.http.answers = [(200, "[1, 2, 3]"), (200, "[1, 2, 3]")]
    one = rig(world, "data_fetch", url=URL, max_bytes=5)
    assert (await one.plan()).result is None
    with pytest.raises(StepFailed, match="longer than 5 bytes"):
        await one.act()


async def test_a_path_belongs_to_the_configured_base(world):
    """And to nothing when there is none."""
    with pytest.raises(PlanError, match=r"http\.base_url is empty"):
        await rig(world, "http_get", url="/health").plan()
    world.more["http_base"] = "http://shop:8080/"
    await rig(world, "http_get", url="/health").plan()
    assert world.http.requests[0].url == "http://shop:8080/health"
    for other in ("//evil.example.com/x", "file:///etc/passwd", "health"):
        with pytest.raises(PlanError, match="no http"):
            await rig(world, "http_get", url=other).plan()


def test_a_parameter_given_under_both_its_names_is_refused():
    """Which one counts would be a guess; the schema knows both."""
    model = default_actions()["data_fetch"].params_model
    with pytest.raises(ValueError, match="given twice"):
        model.model_validate({"url": URL, "source_url": URL})
    schema = model.model_json_schema()
    assert "source_url" in schema["properties"]
    assert {"required": ["source_url"]} in schema["allOf"][0]["anyOf"]


@pytest.mark.parametrize("name", ["webhook", "http_request", "http_post"])
def test_one_expected_status_needs_no_list(name):
    """The schema says so too, or the checks would refuse the runbook."""
    model = default_actions()[name].params_model
    assert model.model_validate({"url": URL, "expected_status": 404}).expected_status == (404,)
    assert {"type": "integer"} in model.model_json_schema()["properties"]["expected_status"]["anyOf"]


# GraphQL


async def test_a_query_is_asked_while_planning_and_its_answer_is_the_output(world):
    """Values go as variables, the document as it was written."""
    world.http.answers = [(200, '{"data": {"service": {"owner": "a"}}}')]
    step = await rig(world, "graphql", endpoint=URL, query=QUERY, variables={"name": 'x") { evil }'}).plan()
    assert step.result == {"data": {"service": {"owner": "a"}}}
    sent = json.loads(world.http.requests[0].body)
    assert sent == {"query": QUERY, "variables": {"name": 'x") { evil }'}}
    assert world.http.requests[0].method == "POST"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('{"data": {"a": 1}, "errors": [{"message": "no right", "path": ["a", 0]}]}', r"no right \(at a/0\)"),
        ('{"errors": ["bad"]}', "bad"),
        ('{"hello": 1}', "neither data nor errors"),
        ("[]", "neither data nor errors"),
        ("<html>", "no JSON"),
    ],
)
async def test_an_answer_with_errors_is_a_failure_though_its_status_is_200(world, answer, said):
    """Also when there is data beside them."""
    one = rig(world, "graphql", endpoint=URL, query=QUERY)
    world.http.answers = [(200, answer), (200, answer)]
    assert (await one.plan()).result is None
    with pytest.raises(StepFailed, match=said):
        await one.act()


async def test_a_mutation_must_be_declared_and_needs_a_human(world):
    """Whatever the document is called; nothing is sent while planning."""
    with pytest.raises(PlanError, match="mutation"):
        await rig(world, "graphql", endpoint=URL, query=MUTATION).plan()
    one = rig(world, "graphql", endpoint=URL, query=MUTATION, write=True)
    assert (await one.plan()).changes[0].irreversible
    assert world.http.requests == []
    world.http.answers = [(200, '{"data": {"restart": {"ok": true}}}')]
    await one.act()
    assert world.http.seen_keys == {f"{EXECUTION}/fix": 1}
    assert (await one.recover()).found is Found.UNKNOWN


async def test_a_document_may_be_a_file_beside_the_runbook(world):
    """Its text becomes part of the plan."""
    world.files.texts["owner.graphql"] = QUERY
    one = rig(world, "graphql", endpoint=URL, query="owner.graphql", expect="data.service.owner == 'a'")
    with pytest.raises(PlanError, match="did not come from a folder"):
        await one.plan()
    one.facts = with_folder()
    assert (await one.plan()).params["query"] == QUERY
    one.params = {**one.params, "query": "owners.graphql"}
    with pytest.raises(Exception, match=r"did you mean owner\.graphql"):
        await one.plan()


def with_folder():
    from dataclasses import replace  # noqa: PLC0415 - one test needs it

    return replace(facts(), folder="/runbooks")


@pytest.mark.parametrize(
    ("document", "wanted", "found"),
    [
        ("{ a }", None, ("query", "")),
        ("query A { a } mutation B { b }", "B", ("mutation", "B")),
        ('# mutation X\nquery A { a(text: "mutation { x }") }', None, ("query", "A")),
        ("fragment F on T { a } query Q { ...F }", None, ("query", "Q")),
        ("subscription S { s }", None, ("subscription", "S")),
    ],
)
def test_what_a_document_does_is_read_by_its_grammar(document, wanted, found):
    """Comments and texts do not count, and the operation that will run decides."""
    assert operation_of(document, wanted) == found


@pytest.mark.parametrize(
    ("document", "wanted", "said"),
    [
        ("query {", None, "document is wrong"),
        ("query A { a } query B { b }", None, "2 operations"),
        ("query A { a }", "B", "no operation 'B'; it has A"),
        ("fragment F on T { a }", None, "0 operations"),
        ("{" + "a{" * 5000, None, "document is wrong"),
    ],
)
def test_a_document_that_cannot_be_used_is_refused_at_planning(document, wanted, said):
    """Before anything is sent."""
    with pytest.raises(PlanError, match=said):
        operation_of(document, wanted)


# api_call


async def test_an_api_call_with_a_query_is_graphql_and_its_other_parameters_are_variables(world):
    """As ops-001 writes it, with a path of the configured base."""
    world.more["http_base"] = "http://graph:3000"
    world.http.answers = [(200, '{"data": {"enriched": [1]}}')]
    step = await rig(
        world, "api_call", endpoint="/graphql", query="query($entities: [E]) { e }", entities=[1, 2]
    ).plan()
    assert step.result == {"data": {"enriched": [1]}}
    assert json.loads(world.http.requests[0].body)["variables"] == {"entities": [1, 2]}
    assert default_actions()["api_call"].access_of({"query": "x"}) is Access.READ


async def test_an_api_call_without_a_query_is_rest_and_its_output_is_the_answer(world):
    """Its other parameters are the body."""
    one = rig(world, "api_call", endpoint=URL, method="POST", node="n1")
    assert (await one.plan()).changes[0].irreversible
    world.http.answers = [(201, '{"ticket": 4}')]
    assert await one.act() == {"ticket": 4}
    assert json.loads(world.http.requests[0].body) == {"node": "n1"}
    assert default_actions()["api_call"].access_of({"endpoint": URL, "node": "n1"}) is Access.WRITE
    assert default_actions()["api_call"].access_of({"endpoint": URL}) is Access.READ
    with pytest.raises(PlanError, match="would be lost"):
        await rig(world, "api_call", endpoint=URL, method="POST", body="x", node="n1").plan()
