"""Outgoing HTTP for tests: their servers are on this machine, which the product refuses to call unless told."""

from __future__ import annotations

from typing import Any

from compose.addresses import LOOPBACK
from services.http_client import HttpClient
from services.outgoing.rules import Rules, rules_of


def nearby() -> Rules:
    """The rules of the product, with the machine itself as the exception."""
    return rules_of(LOOPBACK)


def nearby_client(**options: Any) -> HttpClient:
    """The product's client, which may call servers on this machine."""
    return HttpClient(nearby(), **options)
