"""Reading and checking files of policies, and following them while they change."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
from pydantic import ValidationError

from runbooks.findings import Finding, RunbookError, Severity, did_you_mean, errors_of
from runbooks.kept_files import KeptFiles, content_of
from runbooks.rules import finding
from runbooks.shape import shape_findings
from runbooks.yaml_source import Source, parse_yaml
from safety.policies import LIMIT, Policy, PolicySet, clashes, limits_of_policies, looser
from safety.policy import PolicySettings
from safety.trail import EntryKind
from services.changes.telling import FilesInForce
from services.config_files import ConfigError
from services.policies.model import PoliciesFile, PolicyModel

log = structlog.get_logger(__name__)

NAME = "policies"
_VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Terms:
    """What policies are checked against.

    Attributes:
        settings: the gate's own limits.
        loosen: limits that a policy may make looser than those.
    """

    settings: PolicySettings = field(default_factory=PolicySettings)
    loosen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A file that can be used: its policies with the place of each, and the SHA-256 of its bytes."""

    path: Path | None
    policies: tuple[Policy, ...]
    sha: str = ""


def load_policies(text: str | bytes, terms: Terms, path: Path | None = None) -> PolicyFile:
    """Read a text with policies.

    Raises:
        RunbookError: it cannot be used; holds every finding.
    """
    try:
        source = parse_yaml(text)
        content = _validated(source)
        found = tuple(_own_findings(content, source, terms))
    except RunbookError as error:
        raise RunbookError([one.at(path) for one in error.findings]) from error
    if errors_of(found):
        raise RunbookError([one.at(path) for one in found])
    policies = tuple(
        one.as_policy(version_of(one), f"{path or '<policies>'}:{_line(source, number)}")
        for number, one in enumerate(content.policies)
    )
    return PolicyFile(path, policies, hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest())


def version_of(policy: PolicyModel) -> str:
    """Hash of what a policy says; its layout, and its neighbours in the file, do not count."""
    told = policy.model_dump_json(exclude={"description"}, exclude_unset=True)
    return hashlib.sha256(told.encode()).hexdigest()[:_VERSION_DIGITS]


def _line(source: Source, number: int) -> int:
    return source.keys.get(("policies", number), (1, 1))[0]


def _validated(source: Source) -> PoliciesFile:
    if not isinstance(source.value, dict):
        raise RunbookError([finding("RB101", "the file is not a mapping", advice="start with policies:")])
    try:
        return PoliciesFile.model_validate(source.value)
    except ValidationError as error:
        raise RunbookError([*source.findings, *shape_findings(error, source, (), PoliciesFile)]) from error


def _own_findings(content: PoliciesFile, source: Source, terms: Terms) -> Iterator[Finding]:
    """What is wrong with each policy by itself."""
    for number, policy in enumerate(content.policies):
        path = ("policies", number)
        gives = policy.gives()
        if not gives and not policy.freezes:
            yield _wrong("PO101", f"policy {policy.id} decides nothing", source, path, "give it a limit, deny, ...")
        limits = {name.removeprefix(LIMIT): value for name, value in gives.items() if name.startswith(LIMIT)}
        try:
            replace(terms.settings, **limits)
        except ValueError as error:
            yield _wrong("PO102", f"policy {policy.id}: {error}", source, (*path, "limits"))
            continue
        for name, value in limits.items():
            own = getattr(terms.settings, name)
            if looser(name, value, own) and name not in terms.loosen:
                message = f"policy {policy.id}: {name} {_told(value)} is looser than that of the settings, {_told(own)}"
                advice = f"make it stricter, or allow it with policies.loosen: [{name}]"
                yield _wrong("PO103", message, source, (*path, "limits", name), advice)


def _told(value: object) -> str:
    return "[" + ", ".join(value) + "]" if isinstance(value, tuple) else "none" if value is None else f"{value}"


def _wrong(code: str, message: str, source: Source, path: tuple[str | int, ...], advice: str = "") -> Finding:
    here = path
    while here and here not in source.keys:
        here = here[:-1]
    return Finding(code, Severity.ERROR, message, advice, None, *source.keys.get(here, (1, 1)))


