"""What goes wrong before a permission can be looked at.

AccessFailure
├── Unauthenticated     nobody is proven: no token, or one that does not hold
└── IdentityUnavailable whoever has to vouch does not answer; nobody is let in meanwhile
"""

from __future__ import annotations


class AccessFailure(Exception):
    """The identity of the caller is not proven."""


class Unauthenticated(AccessFailure):
    """No token, or one that does not hold. The message never repeats the token."""


class IdentityUnavailable(AccessFailure):
    """The provider, the API server or the graph does not answer; try again later."""
