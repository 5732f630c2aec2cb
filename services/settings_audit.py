"""Settings of the audit trail."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from services.settings_base import FilePath, Group, Texts


class Audit(Group):
    """The audit trail: it is always written; here is where its anchors go, outside the graph."""

    folder: FilePath = Field(
        Path("~/.local/state/rootmend/audit"),
        description="Holds the book of anchors, `anchors.jsonl`; out of reach of who can write to the graph",
    )
    key_file: FilePath | None = Field(
        None, description="Ed25519 key in PEM that signs anchors; left out, one is made in the folder"
    )
    trusted_keys: Texts = Field(
        (), description="Further public keys whose anchors count: of other hosts, and former ones"
    )
    anchor_seconds: float = Field(10.0, gt=0, le=3600, description="Between two anchors; what is newer can be cut off")
    topic: str = Field("", description="Kafka topic that anchors are written to as well, for archives; empty: none")

    @property
    def book(self) -> Path:
        """The file of anchors."""
        return self.folder.expanduser() / "anchors.jsonl"

    @property
    def key(self) -> Path:
        """The file of the key."""
        return self.key_file or self.folder.expanduser() / "signing-key.pem"
