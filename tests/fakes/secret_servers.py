"""Fakes of HashiCorp Vault and AWS Secrets Manager for ``fakes.web``, as far as their documentation says.

They hold what the real ones hold clients to: tokens that end, policies, versions, and signatures, which are calculated
here a second time and in another way than the product does it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fakes.web import Asked, Told


@dataclass(slots=True)
class FakeVault:
    """KV version 2 below ``secret/``, and the logins ``kubernetes`` and ``approle``.

    Attributes:
        readable: paths that the role's policies allow; None for all.
        sealed: everything is answered with 503.
        life: of a token, in seconds.
    """

    jwt: str = "service-account-jwt"
    role: str = "runbook-automation"
    role_id: str = "role-1"
    secret_id: str = "secret-id-of-approle"
    namespace: str = ""
    life: int = 3600
    sealed: bool = False
    readable: set[str] | None = None
    secrets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=set)
    logins: int = 0

    def put(self, path: str, **fields: Any) -> None:
        """A further version of a secret, at a path without ``data``."""
        self.secrets.setdefault(path, []).append(fields)

    def revoke(self) -> None:
        """Every token ends."""
        self.tokens.clear()

    def __call__(self, asked: Asked) -> Told:
        if self.sealed:
            return Told(503, {"errors": ["Vault is sealed"]})
        if (
            asked.headers.get("x-vault-request") != "true"
            or asked.headers.get("x-vault-namespace", "") != self.namespace
        ):
            return Told(412, {"errors": ["required request header missing"]})
        path = asked.path.removeprefix("/v1/")
        if path.startswith("auth/") and asked.method == "POST":
            return self._login(path, asked.data)
        if asked.headers.get("x-vault-token") not in self.tokens:
            return Told(403, {"errors": ["permission denied"]})
        return self._read(path)

    def _login(self, path: str, body: dict[str, str]) -> Told:
        if path == "auth/kubernetes/login":
            if body != {"role": self.role, "jwt": self.jwt}:
                return Told(403, {"errors": ["permission denied"]})
        elif path == "auth/approle/login":
            if body != {"role_id": self.role_id, "secret_id": self.secret_id}:
                return Told(400, {"errors": ["invalid role or secret ID"]})
        else:
            return Told(404, {"errors": ["no handler for route"]})
        self.logins += 1
        token = f"hvs.token-number-{self.logins:012}"
        self.tokens.add(token)
        return Told(200, {"auth": {"client_token": token, "lease_duration": self.life, "renewable": True}})

    def _read(self, path: str) -> Told:
        mount, _, name = path.partition("/data/")
        if mount != "secret" or not name:
            return Told(404, {"errors": []})
        if self.readable is not None and name not in self.readable:
            return Told(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
        versions = self.secrets.get(name)
        if not versions:
            return Told(404, {"errors": []})
        metadata = {
            "created_time": "2026-01-01T00:00:00.123456789Z",
            "custom_metadata": None,
            "deletion_time": "",
            "destroyed": False,
            "version": len(versions),
            **self.metadata.get(name, {}),
        }
        return Told(200, {"lease_duration": 0, "data": {"data": versions[-1], "metadata": metadata}})


@dataclass(slots=True)
class FakeAws:
    """``GetSecretValue`` of AWS Secrets Manager; requests must carry a right signature of version 4."""

    key_id: str = "AKIDEXAMPLE"
    key: str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    region: str = "eu-central-1"
    away: bool = False
    denied: set[str] = field(default_factory=set)
    secrets: dict[str, list[str]] = field(default_factory=dict)

    def put(self, name: str, text: str) -> None:
        """A further version of a secret."""
        self.secrets.setdefault(name, []).append(text)

    def __call__(self, asked: Asked) -> Told:
        if self.away:
            return self._no(503, "ServiceUnavailable", "try again")
        if asked.headers.get("x-amz-target") != "secretsmanager.GetSecretValue":
            return self._no(400, "UnknownOperationException", "")
        if problem := self._unsigned(asked):
            return self._no(400, "InvalidSignatureException", problem)
        name = asked.data["SecretId"]
        if name in self.denied:
            return self._no(400, "AccessDeniedException", f"not authorized to perform GetSecretValue on {name}")
        versions = self.secrets.get(name)
        if not versions:
            return self._no(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        return Told(200, {"Name": name, "VersionId": f"v{len(versions)}", "SecretString": versions[-1]})

    @staticmethod
    def _no(status: int, kind: str, message: str) -> Told:
        return Told(status, {"__type": f"com.amazonaws#{kind}", "message": message})

    def _unsigned(self, asked: Asked) -> str:
        """What is wrong with the signature, calculated from the documented steps."""
        given = asked.headers.get("authorization", "")
        date = asked.headers.get("x-amz-date", "")
        try:
            at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            method, rest = given.split(" ", 1)
            parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        except ValueError:
            return "no signature"
        if abs(datetime.now(UTC) - at) > timedelta(minutes=5):
            return "signature expired"
        scope = f"{date[:8]}/{self.region}/secretsmanager/aws4_request"
        if method != "AWS4-HMAC-SHA256" or parts.get("Credential") != f"{self.key_id}/{scope}":
            return "wrong credential"
        names = parts["SignedHeaders"].split(";")
        lines = "".join(f"{name}:{asked.headers[name]}\n" for name in names)
        hashed = hashlib.sha256(asked.body.encode()).hexdigest()
        request = f"{asked.method}\n{asked.path}\n\n{lines}\n{';'.join(names)}\n{hashed}"
        wanted = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.key}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        right = hmac.new(key, wanted.encode(), hashlib.sha256).hexdigest()
        return "" if hmac.compare_digest(right, parts["Signature"]) else "the signature does not match"


def as_json(**fields: str) -> str:
    """A secret with fields, as AWS holds it."""
    return json.dumps(fields)
