"""Every check of the gate with its cases: what it lets pass, what it refuses, and what it says when data are missing.

Whoever adds a check adds its case here; ``test_gate_checks`` fails until then.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import nan
from typing import Any

from fakes.gate_rigs import LIMITS, MemoryRig, RedisRig, request

from safety import policy, replies
from safety.axes import AXES, WINDOWS, concurrent_check, rate_check
from safety.breaker import Counted, Stopped
from safety.keys import Keys
from safety.model import BlastRadius, GateRequest, Permit
from safety.policy import PolicySettings
from safety.redis_breaker import packed
from safety.scopes import Axis, PauseScope, StormScope
from safety.surroundings import CLEAR, Budget, Disabled, Frozen, Managed

AnyRig = MemoryRig | RedisRig
TARGET = "prod/shop/Deployment/probe"
OPEN = PolicySettings(
    max_executions_per_hour_total=1000,
    target_per_day=None,
    cluster_per_minute=None,
    cluster_per_day=None,
    cluster_concurrent=None,
    namespace_blast_in_flight=None,
    cluster_blast_in_flight=None,
    ask_again_after=None,
)
"""No limit but those that a case sets."""

TWICE = 2


@dataclass(frozen=True)
class Case:
    """One way in which a check answers.

    Attributes:
        name: of the check, with what tells it from its other cases.
        passes: a request that it lets pass.
        refused: one that it refuses.
        missing: one that lacks the data; None for a check whose data are the store's, which are missing when it was
            emptied.
        before: what happened before.
    """

    check: str
    passes: GateRequest
    refused: GateRequest
    missing: GateRequest | None = None
    before: Callable[[AnyRig], Awaitable[None]] | None = None
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.check


def _probe(**changes: Any) -> GateRequest:
    changes.setdefault("policy", OPEN)
    return request("probe", changes.pop("target", TARGET), **({"runbook_id": "probe"} | changes))


def _limits(**limits: Any) -> GateRequest:
    return _probe(limits=replace(LIMITS, **limits))


def _blast(**blast: Any) -> BlastRadius:
    return replace(BlastRadius(graph=3, live=3, resources=(TARGET,), graph_age_seconds=1), **blast)


def _wide(**changes: Any) -> GateRequest:
    """A request that affects 20 resources."""
    blast = _blast(graph=20, live=20, **changes.pop("blast", {}))
    limits = replace(LIMITS, blast_radius=100, **changes.pop("limits", {}))
    return _probe(blast=blast, limits=limits, policy=replace(OPEN, **changes))


def _around(**around: Any) -> GateRequest:
    policy_ = replace(OPEN, **around.pop("policy", {}))
    return _probe(around=replace(CLEAR, **around), policy=policy_)


def _labels(labels: Mapping[str, Any] | None) -> GateRequest:
    return replace(_limits(protected_labels={"tier": "pay*"}), labels=labels)


_KEPT = Managed(TARGET, "Argo CD", "shop", reverted=True)

OF_THE_POLICY = [
    Case("request", _probe(), _probe(cluster="pro"), _probe(runbook_id="")),
    Case("limits", _probe(), _limits(blast_radius=-1), _limits(cooldown_seconds=nan)),
    Case("freeze", _probe(), _around(frozen=(Frozen("summer"),)), _around(frozen=None)),
    Case(
        "protected_namespace",
        _probe(),
        _probe(namespaces=("kube-system",)),
        # A plan that does not say where it writes is judged by where its target is.
        _probe(target="prod/kube-system/Deployment/probe", namespaces=()),
    ),
    Case("protected_label", _labels({TARGET: {"tier": "web"}}), _labels({TARGET: {"tier": "pay-2"}}), _labels(None)),
    Case("disabled", _probe(), _around(disabled=(Disabled(TARGET),)), _around(disabled=None)),
    Case("confidence", _probe(confidence=0.8), _probe(confidence=0.79), _probe(confidence=None)),
    Case("gitops", _around(managed=()), _around(managed=(_KEPT,)), _around(managed=None)),
    Case(
        "blast_radius", _probe(blast=_blast(live=10)), _probe(blast=_blast(live=11)), _probe(blast=_blast(graph=None))
    ),
    Case(
        "graph_age",
        _probe(blast=_blast(graph_age_seconds=900)),
        _probe(blast=_blast(graph_age_seconds=901)),
        _probe(blast=_blast(graph_age_seconds=None)),
    ),
    Case(
        "blast_share",
        replace(_limits(blast_percent=10), blast=_blast(pods=30)),
        replace(_limits(blast_percent=10), blast=_blast(pods=29)),
        replace(_limits(blast_percent=10), blast=_blast(pods=None)),
    ),
    Case(
        "blast_share_workload",
        _around(workload_percent=50.0, policy={"max_blast_percent_workload": 50}),
        _around(workload_percent=51.0, policy={"max_blast_percent_workload": 50}),
        _around(workload_percent=None, policy={"max_blast_percent_workload": 50}),
    ),
    Case(
        "blast_share_namespace",
        _wide(max_blast_percent_namespace=10, blast={"pods": 200, "cluster_pods": 1000}),
        _wide(max_blast_percent_namespace=10, blast={"pods": 199, "cluster_pods": 1000}),
        _wide(max_blast_percent_namespace=10, blast={"pods": None, "cluster_pods": 1000}),
    ),
    Case(
        "blast_share_cluster",
        _wide(max_blast_percent_cluster=10, blast={"cluster_pods": 200}),
        _wide(max_blast_percent_cluster=10, blast={"cluster_pods": 199}),
        _wide(max_blast_percent_cluster=10, blast={"cluster_pods": None}),
    ),
    Case(
        "disruption_budget",
        _around(budgets=(Budget("shop/probe", 1, 1),)),
        _around(budgets=(Budget("shop/probe", 0, 1),)),
        _around(budgets=(Budget("shop/probe", None, 1),)),
    ),
]


async def _run(rig: AnyRig, asked: GateRequest, *, release: float | None = 0) -> None:
    """Permit and confirm an execution, and let it end; None for not."""
    (answer,) = await rig.gate.ask([asked])
    assert isinstance(answer, Permit), answer
    assert await rig.gate.confirm([(asked.execution_id, asked.target_key)]) == []
    if release is not None:
        await rig.gate.release(asked.execution_id, asked.target_key, release)


async def _used(rig: AnyRig) -> None:
    await _run(rig, _probe())


async def _holds(rig: AnyRig) -> None:
    await _run(rig, _probe(), release=None)


async def _locked(rig: AnyRig) -> None:
    await _run(rig, replace(_probe(runbook_id="other"), execution_id="other"), release=None)


async def _cooled(rig: AnyRig) -> None:
    await _run(rig, replace(_probe(runbook_id="other"), execution_id="other"), release=600)


async def _paused(rig: AnyRig) -> None:
    await rig.gate.pause("ada", "stop")
    await rig.gate.resume("ada")
    await rig.gate.pause("ada", "a part", PauseScope(namespace="shop"))


async def _storm(rig: AnyRig) -> None:
    scope = StormScope("acme", Axis.NAMESPACE, "prod/shop")
    stopped = Stopped(scope, 1, 0, Counted.CAUSES, "OOMKilled", 30, 20, 60_000, {})
    if isinstance(rig, MemoryRig):
        rig.gate.state.storms[scope] = stopped
    else:
        await rig.redis.execute_command("HSET", Keys(rig.prefix).storm("acme"), scope.key, packed(stopped))


_ELSEWHERE = _probe(target="prod/pay/Deployment/probe", namespaces=("pay",))
_NEW = replace(_probe(), execution_id="new")

OF_THE_STORE = [
    Case("used", _NEW, _probe(), before=_used),
    Case("plan_changed", _probe(), _probe(plan_hash="hash-2"), before=_holds),
    Case("pause", _ELSEWHERE, _probe(), before=_paused),
    Case("storm", _ELSEWHERE, _probe(), before=_storm),
    Case("lock", _ELSEWHERE, _probe(), before=_locked),
    Case("cooldown", _ELSEWHERE, _probe(), before=_cooled),
]

_OTHER = {
    "runbook": {"runbook_id": "another"},
    "target": {"target": "prod/shop/Deployment/another"},
    "namespace": {"target": "prod/another/Deployment/probe", "namespaces": ("another",)},
    "cluster": {"target": "edge/shop/Deployment/probe"},
    "tenant": {"tenant": "globex"},
}
"""A request that differs from the probe on one axis."""


def _filler(axis: str, number: int) -> GateRequest:
    """An execution that shares the probe's bucket on one axis, and as little as possible else."""
    place = {"cluster": "prod", "tenant": f"edge{number}"}.get(axis, "prod")
    namespace = "shop" if axis in ("namespace", "target") else f"ns{number}"
    name = "probe" if axis == "target" else f"filler{number}"
    runbook = "probe" if axis == "runbook" else f"r{number}"
    target = f"{place}/{namespace}/Deployment/{name}"
    asked = request(f"filler{number}", target, runbook_id=runbook, namespaces=(namespace,), policy=OPEN)
    return replace(asked, limits=replace(LIMITS, max_executions_per_hour=100))