def check_together(policies: Sequence[Policy]) -> Iterator[Finding]:
    """What is wrong with policies beside each other: two of one name, two that could contradict each other."""
    first: dict[str, Policy] = {}
    for policy in policies:
        if (known := first.setdefault(policy.id, policy)) is not policy:
            yield _at(policy, "PO201", f"policy {policy.id} is also in {known.place}", "give each an id of its own")
    for clash in clashes([*first.values()]):
        names = ", ".join(clash.fields)
        one, other = f"{clash.one.id} ({clash.one.place})", clash.other.id
        message = f"policies {one} and {other} are equally specific, and both decide {names}"
        yield _at(clash.other, "PO202", message, "say more in the scope of one, or give it a priority")


def _at(policy: Policy, code: str, message: str, advice: str) -> Finding:
    path, _, line = policy.place.rpartition(":")
    return Finding(code, Severity.ERROR, message, advice, Path(path), int(line))


def policy_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files under these paths: files as they are named, of folders every .yaml and .yml file."""
    for path in paths:
        if path.is_dir():
            yield from sorted(one for one in path.rglob("*") if one.suffix in {".yaml", ".yml"} and one.is_file())
        else:
            yield path


def read_policies(path: Path, terms: Terms) -> PolicyFile:
    """Read a file of policies.

    Raises:
        RunbookError: it cannot be read or used.
    """
    return load_policies(content_of(path), terms, path)


def load_set(paths: Iterable[Path], terms: Terms) -> tuple[PolicySet, tuple[Finding, ...]]:
    """Every policy under these paths, and everything that is wrong; the set holds what can be used."""
    loaded: list[Policy] = []
    found: list[Finding] = []
    for path in policy_files(paths):
        try:
            loaded += read_policies(path, terms).policies
        except RunbookError as error:
            found += error.findings
    found += check_together(loaded)
    return PolicySet(loaded, terms.settings), tuple(found)


class PolicyFiles:
    """Policies that may change while they are used: a bad file keeps its last good version, loudly.

    Args:
        paths: files and folders.
        terms: what they are checked against.
    """

    def __init__(self, paths: Sequence[Path], terms: Terms) -> None:
        self._paths = tuple(paths)
        self._terms = terms
        self._kept = KeptFiles(lambda path: read_policies(path, terms))
        self._together: tuple[Finding, ...] = ()
        self._current = PolicySet((), terms.settings)
        self._in_force = FilesInForce(NAME, EntryKind.POLICY_CHANGED, {})

    @property
    def in_force(self) -> FilesInForce:
        """The files behind the policies in force; the same object until they change."""
        return self._in_force

    @property
    def current(self) -> PolicySet:
        """The policies in force."""
        return self._current

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What is wrong with the files as they are now."""
        return (*self._kept.errors, *self._together)

    def load(self) -> None:
        """Read the policies for the first time.

        Raises:
            ConfigError: one of them cannot be used; nothing starts with half of its policies.
        """
        self.reload()
        if self.errors:
            raise ConfigError(tuple(f"policies: {one}" for one in self.errors))

    def reload(self) -> bool:
        """Read what changed; gives whether anything did."""
        if not self._kept.reload(policy_files(self._paths)):
            return False
        files = self._kept.good
        good = [policy for file in files for policy in file.policies]
        self._together = tuple(check_together(good))
        if not self._together:
            self._current = PolicySet(good, self._terms.settings)
            self._in_force = self._named(files)
        return True

    def _named(self, files: Sequence[PolicyFile]) -> FilesInForce:
        """The files by names that are the same wherever the folders are; of two with one name both count."""
        hashes: dict[str, str] = {}
        paths: dict[str, Path] = {}
        for file in files:
            if file.path is None:
                continue
            folder = next((one for one in self._paths if one in file.path.parents), file.path.parent)
            name = file.path.relative_to(folder).as_posix()
            while name in hashes:
                name += "+"
            hashes[name], paths[name] = file.sha, file.path
        return FilesInForce(NAME, EntryKind.POLICY_CHANGED, hashes, paths)

    async def follow(self) -> None:
        """Take changed files into force, and say what was refused. A duty of the sweeper."""
        if await asyncio.to_thread(self.reload):
            self.tell()

    def tell(self) -> None:
        """Say which policies are in force, and what is wrong with the files."""
        for wrong in self.errors:
            log.error("policies.rejected", why=str(wrong), kept="the last good version stays in force")
        told = [f"{policy.id}@{policy.version}" for policy in self._current.policies]
        log.info("policies.loaded", count=len(told), policies=told)


def unknown_limits(names: Iterable[str]) -> Iterator[str]:
    """What to say of names that are no limits a policy can give."""
    known = limits_of_policies()
    for name in names:
        if name not in known:
            yield f"{name} is no limit that policies give; {did_you_mean(name, known)}"
