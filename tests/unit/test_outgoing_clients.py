"""Every client of the network is in the table of the threat model, with its class; a new one without a row is found."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("services", "executor", "safety", "matcher", "runbooks", "cypher")
SECTION = (
    (ROOT / "docs" / "threat-model.md").read_text().partition("## Clients of the network\n")[2].partition("\n## ")[0]
)
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in SECTION.splitlines()
    if line.startswith("| ") and not line.startswith("| client")
]
CLASSES = {"runbook", "operator", "person"}
DEFINED = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
}

MAKERS = {
    "httpx": {
        "AsyncClient", "Client", "AsyncHTTPTransport", "HTTPTransport", "get", "post", "put", "patch", "delete",
        "request", "stream",
    },
    "httpcore": {"AsyncConnectionPool", "ConnectionPool", "AnyIOBackend", "SyncBackend"},
    "aiohttp": {"ClientSession", "TCPConnector", "request"},
    "slack_sdk": {"AsyncWebClient", "WebClient", "SocketModeClient", "WebhookClient", "AsyncWebhookClient"},
    "aiosmtplib": {"SMTP", "send"},
    "sqlalchemy": {"create_async_engine", "create_engine"},
    "neo4j": {"driver", "bolt_driver", "neo4j_driver"},
    "redis": {"Redis", "from_url", "RedisCluster"},
    "confluent_kafka": {"Producer", "Consumer", "AIOProducer", "AIOConsumer", "AdminClient"},
    "faststream": {"KafkaBroker"},
    "kubernetes": {"ApiClient"},
    "playwright": {"async_playwright", "sync_playwright"},
    "awscrt": {"new_default_chain"},
    "subprocess": {"run", "Popen", "check_output", "check_call", "call", "getoutput"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell", "open_connection", "open_unix_connection"},
    "socket": {"socket", "create_connection"},
}  # fmt: skip
"""What opens connections, or starts a program that may, by the library that has it."""

FOREIGN = {
    "requests", "urllib3", "http.client", "ftplib", "smtplib", "imaplib", "poplib", "telnetlib", "xmlrpc", "websockets",
    "grpc", "paramiko", "asyncssh", "boto3", "botocore", "aiobotocore", "hvac", "psycopg2", "asyncpg", "pymongo",
    "elasticsearch", "ldap3", "pika", "niquests", "pycurl", "treq", "tornado", "authlib", "msal",
}  # fmt: skip
"""Libraries that nothing uses; whoever brings one in adds it above."""


def sources():
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imported(tree):
    """Each module that is imported, with the names that it gives to the file."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                found.setdefault(one.name, set()).add((one.asname or one.name).partition(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.setdefault(node.module, set()).update(one.asname or one.name for one in node.names)
    return found


def opens(text):
    """Which ways to open a connection a file has: libraries whose makers it calls or inherits from."""
    tree = ast.parse(text)
    modules = imported(tree)
    libraries = {library for library in MAKERS if any(name.partition(".")[0] == library for name in modules)}
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            used.add(last(node.func))
        elif isinstance(node, ast.ClassDef):
            used.update(last(base) for base in node.bases)
    found = {library for library in libraries if used & MAKERS[library] and not only_http_words(library, used, tree)}
    if any(name.partition(".")[0] == "urllib" for name in modules) and "urlopen" in used:
        found.add("urllib")
    return found


def only_http_words(library, used, tree):
    """``get`` and its kin are names of much; they count where they are asked of the library itself."""
    common = {
        "httpx": {"get", "post", "put", "patch", "delete", "request", "stream"},
        "aiohttp": {"request"},
        "subprocess": {"run", "call"},
        "redis": {"from_url"},
        "aiosmtplib": {"send"},
        "neo4j": {"driver"},
    }.get(library, set())
    if used & (MAKERS[library] - common):
        return False
    return not any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in common
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {library, "AsyncGraphDatabase", "GraphDatabase", "Redis"}
        for node in ast.walk(tree)
    )


def last(node):
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def listed():
    return {place for row in ROWS for place in re.findall(r"`([\w/.]+\.py)`", row[1])}


def clients():
    return {str(path.relative_to(ROOT)) for path in sources() if opens(path.read_text())}


def test_every_client_of_the_network_has_a_row_with_its_class():
    """A client that nobody thought about is a way around the rules."""
    assert len(clients()) > 15
    assert sorted(clients() - listed()) == []


def test_every_row_stands_for_a_client_that_exists_and_says_all():
    """A row of a client that is gone, or without a class or a test, promises what nobody holds."""
    assert sorted(listed() - clients()) == []
    for row in ROWS:
        assert len(row) == 7, row
        assert row[2] in CLASSES, row
        assert all(row), row
        named = re.findall(r"`(test_\w+)`", row[6])
        assert named, row
        assert [name for name in named if name not in DEFINED] == []


def test_no_library_comes_in_that_opens_connections_unseen():
    """What is not known to this test would not be found by it."""
    for path in sources():
        names = imported(ast.parse(path.read_text()))
        assert [name for name in names if name in FOREIGN or name.partition(".")[0] in FOREIGN] == [], path


@pytest.mark.parametrize(
    "text",
    [
        "import httpx\nhttpx.get('http://x')",
        "import httpx as web\nweb.AsyncClient()",
        "from httpx import AsyncClient\nAsyncClient()",
        "def f():\n    from aiohttp import ClientSession\n    return ClientSession()",
        "from slack_sdk.web.async_client import AsyncWebClient\nclass Mine(AsyncWebClient): ...",
        "from sqlalchemy.ext.asyncio import create_async_engine\ncreate_async_engine(url)",
        "import subprocess\nsubprocess.run(['curl', url])",
        "import urllib.request\nurllib.request.urlopen(url)",
        "import asyncio\nasyncio.open_connection(host, 80)",
        "from aiosmtplib import SMTP\nSMTP(host)",
    ],
)
def test_a_new_client_is_found(text):
    """However it is imported, and also inside of a function."""
    assert opens(text)


def test_no_client_turns_the_check_of_certificates_off():
    """Neither by an option nor by a context that trusts everybody."""
    off = re.compile(
        r"verify=False|verify_mode\s*=\s*ssl\.CERT_NONE|_create_unverified_context|check_hostname\s*=\s*False"
        r"|ssl=False|validate_certs=False|follow_redirects=True"
    )
    found = [f"{path.relative_to(ROOT)}: {one[0]}" for path in sources() for one in off.finditer(path.read_text())]
    # Catalogs follow redirects: each one within the rules, and never from https to http.
    assert found == ["services/catalogs/web.py: follow_redirects=True"]
