"""Take a node out of service and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from executor.actions.base import TargetFacts, World
from executor.actions.editing import Edit
from executor.actions.naming import aim, existing
from executor.actions.needs import Right
from executor.actions.objects import EditAction
from executor.actions.spelling import KubeParams
from executor.ports import KubeObject


class NodeParams(KubeParams):
    """Parameters of ``kubectl_cordon`` and ``kubectl_uncordon``."""

    node: str | None = Field(None, description="Name; left out, it is the incident's node")


async def node_of(name: str | None, facts: TargetFacts, world: World) -> KubeObject:
    """The node that a step means."""
    return await existing(aim("Node", name, None, facts), facts, world)


def schedulable(node: KubeObject) -> bool:
    """Whether new pods may go to the node."""
    return not node.get("spec", {}).get("unschedulable")


CORDON = Edit({"spec": {"unschedulable": True}}, "merge")
UNCORDON = Edit({"spec": {"unschedulable": None}}, "merge")


class KubectlCordon(EditAction[NodeParams]):
    """Keep new pods away from a node."""

    name = "kubectl_cordon"
    aliases = ("kubernetes/cordon",)
    params_model = NodeParams
    verb = "cordon"
    undo_words = "the node takes pods again, if it did before"
    rights = (Right(("get", "patch"), "Node"),)
    example = """\
action: kubectl_cordon
params: {node: "{{ incident.resource.name }}"}
"""

    def rights_for(self, params: Mapping[str, Any], kinds: Sequence[str]) -> tuple[Right, ...]:
        """The node."""
        return (Right(("get", "patch"), "Node"),)

    async def live(self, params: NodeParams, facts: TargetFacts, world: World) -> KubeObject:
        """The node."""
        return await node_of(params.node, facts, world)

    def completed(self, params: NodeParams, live: KubeObject, extras: Mapping[str, Any]) -> NodeParams:
        """With the node's name."""
        return NodeParams(node=live["metadata"]["name"])

    def edit(self, params: NodeParams, extras: Mapping[str, Any]) -> Edit:
        """What kubectl sets."""
        return CORDON

    def summary(self, params: NodeParams, live: KubeObject, extras: Mapping[str, Any]) -> str:
        """Says when it is so already."""
        return f"cordon {params.node}" + ("" if schedulable(live) else " (it is cordoned already)")


class KubectlUncordon(KubectlCordon):
    """Let new pods on a node again."""

    name = "kubectl_uncordon"
    aliases = ("kubernetes/uncordon",)
    verb = "uncordon"
    undo_words = "the node is cordoned again, if it was before"
    example = """\
action: kubectl_uncordon
params: {node: "{{ incident.resource.name }}"}
"""

    def edit(self, params: NodeParams, extras: Mapping[str, Any]) -> Edit:
        """Take the field away."""
        return UNCORDON

    def summary(self, params: NodeParams, live: KubeObject, extras: Mapping[str, Any]) -> str:
        """Says when it is so already."""
        return f"uncordon {params.node}" + (" (it takes pods already)" if schedulable(live) else "")
