"""The resource of a kind, so that a Role can be written without asking an API server."""

from __future__ import annotations

from executor.errors import Invalid
from services.kubernetes.builtin import RESOURCES
from services.kubernetes.kinds import KindIndex, Resource

BUILT_IN = KindIndex(RESOURCES.values())


def resource_of(word: str) -> Resource:
    """The resource of a kind; one of an extension is written ``PLURAL.GROUP`` and taken for one of namespaces.

    Raises:
        Invalid: it is no built-in kind, and names no group.
    """
    if (found := BUILT_IN.find(word)) is not None:
        return found
    plural, _, group = word.lower().partition(".")
    if not group:
        raise Invalid(f"{BUILT_IN.unknown(word)}; write a kind of an extension as PLURAL.GROUP: rollouts.argoproj.io")
    return Resource(word.partition(".")[0], plural if plural.endswith("s") else f"{plural}s", group, "", True)
