"""What can go wrong while matching.

MatcherError
├── LiveUnavailable      the cluster did not answer; the decision is tried again later
└── BadTable             a calibration table is not monotone or leaves 0 to 1
"""

from __future__ import annotations


class MatcherError(Exception):
    """Something went wrong while matching."""


class LiveUnavailable(MatcherError):
    """The live cluster gave no answer. A target is never guessed: the decision is tried again later."""


class BadTable(MatcherError, ValueError):
    """A calibration table that is not monotone, or that leaves the range from 0 to 1."""
