"""What can be wrong with a catalog."""

from __future__ import annotations


class CatalogError(Exception):
    """A catalog cannot be used as asked; the text says why and what to do."""


class Missing(CatalogError):
    """A catalog does not hold a file."""


class NotTrusted(CatalogError):
    """Nobody who is trusted has signed it."""
