"""What a runbook acts on: found live, or not at all."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from fakes.graph_causes import FakeCausalGraph

from matcher.errors import LiveUnavailable
from matcher.model import Cause, Origin, Signal, SignalStatus, Subject, Target
from matcher.target import NoTarget, TargetResolver

T0 = datetime(2025, 10, 6, 10, 0, tzinfo=UTC)
UID = "0f8fad5b-d9cb-469f-a165-70867728950e"


class LiveCluster:
    """Objects in memory, with the number of questions and an outage."""

    def __init__(self):
        self.objects = {}
        self.asked = []
        self.down = None
        self.delay = 0.0

    def add(self, kind, name, namespace="shop", *, owner=None, uid="", spec=None, status=None):
        references = (
            [{"kind": owner[0], "name": owner[1], "uid": f"uid-{owner[1]}", "controller": True}] if owner else []
        )
        metadata = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "ownerReferences": references}
        self.objects[kind, namespace, name] = {
            "kind": kind,
            "metadata": metadata,
            "spec": spec or {},
            "status": status or {},
        }

    async def get(self, kind, name, namespace=""):
        await self._ask(kind, name)
        return self.objects.get((kind, namespace, name))

    async def list(self, kind, namespace="", *, labels="", fields=""):
        await self._ask(kind, "*")
        # As the API server does: items of a list carry no kind.
        return [
            {part: value for part, value in found.items() if part != "kind"}
            for (k, n, _), found in self.objects.items()
            if k == kind and namespace in {"", n}
        ]

    async def _ask(self, kind, name):
        self.asked.append((kind, name))
        await asyncio.sleep(self.delay)
        if self.down:
            raise self.down


def pod_spec(*names):
    return {"containers": [{"name": name} for name in names], "nodeName": "n1"}


def killed(name, reason="OOMKilled"):
    return {
        "name": name,
        "lastState": {"terminated": {"reason": reason}},
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    }


def template(*names):
    return {"template": {"spec": {"containers": [{"name": name} for name in names]}}}


@pytest.fixture
def live():
    cluster = LiveCluster()
    cluster.add("Deployment", "cart", spec=template("app", "proxy"))
    cluster.add("ReplicaSet", "cart-7d9f", owner=("Deployment", "cart"), spec=template("app", "proxy"))
    cluster.add(
        "Pod",
        "cart-7d9f-abcde",
        owner=("ReplicaSet", "cart-7d9f"),
        uid=UID,
        spec=pod_spec("app", "proxy"),
        status={"containerStatuses": [{"name": "proxy", "state": {"running": {}}}, killed("app")]},
    )
    cluster.add(
        "Node",
        "n1",
        "",
        status={
            "conditions": [{"type": "Ready", "status": "Unknown"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
        },
    )
    return cluster


@pytest.fixture
def graph():
    return FakeCausalGraph()


@pytest.fixture
def resolver(live, graph):
    return TargetResolver(live, graph, cluster="prod", cache_seconds=0)


def cause(subject, reason="OOMKilled"):
    return Cause("c", reason, subject, 0.8, "w", 0.8)


def signal(subject=None, *, cluster="prod", labels=None):
    return Signal(
        "s",
        "default",
        cluster,
        "KubePodCrashLooping",
        "WARNING",
        SignalStatus.FIRING,
        subject or Subject("Pod", "other", "shop"),
        T0,
        "event_normalized",
        "k",
        Origin("a", 0, 0),
        labels=labels or {},
    )


def pod(name="cart-7d9f-abcde", namespace="shop", uid=""):
    return Subject("Pod", name, namespace, uid)


async def found(resolver, about, **how):
    target = await resolver.resolve(cause(about, how.pop("reason", "OOMKilled")), signal(**how))
    assert isinstance(target, Target), target
    return target


async def missing(resolver, about, **how):
    nothing = await resolver.resolve(cause(about, how.pop("reason", "OOMKilled")), signal(**how))
    assert isinstance(nothing, NoTarget), nothing
    return nothing.reason


async def test_a_pod_leads_to_its_top_controller(resolver):
    """Pod, ReplicaSet, Deployment: each read live; the container that was killed is named."""
    assert await found(resolver, pod()) == Target(
        "prod", "Deployment", "cart", "shop", "uid-cart", "app", "cart-7d9f-abcde", "n1", "owner"
    )


@pytest.mark.parametrize(
    ("chain", "top"),
    [
        ([("StatefulSet", "db")], "StatefulSet"),
        ([("DaemonSet", "log")], "DaemonSet"),
        ([("Job", "backup-1"), ("CronJob", "backup")], "CronJob"),
        ([("Job", "import")], "Job"),
        ([("ReplicaSet", "web-1"), ("Rollout", "web")], "Rollout"),
    ],
)
async def test_every_kind_of_chain_is_followed_to_its_top(resolver, live, chain, top):
    """The top controller is what brings pods back, so it is what must be fixed."""
    live.add("Pod", "x-1", owner=chain[0], spec=pod_spec("only"))
    for (kind, name), owner in zip(chain, [*chain[1:], None], strict=True):
        live.add(kind, name, owner=owner)
    target = await found(resolver, pod("x-1"))
    assert (target.kind, target.name, target.container) == (top, chain[-1][1], "only")


@pytest.mark.parametrize("kind", ["pod", "Pod", "pods"])
async def test_both_identities_of_a_pod_lead_to_one_target(resolver, kind):
    """The graph knows a pod by name and by uid, and spells the kind as it likes."""
    by_name = await found(resolver, Subject(kind, "cart-7d9f-abcde", "shop"))
    by_uid = await found(resolver, Subject(kind, UID, "shop"))
    assert by_name == by_uid
    assert (await found(resolver, Subject(kind, UID))).key == by_name.key


async def test_a_pod_without_controller_is_refused(resolver, live):
    """Nothing would bring it back."""
    live.add("Pod", "bare")
    assert await missing(resolver, pod("bare")) == "pod shop/bare has no controller, nothing would bring it back"


async def test_a_static_pod_is_refused(resolver, live):
    """Its controller is the node, and the node is not what is broken."""
    live.add("Pod", "etcd-n1", owner=("Node", "n1"))
    assert "static pod of node n1" in await missing(resolver, pod("etcd-n1"))


async def test_an_owner_that_was_replaced_is_no_owner(resolver, live):
    """A controller of the same name with another uid is another controller."""
    live.add("Deployment", "cart", uid="new")
    assert "Deployment shop/cart, the controller of cart-7d9f, is gone" in await missing(resolver, pod())


async def test_a_ring_of_controllers_ends(resolver, live):
    """Broken owner references must not be followed for ever."""
    live.add("ReplicaSet", "a", owner=("ReplicaSet", "b"))
    live.add("ReplicaSet", "b", owner=("ReplicaSet", "a"))
    assert "more than 5 controllers" in await missing(resolver, Subject("ReplicaSet", "a", "shop"))


async def test_a_gone_pod_is_found_through_the_graph(resolver, live, graph):
    """The graph's hint is taken only as far as the live cluster confirms it."""
    gone = pod("web-1-zzzzz")
    old, deployment = Subject("Replicaset", "web-1", "shop"), Subject("deployment", "cart", "shop")
    graph.controlled("default", gone, old, deployment)
    target = await found(resolver, gone)
    assert (target.kind, target.name, target.resolved_by, target.pod) == ("Deployment", "cart", "graph", "web-1-zzzzz")
    graph.controlled("default", gone, old, Subject("Deployment", "never", "shop"))
    assert "neither the graph nor its name" in await missing(resolver, gone)
    graph.controlled("default", gone, Subject("Deployment", "cart", "elsewhere"))
    assert "neither the graph nor its name" in await missing(resolver, gone)


