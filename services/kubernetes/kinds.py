"""Kinds as people write them, and where the API server keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from executor.errors import Invalid
from runbooks.findings import did_you_mean


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind that an API server serves.

    Attributes:
        group: API group; empty for the core group.
        namespaced: whether its objects live in namespaces.
        short_names: such as ``deploy``.
    """

    kind: str
    plural: str
    group: str
    version: str
    namespaced: bool
    singular: str = ""
    short_names: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """As it stands in manifests: ``v1``, ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of an object, or of the collection when ``name`` is empty.

        Raises:
            Invalid: an object of a namespaced kind is named without its namespace, or a name would be another path.
        """
        for part in (namespace, name):
            # The server has these rules as well, but a path is read by proxies before it.
            if part in {".", ".."} or any(char in part for char in "/%\\") or not part.isprintable():
                raise Invalid(f"{part[:80]!r} cannot be the name of an object: it would be another path")
        if self.namespaced and name and not namespace:
            raise Invalid(f"{self.kind} {name} needs a namespace")
        base = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace else ""
        parts = (part for part in (quote(name, safe=""), subresource) if part)
        return "/".join([f"{base}{place}/{self.plural}", *parts])

    def words(self) -> Iterator[str]:
        """Everything that people may call it, in lower case."""
        names = (self.kind, self.plural, self.singular, *self.short_names)
        for name in dict.fromkeys(name.lower() for name in names if name):
            yield name
            yield f"{name}.{self.group or 'core'}"
            yield f"{name}.{self.version}.{self.group or 'core'}"


class KindIndex:
    """Finds the resource that a word means.

    Args:
        resources: in the order of preference: where two share a word, the first wins, as in kubectl.
    """

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._by_word: dict[str, Resource] = {}
        self._by_version: dict[tuple[str, str], Resource] = {}
        for resource in resources:
            self._by_version.setdefault((resource.api_version, resource.kind.lower()), resource)
            for word in resource.words():
                self._by_word.setdefault(word, resource)

    def __len__(self) -> int:
        return len(self._by_version)

    def find(self, kind: str, api_version: str = "") -> Resource | None:
        """The resource, or None.

        Args:
            kind: ``Deployment``, ``deployments``, ``deploy``, ``deployments.apps``, in any casing.
            api_version: of a manifest, when known; its group decides between kinds of one name.
        """
        word = kind.strip().lower()
        if api_version:
            exact = self._by_version.get((api_version, word))
            group = api_version.partition("/")[0] if "/" in api_version else "core"
            return exact or self._by_word.get(f"{word}.{group}")
        return self._by_word.get(word)

    def unknown(self, kind: str, api_version: str = "") -> Invalid:
        """The error for a kind that the server does not serve."""
        words = {resource.kind for resource in self._by_word.values()}
        version = f" of {api_version}" if api_version else ""
        return Invalid(f"the cluster knows no kind {kind!r}{version}; {did_you_mean(kind, words)}")
