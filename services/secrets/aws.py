"""Secrets in AWS Secrets Manager. Credentials and signatures come from the AWS Common Runtime, the call goes by httpx.

boto3 would hold the date library of the Kubernetes client back by a major version, and blocks.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx

from executor.errors import MissingSecret, NotConfigured, RemediationError, Unavailable
from services.secrets.model import Fetched, json_object

if TYPE_CHECKING:
    from awscrt.auth import AwsCredentialsProvider

NAME = "aws-secrets-manager"
_SERVICE = "secretsmanager"
_TARGET = "secretsmanager.GetSecretValue"
_OK, _SERVER_ERROR = 200, 500
_MISSING = frozenset({"ResourceNotFoundException"})
_DENIED = frozenset(
    {
        "AccessDeniedException",
        "DecryptionFailure",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidParameterException",
        "InvalidRequestException",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "ValidationException",
    }
)
_CREDENTIALS_SECONDS = 10.0
_MAX_BYTES = 2 * 1024 * 1024
_PHASES = 3
"""Connecting, sending, waiting: together they may take as many times the time limit, however slowly data drips."""


class AwsSecrets:
    """Implements ``services.secrets.model.Provider``. The path is the name or ARN of a secret.

    A secret that is a JSON object has its fields; any other has the one value without a name.

    Args:
        region: such as ``eu-central-1``.
        endpoint: empty for the region's own.
        timeout_seconds: for one answer.
        transport: for tests; None speaks to the network.

    Raises:
        NotConfigured: the extra ``rootmend[aws]`` is not installed.
    """

    name = NAME

    def __init__(
        self,
        region: str,
        *,
        endpoint: str = "",
        timeout_seconds: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        try:
            import awscrt.auth  # noqa: F401, PLC0415 - an extra, and only these installations load it
        except ImportError as error:
            raise NotConfigured("AWS Secrets Manager needs the extra: install rootmend[aws]") from error
        self._region = region
        self._url = endpoint or f"https://{_SERVICE}.{region}.amazonaws.com"
        self._client = httpx.AsyncClient(
            timeout=timeout_seconds, verify=ssl.create_default_context(), transport=transport, follow_redirects=False
        )
        self._seconds = timeout_seconds * _PHASES
        self._chain: AwsCredentialsProvider | None = None

    async def close(self) -> None:
        """Forget the credentials and close the connections."""
        self._chain = None
        await self._client.aclose()

    async def fetch(self, path: str) -> Fetched:
        """The current version of a secret; errors as the port says."""
        body = json.dumps({"SecretId": path}).encode()
        headers = await self._signed(body)
        try:
            async with asyncio.timeout(self._seconds):
                status, content = await self._asked(body, headers, path)
        except (httpx.HTTPError, TimeoutError) as error:
            told = str(error) or type(error).__name__
            raise Unavailable(f"AWS Secrets Manager in {self._region} does not answer: {told}") from error
        answer = json_object(content)
        if status != _OK:
            raise _refusal(status, answer, path)
        return Fetched(_values(answer), str(answer.get("VersionId", "")))

    async def _asked(self, body: bytes, headers: Mapping[str, str], path: str) -> tuple[int, bytes]:
        async with self._client.stream("POST", self._url, content=body, headers=headers) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise NotConfigured(f"the answer of AWS about {path} is longer than {_MAX_BYTES} bytes")
            return response.status_code, bytes(content)

    async def _signed(self, body: bytes) -> dict[str, str]:
        """The headers of the call, with its signature of version 4."""
        from awscrt.auth import AwsCredentialsProvider, AwsSigningConfig, aws_sign_request  # noqa: PLC0415 - as above
        from awscrt.exceptions import AwsCrtError  # noqa: PLC0415 - as above
        from awscrt.http import HttpHeaders, HttpRequest  # noqa: PLC0415 - as above
        from awscrt.io import InputStream  # noqa: PLC0415 - as above

        url = httpx.URL(self._url)
        headers = {
            "Host": url.netloc.decode(),
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Target": _TARGET,
        }
        try:
            if self._chain is None:
                self._chain = AwsCredentialsProvider.new_default_chain()
            async with asyncio.timeout(_CREDENTIALS_SECONDS):
                known = await asyncio.wrap_future(self._chain.get_credentials())
            signing = AwsSigningConfig(
                credentials_provider=AwsCredentialsProvider.new_static(
                    known.access_key_id, known.secret_access_key, known.session_token
                ),
                region=self._region,
                service=_SERVICE,
                date=datetime.now(UTC),
            )
            wanted = HttpRequest("POST", "/", HttpHeaders(list(headers.items())), InputStream(io.BytesIO(body)))
            signed = await asyncio.wrap_future(aws_sign_request(wanted, signing))
        except TimeoutError as error:
            raise Unavailable(f"AWS gave no credentials within {_CREDENTIALS_SECONDS:g} s") from error
        except AwsCrtError as error:
            raise NotConfigured(f"AWS gave no credentials: {error.message or error.name}") from error
        return dict(signed.headers)


def _refusal(status: int, answer: Mapping[str, Any], path: str) -> RemediationError:
    kind = str(answer.get("__type", "")).rpartition("#")[2] or str(status)
    said = str(answer.get("message") or answer.get("Message") or "")[:300]
    if kind in _MISSING or "marked for deletion" in said or "marked deleted" in said:
        return MissingSecret(f"AWS Secrets Manager has no secret {path}: {said}")
    if kind in _DENIED or (status < _SERVER_ERROR and status in (401, 403)):
        return NotConfigured(f"AWS Secrets Manager refuses {path}: {kind} {said}".rstrip())
    return Unavailable(f"AWS Secrets Manager answered {status} about {path}: {kind} {said}".rstrip())


def _values(answer: Mapping[str, Any]) -> dict[str, str]:
    text = answer.get("SecretString")
    if not isinstance(text, str):
        try:
            text = base64.b64decode(answer.get("SecretBinary") or "").decode()
        except ValueError:
            raise NotConfigured(f"the secret {answer.get('Name', '')} is binary and no text") from None
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        return {"": text}
    named = {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
    return {"": text, **named}