@pytest.mark.parametrize(
    ("name", "kind", "owner", "how"),
    [
        ("cart-7d9f-zzzzz", "Deployment", "cart", "replicaset-name"),
        ("db-2", "StatefulSet", "db", "statefulset-name"),
        ("log-zzzzz", "DaemonSet", "log", "daemonset-name"),
        ("backup-1-zzzzz", "Job", "backup-1", "job-name"),
    ],
)
async def test_a_gone_pod_is_found_by_its_name(  # noqa: PLR0917 - one row, one case
    resolver, live, name, kind, owner, how
):
    """Generated names end in five letters of a known alphabet, or an ordinal; the owner must exist."""
    live.add("StatefulSet", "db")
    live.add("DaemonSet", "log")
    live.add("Job", "backup-1")
    target = await found(resolver, pod(name))
    assert (target.kind, target.name, target.resolved_by, target.pod) == (kind, owner, how, name)


@pytest.mark.parametrize("name", ["cart-7d9f-aeiou", "cart-7d9f-zzzz", "cart", "cart-7d9f", "other-zzzzz", "-zzzzz"])
async def test_a_name_that_nobody_generated_leads_nowhere(resolver, name):
    """A likeness is no evidence."""
    assert "is gone" in await missing(resolver, pod(name))


async def test_a_name_that_could_come_from_two_owners_is_no_answer(resolver, live):
    """Never a guess."""
    live.add("DaemonSet", "cart-7d9f")
    assert "more than one" in await missing(resolver, pod("cart-7d9f-zzzzz"))


