"""What an action needs of the API server, as its class declares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OBJECT = "<object>"
"""In the place of a kind: the kind of the object that the step names."""

TARGET = "<target>"
"""In the place of a kind: the kind of what the runbook acts on."""

READS = frozenset({"get", "list", "watch"})
"""Verbs that change nothing; a program in a container is started with ``get`` as well, see ``Right.writes``."""


@dataclass(frozen=True, slots=True)
class Right:
    """Verbs on one kind.

    Attributes:
        verbs: as in a Role.
        kind: canonical name of a kind, ``OBJECT`` or ``TARGET``.
        subresource: such as ``log``; empty for the object itself.
        change: needed only for changes with this verb (``Change.verb``); empty for all of them.
        everywhere: in all namespaces, whatever namespace the step is about.
    """

    verbs: tuple[str, ...]
    kind: str
    subresource: str = ""
    change: str = ""
    everywhere: bool = False

    @property
    def writes(self) -> tuple[str, ...]:
        """The verbs that change something."""
        if self.subresource == "exec":
            return self.verbs
        return tuple(verb for verb in self.verbs if verb not in READS)


NO_RIGHTS: tuple[Right, ...] = ()
"""The action asks nothing of the API server."""

BACKUP = Right(("get", "create", "patch", "delete"), "Secret")
"""The prior data of a Secret is kept in another one, beside it."""

REPLICA_SETS = Right(("list",), "ReplicaSet")
"""Pods and earlier revisions of a Deployment are found through its ReplicaSets."""

PODS_OF = (Right(("get",), OBJECT), Right(("get",), TARGET), REPLICA_SETS, Right(("get", "list"), "Pod"))
"""Finding a pod of a workload, or what has taken the place of one that is gone."""


def edits(kinds: Sequence[str]) -> tuple[Right, ...]:
    """Reading an object and patching it, and putting its prior fields back."""
    own = (Right(("get", "patch"), OBJECT),)
    return (*own, BACKUP) if "Secret" in kinds else own
