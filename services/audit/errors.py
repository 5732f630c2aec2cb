"""What can go wrong around the audit trail.

RemediationError (executor)
└── Permanent
    ├── AuditMisconfigured    the settings of the trail cannot be used: the start stops
    ├── BookDamaged           the book of anchors ends in something that is no anchor
    └── TrailBroken           the trail does not hold, and what was asked for needs one that does
"""

from __future__ import annotations

from executor.errors import Permanent


class AuditMisconfigured(Permanent):
    """The settings of the audit trail cannot be used."""


class BookDamaged(Permanent):
    """The book of anchors ends in something that is no anchor; 'rb audit verify' says where."""


class TrailBroken(Permanent):
    """The audit trail does not hold; 'rb audit verify' tells what is wrong."""
