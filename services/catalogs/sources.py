"""Where catalogs are: Git, OCI, an archive, or files over HTTP. Each gives bytes by path and promises nothing more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from services.catalogs import git, oci
from services.catalogs.archive import MAX_ARCHIVE, unpack
from services.catalogs.errors import CatalogError, Missing
from services.catalogs.index import INDEX, MAX_INDEX
from services.catalogs.web import get, open_client

ARCHIVES = (".tar.gz", ".tgz")
_EXPECTED = (
    "expected a Git repository (URL or path), oci://REGISTRY/NAME[:TAG], an OCI layout folder, "
    "an archive (.tar.gz, path or URL), or the URL of an index.json"
)


class Source(Protocol):
    """A catalog that was opened."""

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of a file.

        Raises:
            Missing: there is none.
            CatalogError: it cannot be read, or is larger than the limit.
        """
        ...


class Files:
    """A catalog whose files are all at hand."""

    def __init__(self, files: Mapping[str, bytes], where: str) -> None:
        self._files = files
        self._where = where

    def read(self, path: str, limit: int) -> bytes:
        """See the port."""
        if path not in self._files:
            raise Missing(f"{self._where} holds no {path}")
        if len(self._files[path]) > limit:
            raise CatalogError(f"{self._where}: {path} is larger than {limit} bytes")
        return self._files[path]


class Served:
    """An index on a web server, with its files beside it."""

    def __init__(self, client: httpx.Client, index_url: str) -> None:
        self._client = client
        self._base = index_url.removesuffix(INDEX)

    def read(self, path: str, limit: int) -> bytes:
        """See the port."""
        return get(self._client, self._base + path, limit)


@contextmanager
def opened(url: str) -> Iterator[Source]:
    """A catalog by its address.

    Raises:
        CatalogError: it cannot be reached or read.
    """
    if url.startswith("oci://"):
        with open_client(url) as client:
            yield Files(unpack(oci.pull(client, url), url), url)
    elif git.is_repository(url):
        with git.cloned(url) as repository:
            yield repository
    elif urlsplit(url).scheme in {"http", "https"}:
        with open_client(url) as client:
            yield _over_http(client, url)
    else:
        yield _on_disk(url)


def _over_http(client: httpx.Client, url: str) -> Source:
    path = urlsplit(url).path
    if path.endswith(ARCHIVES):
        return Files(unpack(get(client, url, MAX_ARCHIVE), url), url)
    if path.endswith(f"/{INDEX}"):
        return Served(client, url)
    raise CatalogError(f"{url} is no catalog: {_EXPECTED}")


def _on_disk(url: str) -> Source:
    path = Path(url.removeprefix("file://")).expanduser()
    name, colon, tag = str(path).rpartition(":")
    if oci.is_layout(path):
        return Files(unpack(oci.from_layout(path, ""), url), url)
    if colon and oci.is_layout(Path(name)):
        return Files(unpack(oci.from_layout(Path(name), tag), url), url)
    if path.name.endswith(ARCHIVES):
        return Files(unpack(_bytes(path), url), url)
    raise CatalogError(f"{url} is no catalog: {_EXPECTED}")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_ARCHIVE + 1)
    except OSError as error:
        raise CatalogError(f"{path} cannot be read: {error.strerror}") from error


def index_bytes(source: Source) -> bytes:
    """The index of a catalog as it stands."""
    return source.read(INDEX, MAX_INDEX)