def _fill(axis: str, *, running: bool) -> Callable[[AnyRig], Awaitable[None]]:
    async def before(rig: AnyRig) -> None:
        for number in range(TWICE):
            await _run(rig, _filler(axis, number), release=None if running else 0)

    return before


def _of_axis(check: str, axis: str, field: str, limit: int, *, running: bool) -> Case:
    rules = replace(OPEN, **{field: limit})
    return Case(
        check,
        _probe(**_OTHER[axis], policy=rules),
        _probe(policy=rules),
        before=_fill(axis, running=running),
        name=f"{check}-{field}",
    )


def _counted() -> Iterator[Case]:
    for axis in AXES:
        for window in WINDOWS if axis.rated else ():
            hour = (axis.name, window) == ("cluster", "hour")
            field = "max_executions_per_hour_total" if hour else f"{axis.name}_per_{window}"
            yield _of_axis(rate_check(axis.name, window), axis.name, field, TWICE, running=False)
        if axis.live:
            yield _of_axis(concurrent_check(axis.name), axis.name, f"{axis.name}_concurrent", TWICE, running=True)
        if f"{axis.name}_blast_in_flight" in PolicySettings.__dataclass_fields__:
            # Three in flight each, and three more: one too many.
            yield _of_axis("blast_in_flight", axis.name, f"{axis.name}_blast_in_flight", 8, running=True)


CASES = [*OF_THE_POLICY, *OF_THE_STORE, *_counted()]


def names() -> set[str]:
    """The names of all checks, as the code gives them: in a refusal of the policy, or in an answer of the store."""
    found = set(replies.MESSAGES)
    for module in {inspect.getmodule(check) for check in policy.CHECKS}:
        tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]
        named = {"Refusal"} | {
            each.name
            for each in ast.walk(tree)
            if isinstance(each, ast.FunctionDef) and each.args.args and each.args.args[0].arg == "check"
        }
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in named and call.args:
                first = call.args[0]
                found |= {first.value} if isinstance(first, ast.Constant) else set()
    return found
