"""What can be wrong with signatures of runbooks."""

from __future__ import annotations


class SigningError(Exception):
    """Runbooks cannot be signed or checked as asked; the text says why and what to do."""
