"""A catalog as an OCI artifact: one layer with the archive, in a registry or in a layout folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from services.catalogs.archive import MAX_ARCHIVE
from services.catalogs.errors import CatalogError
from services.catalogs.web import get, own_auth

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ARTIFACT = "application/vnd.rootmend.catalog.v1"
LAYER = "application/vnd.rootmend.catalog.v1.tar+gzip"
_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_MAX_MANIFEST = 1_000_000
_REFERENCE = re.compile(
    r"^oci://(?P<host>[A-Za-z0-9.-]+(:\d+)?)/(?P<name>[a-z0-9]+([._/-]+[a-z0-9]+)*)"
    r"(:(?P<tag>\w[\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?$"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_LOCAL = ("127.0.0.1", "localhost")
_UNAUTHORIZED, _CREATED, _ACCEPTED = 401, 201, 202
_TAG_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Reference:
    """An artifact in a registry."""

    host: str
    name: str
    reference: str

    @property
    def base(self) -> str:
        """Where its API is; plain HTTP only on this machine."""
        scheme = "http" if self.host.partition(":")[0] in _LOCAL else "https"
        return f"{scheme}://{self.host}/v2/{self.name}"


def read_reference(url: str) -> Reference:
    """An address of an artifact.

    Raises:
        CatalogError: it is none.
    """
    found = _REFERENCE.match(url)
    if found is None:
        raise CatalogError(f"{url!r:.200} is no OCI address: expected oci://REGISTRY/NAME[:TAG][@sha256:...]")
    return Reference(found["host"], found["name"], found["digest"] or found["tag"] or "latest")


def manifest_of(archive: bytes) -> bytes:
    """The manifest of an archive; the same archive gives the same bytes."""
    layer = {"mediaType": LAYER, "digest": digest(archive), "size": len(archive)}
    config = {"mediaType": _EMPTY_TYPE, "digest": digest(_EMPTY), "size": len(_EMPTY)}
    told = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": ARTIFACT, "config": config, "layers": [layer]}
    return json.dumps(told, sort_keys=True).encode()


def digest(data: bytes) -> str:
    """The digest of some bytes, as OCI writes it."""
    return f"sha256:{sha256(data).hexdigest()}"


def layer_of(manifest: bytes, where: str) -> tuple[str, int]:
    """Digest and size of the archive that a manifest names.

    Raises:
        CatalogError: it is no manifest of a catalog.
    """
    told = _json(manifest, where)
    layers = [one for one in told.get("layers") or () if isinstance(one, dict) and one.get("mediaType") == LAYER]
    if len(layers) != 1 or not isinstance(layers[0].get("size"), int):
        raise CatalogError(f"{where} is no catalog: its manifest names no single layer of type {LAYER}")
    if layers[0]["size"] > MAX_ARCHIVE:
        raise CatalogError(f"{where} is larger than {MAX_ARCHIVE} bytes")
    return str(layers[0].get("digest")), layers[0]["size"]


def _json(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        told = json.loads(data)
    except ValueError as error:
        raise CatalogError(f"{where}: what should be JSON is not") from error
    if not isinstance(told, dict):
        raise CatalogError(f"{where}: what should be a manifest is not")
    return told


def _checked(data: bytes, wanted: str, where: str) -> bytes:
    if digest(data) != wanted:
        raise CatalogError(f"{where}: the content does not have its digest {wanted}: it was changed or cut short")
    return data


# Layout folders


def is_layout(path: Path) -> bool:
    """Whether a folder is an OCI layout."""
    return (path / "oci-layout").is_file()


def to_layout(path: Path, archive: bytes, tag: str) -> None:
    """Write an archive into a layout folder, under a tag; what the folder holds otherwise is kept."""
    manifest = manifest_of(archive)
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    for blob in (archive, manifest, _EMPTY):
        (blobs / sha256(blob).hexdigest()).write_bytes(blob)
    index = path / "index.json"
    known = _json(index.read_bytes(), str(index)).get("manifests", []) if index.is_file() else []
    own = {
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "digest": digest(manifest),
        "size": len(manifest),
        "annotations": {_TAG_NAME: tag},
    }
    kept = [one for one in known if (one.get("annotations") or {}).get(_TAG_NAME) != tag]
    told = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*kept, own]}
    index.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n")
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}\n')


def from_layout(path: Path, tag: str) -> bytes:
    """The archive in a layout folder; without a tag the only one, or ``latest``.

    Raises:
        CatalogError: there is none, or it was changed.
    """
    where = str(path)
    listed = _json(_blob(path / "index.json", _MAX_MANIFEST, where), where).get("manifests") or []
    tags = {(one.get("annotations") or {}).get(_TAG_NAME, ""): str(one.get("digest")) for one in listed}
    chosen = tags.get(tag or "latest") or (next(iter(tags.values())) if len(tags) == 1 and not tag else None)
    if chosen is None:
        raise CatalogError(f"{where} holds no tag {tag or 'latest'}; it has {', '.join(sorted(tags)) or 'none'}")
    layer, size = layer_of(_layout_blob(path, chosen, _MAX_MANIFEST), where)
    return _layout_blob(path, layer, size)


def _layout_blob(path: Path, wanted: str, limit: int) -> bytes:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", wanted):
        raise CatalogError(f"{path} names {wanted!r:.100}, which is no digest")
    return _checked(_blob(path / "blobs" / "sha256" / wanted[7:], limit, str(path)), wanted, str(path))


def _blob(path: Path, limit: int, where: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise CatalogError(f"{where}: {path.name} cannot be read: {error.strerror}") from error


# Registries


def pull(client: httpx.Client, url: str) -> bytes:
    """The archive of an artifact in a registry.

    Raises:
        CatalogError: it is not there, or was changed.
    """
    reference = read_reference(url)
    headers = authorised(client, reference, "pull")
    accept = {**headers, "Accept": MANIFEST}
    manifest = get(client, f"{reference.base}/manifests/{reference.reference}", _MAX_MANIFEST, accept)
    if reference.reference.startswith("sha256:"):
        _checked(manifest, reference.reference, url)
    layer, size = layer_of(manifest, url)
    return _checked(get(client, f"{reference.base}/blobs/{layer}", size, headers), layer, url)


def push(client: httpx.Client, url: str, archive: bytes) -> str:
    """Write an archive into a registry; gives the digest of its manifest.

    Raises:
        CatalogError: the registry does not take it.
    """
    reference = read_reference(url)
    headers = authorised(client, reference, "pull,push")
    for blob in (_EMPTY, archive):
        _upload(client, reference, blob, headers)
    manifest = manifest_of(archive)
    target = f"{reference.base}/manifests/{reference.reference}"
    typed = {**headers, "Content-Type": MANIFEST}
    _sent(client, client.build_request("PUT", target, headers=typed, content=manifest), _CREATED)
    return digest(manifest)


def authorised(client: httpx.Client, reference: Reference, scope: str) -> dict[str, str]:
    """Headers with which a registry lets us in: none, or a token that it hands out for the user's credentials."""
    try:
        answer = client.get(f"{reference.base}/tags/list")
    except httpx.HTTPError as error:
        raise CatalogError(f"{reference.host} does not answer: {error or type(error).__name__}") from error
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status_code != _UNAUTHORIZED or not challenge.lower().startswith("bearer "):
        return {}
    told = dict(_CHALLENGE.findall(challenge))
    asked = {"service": told.get("service", ""), "scope": f"repository:{reference.name}:{scope}"}
    realm = told.get("realm", "")
    if not realm.startswith(("https://", *(f"http://{host}" for host in _LOCAL))):
        raise CatalogError(f"{reference.host} sends us to {realm!r:.100} for a token, which is not encrypted")
    given = _json(get(client, str(httpx.URL(realm, params=asked)), _MAX_MANIFEST), realm)
    token = given.get("token") or given.get("access_token")
    if not isinstance(token, str):
        raise CatalogError(f"{realm} gave no token for {reference.name}")
    return {"Authorization": f"Bearer {token}"}


def _upload(client: httpx.Client, reference: Reference, blob: bytes, headers: Mapping[str, str]) -> None:
    uploads = f"{reference.base}/blobs/uploads/"
    begun = _sent(client, client.build_request("POST", uploads, headers=dict(headers)), _ACCEPTED)
    place = httpx.URL(urljoin(uploads, begun.headers.get("Location", "")))
    place = place.copy_merge_params({"digest": digest(blob)})
    typed = {**headers, "Content-Type": "application/octet-stream"}
    _sent(client, client.build_request("PUT", place, headers=typed, content=blob), _CREATED)


def _sent(client: httpx.Client, request: httpx.Request, wanted: int) -> httpx.Response:
    url = request.url
    try:
        answer = client.send(request, **own_auth(request.headers))
    except httpx.HTTPError as error:
        raise CatalogError(f"{url} does not answer: {error or type(error).__name__}") from error
    if answer.status_code != wanted:
        raise CatalogError(f"{url} does not take it: HTTP {answer.status_code} {answer.text[:200]}")
    return answer
