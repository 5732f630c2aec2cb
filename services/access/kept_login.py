"""The login of a person on this machine: tokens in a file that nobody else may read."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from platformdirs import user_config_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class BadLogin(Exception):
    """The file of the login cannot be used; the text says why and what to do."""


class KeptLogin(BaseModel):
    """Who logged in, and where.

    Attributes:
        issuer: of the tokens: for settings with another one they count for nothing.
        client: that they were given to.
        expires_at: seconds since 1970 at which ``id_token`` ends.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    issuer: str = Field(min_length=1)
    client: str = Field(min_length=1)
    id_token: str = Field(min_length=1, repr=False)
    refresh_token: str = Field("", repr=False)
    expires_at: float


def login_file() -> Path:
    """Where it is kept."""
    return user_config_path("rootmend") / "login.json"


def read_login(path: Path) -> KeptLogin | None:
    """The login that is kept; None when nobody is logged in.

    Raises:
        BadLogin: it was damaged, or others can read or change it.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadLogin(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        known = os.fstat(handle)
        if known.st_uid != os.geteuid():
            raise BadLogin(f"{path} belongs to another user: remove it, and log in with rb login")
        if known.st_mode & _OTHERS:
            raise BadLogin(f"{path} can be read by others, so its tokens are no proof: rb logout, then rb login")
        data = file.read()
    try:
        return KeptLogin.model_validate_json(data)
    except ValidationError as error:
        raise BadLogin(f"{path} is damaged: rb logout, then rb login") from error


def keep_login(path: Path, login: KeptLogin) -> None:
    """Write it: whole or not at all, and for its owner's eyes only from the first byte.

    Raises:
        BadLogin: it cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):
            part.unlink()
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(login.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise BadLogin(f"{path} cannot be written: {error.strerror}") from error


def forget_login(path: Path) -> bool:
    """Remove it; False when there was none.

    Raises:
        BadLogin: it cannot be removed.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise BadLogin(f"{path} cannot be removed: {error.strerror}") from error
    return True
