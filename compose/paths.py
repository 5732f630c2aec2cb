"""Where the stack keeps its things. The only place of this package that reads folder variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Folders:
    """The two folders of a stack: the cache of a user and the state of a checkout."""

    cache: Path
    state: Path

    @property
    def stack(self) -> Path:
        """Everything that belongs to the running servers."""
        return self.state / "stack"

    @property
    def logs(self) -> Path:
        """One log file for each server."""
        return self.stack / "logs"

    @property
    def data(self) -> Path:
        """One data folder for each server."""
        return self.stack / "data"

    @property
    def conf(self) -> Path:
        """Generated configuration, tokens and keys; readable by the user only."""
        return self.stack / "conf"

    @property
    def settings_file(self) -> Path:
        """The settings file that the product reads."""
        return self.stack / "rootmend.yaml"

    def log(self, name: str) -> Path:
        """The log file of a server."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        """Make the folders; the state holds passwords, so it is closed to others."""
        for folder in (self.stack, self.logs, self.data, self.conf):
            folder.mkdir(parents=True, exist_ok=True)
        self.stack.chmod(0o700)


def folders(state: Path | None = None, *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Folders:
    """Find the cache and the state folder: variables first, then the usual places."""
    env = os.environ if env is None else env
    cwd = Path.cwd() if cwd is None else cwd
    return Folders(cache=_cache(env), state=(state or _state(env, cwd)).resolve())


def _cache(env: Mapping[str, str]) -> Path:
    if own := env.get("ROOTMEND_CACHE"):
        return Path(own).expanduser().resolve()
    if shared := env.get("XDG_CACHE_HOME"):
        return Path(shared).expanduser().resolve() / "rootmend"
    return Path.home() / ".cache" / "rootmend"


def _state(env: Mapping[str, str], cwd: Path) -> Path:
    if own := env.get("ROOTMEND_STATE"):
        return Path(own).expanduser()
    for folder in (cwd, *cwd.parents):
        if (folder / ".rootmend").is_dir():
            return folder / ".rootmend"
    return cwd / ".rootmend"