async def test_a_name_that_was_cut_is_found_in_the_list(resolver, live):
    """Long names lose their end before the random letters are added."""
    long = "a-very-long-deployment-name-that-goes-on-and-on-7d9f8c6b5d4"
    live.add("ReplicaSet", long)
    name = f"{long}-"[:58] + "zzzzz"
    assert len(name) == 63
    assert (await found(resolver, pod(name))).name == long
    live.add("ReplicaSet", long + "x")
    assert "more than one" in await missing(resolver, pod(name))


async def test_a_replaced_stateful_pod_is_the_pod_of_that_name(resolver, live):
    """Ordinals come back under their name with a new uid; the owner is the same."""
    live.add("StatefulSet", "db")
    live.add("Pod", "db-0", owner=("StatefulSet", "db"), uid="new")
    assert (await found(resolver, pod("db-0", uid="old"))).name == "db"


async def test_a_node_is_itself_under_all_its_names(resolver):
    """By name, uid or address."""
    for name in ("n1", "uid-n1", "10.0.0.1"):
        target = await found(resolver, Subject("node", name), reason="NodeNotReady")
        assert (target.kind, target.name, target.namespace, target.key) == ("Node", "n1", "", "prod//Node/n1")
    assert await missing(resolver, Subject("Node", "n9")) == "node n9 does not exist"


async def test_a_workload_is_itself_or_what_controls_it(resolver):
    """A Deployment must exist; a ReplicaSet of a Deployment leads to it."""
    itself = await found(resolver, Subject("deploy", "cart", "shop"))
    assert (itself.resolved_by, itself.uid, itself.container) == ("self", "uid-cart", "")
    owned = await found(resolver, Subject("Replicaset", "cart-7d9f", "shop"))
    assert (owned.key, owned.resolved_by) == (itself.key, "owner")
    assert await missing(resolver, Subject("Deployment", "x", "shop")) == "Deployment shop/x does not exist"


async def test_other_kinds_have_no_target(resolver):
    """A Service has no state that a runbook repairs."""
    assert "the cause is about Service web" in await missing(resolver, Subject("Service", "web", "shop"))
    assert "without a namespace" in await missing(resolver, pod(namespace=""))


async def test_another_cluster_is_never_acted_upon_here(resolver, live):
    """Names repeat across clusters; acting on the wrong one is worse than not acting."""
    assert "cluster edge" in await missing(resolver, pod(), cluster="edge")
    assert live.asked == []


async def test_a_lost_subject_needs_live_evidence_at_the_symptom(resolver, live):
    """The symptom's object stands in only when its live state shows the cause."""
    nobody = Subject("", "")
    assert (await found(resolver, nobody, subject=pod())).name == "cart"
    assert "shows no sign" in await missing(resolver, nobody, subject=pod(), reason="ImagePullBackOff")
    assert (await found(resolver, nobody, subject=Subject("Node", "n1"), reason="KubeNodeNotReady")).name == "n1"
    assert "shows no sign" in await missing(resolver, nobody, subject=Subject("Deployment", "cart", "shop"))
    assert "shows no sign" in await missing(resolver, nobody, subject=pod("gone-zzzzz"))
    assert "neither the cause nor the signal" in await missing(resolver, nobody, subject=nobody)


