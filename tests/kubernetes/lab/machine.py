"""What nodes change of the machine, and what is put back after them."""

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.wait import until

BRIDGE = "tslab0"

#: A bridge without one of its own has the lowest of its ports', which changes as pods come and
#: go; those that are there then send to the old one for half a minute.
ADDRESS = "02:74:73:6c:61:62"

#: Every control group of a node is below one that begins so.
GROUP = "task-server-lab-"

#: What a kubelet sets in the kernel, and its network.
TUNED = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
)


@contextmanager
def kept(gateway: str) -> Iterator[None]:
    """Have a bridge with the address *gateway*; then leave the machine as it was."""
    files = [Path("/proc/sys") / name for name in TUNED]
    before = {path: path.read_text() for path in files if path.exists()}
    _clean()
    for words in (
        ["link", "add", BRIDGE, "address", ADDRESS, "type", "bridge"],
        ["address", "add", f"{gateway}/16", "dev", BRIDGE],
        ["link", "set", BRIDGE, "up"],
    ):
        subprocess.run(["ip", *words], check=True)
    try:
        yield
    finally:
        for path, text in before.items():
            path.write_text(text)
        _clean()


def make_group(name: str) -> str:
    """Make the control group of a node in each hierarchy; return what the kubelet calls it."""
    for top in _hierarchies():
        group = top / f"{GROUP}{name}"
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            # The first version's have none of their own.
            if (group / file).exists() and not (group / file).read_text().strip():
                with contextlib.suppress(OSError):
                    (group / file).write_text((top / file).read_text())
    return f"/{GROUP}{name}"


def _hierarchies() -> list[Path]:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [Path(words[1]) for words in mounts if words[2] in {"cgroup", "cgroup2"}]


def _clean() -> None:
    """Remove what nodes have left; those that were killed, too."""
    subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)
    # Killed processes leave their group a moment later.
    until(_without_groups, "the control groups of pods to be empty")


def _without_groups() -> bool:
    groups = [
        group
        for hierarchy in _hierarchies()
        for top in hierarchy.glob(f"{GROUP}*")
        for group in (top, *(path for path in top.rglob("*") if path.is_dir()))
    ]
    for group in sorted(groups, key=lambda path: len(path.parts), reverse=True):
        with contextlib.suppress(OSError):
            group.rmdir()
    return not any(group.exists() for group in groups)
