"""Clocks, rights, orphans, and the audit trail: whether the parts agree with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from redis.asyncio import Redis

from executor.actions.base import ActionTable
from executor.errors import NotFound
from executor.model import Account, ObjectRef
from executor.rights import Need, needs_of, target_kinds
from runbooks.model import Runbook
from services.audit.verifying import Verification
from services.doctor.model import Finding, State, finding
from services.graph.connect import Graph
from services.kubernetes.cluster import KubernetesCluster
from services.orphans.mending import Mending
from services.rbac.missing import Reviewer

_SKEW_SECONDS = 2.0
_WORST_SKEW_SECONDS = 15.0
"""As long as a lease: from here on processes that compare times see each other as dead or from the future."""
_ENTRIES = 50_000
_NAMED = 10


async def clocks(graph: Graph, redis: Redis, cluster: KubernetesCluster | None) -> Sequence[Finding]:
    """How far the clocks are apart from this machine's; half of each round trip is taken off."""

    async def of_graph() -> datetime:
        (row,) = await graph.read("schema_time")
        return datetime.fromtimestamp(row["now_ms"] / 1000, UTC)

    async def of_redis() -> datetime:
        seconds, micros = await redis.time()
        return datetime.fromtimestamp(seconds + micros / 1e6, UTC)

    apart = {"Neo4j": await _apart(of_graph), "Redis": await _apart(of_redis)}
    if cluster is not None:
        # Its answers say whole seconds.
        apart["the API server"] = await _apart(cluster.now, grain=1.0)
    worst = max((abs(value) for value in apart.values()), default=0.0)
    said = [
        f"{name} is {value:+.1f} s from this machine" for name, value in apart.items() if abs(value) > _SKEW_SECONDS
    ]
    state = State.BAD if worst > _WORST_SKEW_SECONDS else State.NOTE
    good = ", ".join(f"{name} {value:+.1f} s" for name, value in apart.items())
    return [finding("clocks", said, good, "run chrony or another NTP client on every machine", state)]


async def _apart(ask: Callable[[], object], grain: float = 0.0) -> float:
    before = datetime.now(UTC)
    told = await ask()  # type: ignore[misc]  # each of them is asynchronous
    after = datetime.now(UTC)
    if not isinstance(told, datetime):
        return 0.0
    seconds: float = (told - (before + (after - before) / 2)).total_seconds() + grain / 2
    slack = (after - before).total_seconds() / 2 + grain / 2
    return 0.0 if abs(seconds) <= slack else seconds


async def rights(
    runbooks: Mapping[str, Runbook],
    actions: ActionTable,
    reviewer: Callable[[Account | None], Reviewer],
    account_of: Callable[[Runbook], Account | None],
) -> Sequence[Finding]:
    """What the runbooks in force may not do on the API server. A kind that the server does not know is one of it."""
    lacking: list[str] = []
    known: dict[tuple[Account | None, Need], str] = {}
    for runbook in runbooks.values():
        account = account_of(runbook)
        params = {one.name: one.default for one in runbook.parameters if one.default is not None}
        for need in sorted(needs_of(runbook, actions, params, target_kinds(runbook), runbooks).found, key=str):
            if (account, need) not in known:
                known[account, need] = await _why_not(reviewer(account), need)
            if why := known[account, need]:
                lacking.append(f"{runbook.id} {why}")
    shown = lacking[:_NAMED] + ([f"and {len(lacking) - _NAMED} more"] if len(lacking) > _NAMED else [])
    do = "rb rbac needed RUNBOOK | kubectl apply -f -"
    return [
        finding(
            "kubernetes rights", shown, f"{len(known)} rights of {len(runbooks)} runbooks are there", do, State.NOTE
        )
    ]


async def _why_not(asked: Reviewer, need: Need) -> str:
    resource = f"{need.kind}/{need.subresource}" if need.subresource else need.kind
    where = f" in {need.namespace}" if need.namespace else ""
    try:
        allowed = await asked.allowed(
            need.verb, ObjectRef(kind=need.kind, name="", namespace=need.namespace), need.subresource
        )
    except NotFound:
        return f"needs {resource}, which this cluster does not have"
    return "" if allowed else f"may not {need.verb} {resource}{where}"


async def orphans(mending: Mending) -> Sequence[Finding]:
    """Whether anything is left that nobody looks after."""
    kinds = Counter(one.kind.value for one in await mending.find())
    said = [f"{count} {kind}" for kind, count in sorted(kinds.items())]
    return [finding("orphans", said, "none", "rb executions orphans tells what to do about each", State.NOTE)]


async def audit(graph: Graph, verification: Verification) -> Sequence[Finding]:
    """Whether the audit trail holds; a long one is left to ``rb audit verify``."""
    (counted,) = await graph.read("audit_count_all")
    entries = counted["entries"]
    if entries > _ENTRIES:
        detail = f"{entries:,} entries are too many to check here"
        return [Finding("audit trail", State.NOTE, detail, "rb audit verify checks them all")]
    report = await verification.run()
    first = [f"{one.what} {one.entry}: {one.detail}" for one in report.problems[:_NAMED]]
    return [finding("audit trail", first, f"{entries:,} entries hold", "rb audit verify names every problem")]
