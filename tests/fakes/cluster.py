"""The API server in memory is part of the product (`rb test` runs on it); tests know it under this name."""

from __future__ import annotations

from services.testing.cluster import Call, MemoryCluster

FakeCluster = MemoryCluster

__all__ = ["Call", "FakeCluster"]
