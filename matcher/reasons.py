"""Reasons that mean the same thing.

One failure has several names: the kubelet's, the alert rule's, the log parser's. The names of a family open one incident,
and a runbook for one of them answers all of them (at the lowest rank, see ``matcher.select``).

| canonical | also written as | why it is the same |
|---|---|---|
| OOMKilled | ContainerOOMKilled, KubeContainerOOMKilled, KubePodOOMKilled, PodOOMKilled, LOG_OOM_KILLED | container killed for its memory (exit 137) |
| ImagePullBackOff | ErrImagePull, KubePodImagePullBackOff, PodImagePullBackOff | the kubelet alternates between the first two |
| CrashLoopBackOff | BackOff, KubePodCrashLooping, PodCrashLooping | the kubelet's event for a crash loop is ``BackOff`` |
| NodeNotReady | KubeNodeNotReady | event and alert rule |

Left out on purpose: ``OOMKilling`` (the node's own memory ran out, its subject is the node), ``KubeNodeUnreachable`` (the node
may be healthy behind a broken network), ``InvalidImageName`` (no retry and no credential can help). The kubelet also
says ``BackOff`` while it waits to pull an image; a cause carries no message, so the name alone cannot tell these two apart.
"""  # noqa: E501 - a table row cannot be broken

from __future__ import annotations

FAMILIES: dict[str, tuple[str, ...]] = {
    "OOMKilled": (
        "ContainerOOMKilled",
        "KubeContainerOOMKilled",
        "KubePodOOMKilled",
        "PodOOMKilled",
        "LOG_OOM_KILLED",
    ),
    "ImagePullBackOff": ("ErrImagePull", "KubePodImagePullBackOff", "PodImagePullBackOff"),
    "CrashLoopBackOff": ("BackOff", "KubePodCrashLooping", "PodCrashLooping"),
    "NodeNotReady": ("KubeNodeNotReady",),
}
_CANONICAL = {name.lower(): head for head, names in FAMILIES.items() for name in (head, *names)}
_MEMBERS = {head: tuple(name.lower() for name in (head, *names)) for head, names in FAMILIES.items()}


def canonical_reason(reason: str) -> str:
    """The name that a reason's family goes by; a reason without a family stays as sent."""
    return _CANONICAL.get(reason.strip().lower(), reason.strip())


def same_reason(one: str, other: str) -> bool:
    """Whether two reasons name the same failure, without regard to case."""
    return bool(one) and canonical_reason(one).lower() == canonical_reason(other).lower()


def family(reason: str) -> tuple[str, ...]:
    """All names of the reason's family in lower case, the reason itself included."""
    name = reason.strip().lower()
    head = _CANONICAL.get(name)
    return _MEMBERS[head] if head else (name,)