@pytest.mark.parametrize(
    ("statuses", "names", "labels", "reason", "container"),
    [
        ([killed("a"), {"name": "b"}], ["a", "b"], {}, "OOMKilled", "a"),
        ([killed("a"), killed("b", "Error")], ["a", "b"], {}, "LOG_OOM_KILLED", "a"),
        ([killed("a"), killed("b")], ["a", "b"], {}, "OOMKilled", ""),
        ([killed("a"), killed("b")], ["a", "b"], {"container": "b"}, "OOMKilled", "b"),
        ([killed("a")], ["a", "b"], {"container": "kube-rbac-proxy"}, "OOMKilled", "a"),
        ([{"name": "b", "state": {"waiting": {"reason": "ErrImagePull"}}}], ["a", "b"], {}, "ImagePullBackOff", "b"),
        ([{"name": "b", "state": {"waiting": {"reason": "ContainerCreating"}}}], ["a", "b"], {}, "OOMKilled", ""),
        ([], ["a"], {}, "OOMKilled", "a"),
        ([], ["a", "b"], {}, "OOMKilled", ""),
    ],
)
async def test_the_container_is_named_only_when_it_is_certain(  # noqa: PLR0917 - one row, one case
    resolver, live, statuses, names, labels, reason, container
):
    """The signal's word, then the state that shows the cause, then the only one there is."""
    live.add("Pod", "p", owner=("Deployment", "cart"), spec=pod_spec(*names), status={"containerStatuses": statuses})
    target = await found(resolver, pod("p"), reason=reason, subject=pod("p"), labels=labels)
    assert target.container == container


async def test_a_container_named_by_another_pods_alert_does_not_count(resolver):
    """The symptom's labels speak of the symptom."""
    assert (await found(resolver, pod(), labels={"container": "proxy"})).container == "app"


async def test_no_answer_of_the_cluster_is_never_a_guess(resolver, live, graph):
    """The decision is tried again later, with the cause of the outage."""
    live.down = ConnectionError("refused")
    with pytest.raises(LiveUnavailable, match="refused") as caught:
        await resolver.resolve(cause(pod()), signal())
    assert isinstance(caught.value.__cause__, ConnectionError)
    live.down = None
    graph.down = TimeoutError("graph")
    with pytest.raises(LiveUnavailable, match="graph"):
        await resolver.resolve(cause(pod("gone-zzzzz")), signal())
    assert (await found(resolver, pod())).name == "cart"


async def test_a_storm_of_repeats_costs_one_look_up(live, graph):
    """Callers at the same time share the look-up, later ones its answer, until it is too old."""
    now = [0.0]
    resolver = TargetResolver(live, graph, cache_seconds=3, clock=lambda: now[0])
    live.delay = 0.001
    answers = await asyncio.gather(*(resolver.resolve(cause(pod()), signal()) for _ in range(500)))
    assert len(set(answers)) == 1
    assert len(live.asked) == 3
    now[0] = 2.9
    await resolver.resolve(cause(pod()), signal())
    assert len(live.asked) == 3
    now[0] = 3.0
    await resolver.resolve(cause(pod()), signal())
    assert len(live.asked) == 6


async def test_a_caller_that_gives_up_does_not_take_the_answer_from_the_others(live, graph):
    """Cancelling one of many waiting callers leaves the look-up running."""
    resolver = TargetResolver(live, graph)
    live.delay = 0.01
    first = asyncio.create_task(resolver.resolve(cause(pod()), signal()))
    second = asyncio.create_task(resolver.resolve(cause(pod()), signal()))
    await asyncio.sleep(0.005)
    first.cancel()
    assert (await second).name == "cart"
    assert len(live.asked) == 3


async def test_an_outage_is_not_remembered_and_the_memory_is_bounded(live, graph):
    """The next question is put anew after a failure; old answers make room."""
    resolver = TargetResolver(live, graph, cache_size=2)
    live.down = ConnectionError("refused")
    with pytest.raises(LiveUnavailable):
        await resolver.resolve(cause(pod()), signal())
    live.down = None
    for name in ("x-1", "x-2", "x-3"):
        await resolver.resolve(cause(pod(name)), signal())
    assert len(resolver._known._known) == 2
