"""Kubeconfig files: one for each account, never one file with more rights than its user needs."""

import base64
import json
from pathlib import Path

import yaml

from compose.state import write_private

CONTEXT = "rootmend-practice"
ADMIN_CONTEXT = "rootmend-practice-admin"


def render(*, server: str, authority: Path, token: str, context: str, namespace: str = "default") -> str:
    """A kubeconfig with one context, which is the current one."""
    authority_data = base64.b64encode(authority.read_bytes()).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": authority_data}}],
        "users": [{"name": context, "user": {"token": token}}],
        "contexts": [
            {"name": context, "context": {"cluster": CONTEXT, "user": context, "namespace": namespace}},
        ],
        "current-context": context,
    }
    return yaml.safe_dump(content, sort_keys=False)


def write(path: Path, *, server: str, authority: Path, token: str, context: str) -> None:
    """Write a kubeconfig for its user only, unless it is that already."""
    text = render(server=server, authority=authority, token=token, context=context)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_private(path, text)


def token_of(path: Path) -> str | None:
    """The token in a kubeconfig that this module wrote."""
    try:
        return str(yaml.safe_load(path.read_text(encoding="utf-8"))["users"][0]["user"]["token"])
    except (OSError, KeyError, IndexError, TypeError, yaml.YAMLError):
        return None


def expires_at(token: str) -> float:
    """When a service account token ends, in seconds since 1970; 0 when it cannot be read."""
    try:
        body = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
    except (IndexError, KeyError, ValueError):
        return 0.0
