"""Fixtures of the contract suites."""

from fakes.places import place

__all__ = ["place"]
