"""What can go wrong with the local stack.

StackError
├── WrongUse          asked for something that does not exist
├── DownloadFailed    a file could not be fetched
│   └── HashMismatch  a fetched file is not the pinned one
├── Missing           the machine lacks a tool
├── BuildFailed       a compiler refused
├── ServerFailed      a server ended, or never answered its protocol
├── StackBusy         another `rb up` or `rb down` holds the state folder
└── EngineUnavailable the wanted engine does not answer
"""

from collections.abc import Sequence


class StackError(Exception):
    """Something about the local stack did not hold."""

    def __init__(self, what: str = "", *, log: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(what or (type(self).__doc__ or "").strip())
        self.what = str(self)
        self.log = tuple(log)
        self.hint = hint

    def as_dict(self) -> dict[str, object]:
        """The error as `--json` prints it."""
        return {"error": type(self).__name__, "what": self.what, "log": list(self.log), "hint": self.hint}


class WrongUse(StackError):
    """The command was asked for something that does not exist."""


class DownloadFailed(StackError):
    """A file could not be downloaded."""


class HashMismatch(DownloadFailed):
    """A downloaded file is not the one that the lock list names."""


class Missing(StackError):
    """The machine lacks something that the stack needs."""


class BuildFailed(StackError):
    """A program could not be built from source."""


class ServerFailed(StackError):
    """A server ended, or never answered its protocol."""


class StackBusy(StackError):
    """Another command is working on this stack."""


class EngineUnavailable(StackError):
    """The wanted engine does not answer."""
