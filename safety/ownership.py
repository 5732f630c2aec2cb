"""Who keeps an object besides the cluster: Argo CD, Flux, Helm. Pure functions over an object's metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ARGO_CD, FLUX, HELM = "Argo CD", "Flux", "Helm"

_TRACKING, _INSTANCE = "argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance"
_FLUX = ("kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io")
_LEFT_ALONE = {"reconcile": ("disabled",), "ssa": ("ignore", "ifnotpresent")}
_RELEASE, _MANAGED_BY = "meta.helm.sh/release-name", "app.kubernetes.io/managed-by"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who keeps an object.

    Attributes:
        name: its application, kustomization or release; ``namespace/name`` where the object says the namespace.
        reverts: whether it puts changes back by itself; None when only the tool's own object can say.
    """

    tool: str
    name: str
    reverts: bool | None


def owner_of(metadata: Mapping[str, object], argo_labels: Iterable[str] = ()) -> Owner | None:
    """Who keeps an object, as its labels and annotations say; the one that reverts most eagerly first.

    Args:
        metadata: the live object's.
        argo_labels: further labels or annotations that name its Argo CD application. Argo CD can be set to track by
            a label such as ``app.kubernetes.io/instance``, which others use as well.
    """
    marks = {**_texts(metadata.get("labels")), **_texts(metadata.get("annotations"))}
    return _argo(marks, argo_labels) or _flux(marks) or _helm(marks)


def _texts(given: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in given.items()} if isinstance(given, Mapping) else {}


def _argo(marks: Mapping[str, str], argo_labels: Iterable[str]) -> Owner | None:
    if tracking := marks.get(_TRACKING, ""):
        return Owner(ARGO_CD, tracking.partition(":")[0], None)
    for label in (_INSTANCE, *argo_labels):
        if name := marks.get(label, ""):
            return Owner(ARGO_CD, name, None)
    return None


def _flux(marks: Mapping[str, str]) -> Owner | None:
    for group in _FLUX:
        if name := marks.get(f"{group}/name", ""):
            namespace = marks.get(f"{group}/namespace", "")
            alone = any(marks.get(f"{group}/{key}", "").lower() in values for key, values in _LEFT_ALONE.items())
            return Owner(FLUX, f"{namespace}/{name}" if namespace else name, not alone)
    return None


def _helm(marks: Mapping[str, str]) -> Owner | None:
    if marks.get(_MANAGED_BY) == "Helm" and (release := marks.get(_RELEASE, "")):
        return Owner(HELM, release, reverts=False)
    return None


def self_heals(application: Mapping[str, object]) -> bool:
    """Whether an Argo CD application puts changes back by itself: automated, with ``selfHeal``."""
    policy = _inner(_inner(application, "spec"), "syncPolicy")
    automated = policy.get("automated")
    if not isinstance(automated, Mapping) or automated.get("enabled") is False:
        return False
    return automated.get("selfHeal") is True


def _inner(given: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = given.get(key)
    return found if isinstance(found, Mapping) else {}
