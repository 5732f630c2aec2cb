"""Canary secrets: values that nothing else contains, and the search for them wherever something is kept or said."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from fakes.served import TOPICS, Served
from fakes.web import Asked, Told

INPUTS = ("alerts", "events", "enriched", "rca", "run_requests")
"""Topics that others write, as they please."""

EVERY_VALUE = """
MATCH (n) WHERE any(key IN keys(n) WHERE any(part IN
  CASE WHEN valueType(n[key]) STARTS WITH 'LIST' THEN [x IN n[key] | toStringOrNull(x)]
       ELSE [toStringOrNull(n[key])] END
  WHERE part IS NOT NULL AND any(form IN $forms WHERE part CONTAINS form)))
RETURN labels(n) AS labels, n.id AS id
UNION ALL
MATCH ()-[r]->() WHERE any(key IN keys(r) WHERE any(form IN $forms WHERE toStringOrNull(r[key]) CONTAINS form))
RETURN [type(r)] AS labels, elementId(r) AS id
"""


class Canaries:
    """The secrets of one run.

    Attributes:
        known: read as ``{{ secrets.registry_config }}``; it has letters that every encoding changes.
        unknown: nobody tells the pipeline of it: a password in addresses that alerts and workloads hold.
        former: nor of this one: it is in Secrets of the cluster, which steps read, write over and put back.
    """

    def __init__(self) -> None:
        self.known = f"canary/{uuid4().hex}+k~"
        self.unknown = f"canaryx{uuid4().hex}"
        self.former = f"canaryf/{uuid4().hex}+f~"

    @property
    def address(self) -> str:
        """A connection with a password that nobody registered."""
        return f"postgres://app:{self.unknown}@db.internal/shop"

    @property
    def registry(self) -> str:
        """Credentials of the registry of the practice cluster."""
        return _docker_config(self.known)

    @property
    def former_registry(self) -> str:
        """Credentials that the registry takes no longer."""
        return _docker_config(self.former)

    def forms(self) -> dict[str, str]:
        """What to look for, by name; calculated here, and not by what masks."""
        found: dict[str, str] = {}
        for name, secret in (("known", self.known), ("unknown", self.unknown), ("former", self.former)):
            found[name] = secret
            found[f"{name} in a URL"] = quote(secret, safe="")
            found[f"{name} in hexadecimal"] = secret.encode().hex()
            for shift, once in enumerate(_in_base64(secret)):
                found[f"{name} in base64, {shift}"] = once
                found[f"{name} in base64 in a URL, {shift}"] = quote(once, safe="")
                for other, twice in enumerate(_in_base64(once)):
                    found[f"{name} in base64 of base64, {shift} {other}"] = twice
        return found


def _docker_config(password: str) -> str:
    both = base64.b64encode(f"robot:{password}".encode()).decode()
    return json.dumps({"auths": {"registry.practice.rootmend.dev": {"auth": both, "password": password}}})


def _in_base64(text: str) -> list[str]:
    """What stands in base64 of anything that has the text in it, by where the text begins."""
    return [base64.b64encode(b"x" * shift + text.encode()).decode()[4:-4] for shift in range(3)]


class Slack:
    """A fake of Slack that takes every message, and keeps it."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, asked: Asked) -> Told:
        self.said.append(f"{asked.path} {asked.body}")
        return Told(200, {"ok": True, "ts": f"1.{len(self.said)}", "channel": "C1"})


async def leaks(world: Served, canaries: Canaries, said: Iterable[str], executions: Iterable[str]) -> list[str]:
    """Where a canary is found, and in which form.

    Args:
        world: the installation: its topics, log files, Redis keys, commands, and everything in the graph.
        canaries: what to look for.
        said: chat messages.
        executions: their ids; `rb executions show` and `rb explain` are asked about some of them.
    """
    forms = canaries.forms()
    texts: dict[str, str] = {f"topic {short}": await _topic(world, short) for short in TOPICS if short not in INPUTS}
    texts |= {f"log {process.log_file.name}": process.log_file.read_text() for process in world.processes}
    texts["redis"] = repr(await world.dump())
    texts["chat"] = "\n".join(said)
    for execution in executions:
        for words in (("executions", "show", execution, "--json"), ("explain", execution)):
            answer = await world.rb(*words)
            texts[" ".join(words)] = answer.stdout + answer.stderr
    exported = world.folder / "incidents.jsonl.gz"
    await world.rb("incidents", "export", "--since", "30m", "-o", str(exported))
    texts["export"] = _unpacked(exported)
    found = [f"{place}: {name}" for place, text in texts.items() for name, form in forms.items() if form in text]
    rows = await world.query(EVERY_VALUE, forms=list(forms.values()))
    return found + [f"graph: {row['labels']} {row['id']}" for row in rows if not _given(row)]


def _given(row: Mapping[str, Any]) -> bool:
    """What the test itself wrote as KGroot does."""
    return bool({"Episodic", "Resource"} & set(row["labels"]))


async def _topic(world: Served, short: str) -> str:
    """Every message, and what is in base64 inside of it."""
    return b"\n".join(await world.raw(short)).decode("utf-8", "replace")


def _unpacked(path: Any) -> str:
    return gzip.decompress(path.read_bytes()).decode() if path.exists() else "there is no export"
