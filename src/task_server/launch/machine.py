"""The machine this process runs on: what its control groups allow of memory and processors."""

import os
from pathlib import Path

from task_server.launch.profiles import Machine

#: cgroup v1 has no word for "no limit"; it gives a number near 2**63.
NO_LIMIT_V1 = 1 << 60


def this_machine() -> Machine:
    """Return the processors and the memory that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        cores = float(len(os.sched_getaffinity(0)))
    else:
        cores = float(os.cpu_count() or 1)
    quota = cpu_quota()
    return Machine(cores=cores if quota is None else min(cores, quota), memory=memory_limit())


def memory_limit(
    proc: Path = Path("/proc/self"), root: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """
    Return the bytes that this process' control groups allow, the smallest of all levels.

    Args:
        proc: The folder of the process; its file `cgroup` says which groups.

        root: Where the control groups are mounted.

    Returns:
        None where there is no limit, or no control group.
    """
    limits: list[int] = []
    for folder in _folders(proc, root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            value = _read(folder / name)
            if value.isdigit() and int(value) < NO_LIMIT_V1:
                limits.append(int(value))
    return min(limits, default=None)


def cpu_quota(proc: Path = Path("/proc/self"), root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """
    Return the processors' worth of time that this process' control groups allow, such as 1.5.

    Args:
        proc: The folder of the process; its file `cgroup` says which groups.

        root: Where the control groups are mounted.

    Returns:
        None where there is no quota, or no control group.
    """
    quotas = []
    for folder in _folders(proc, root, "cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:
            quota = _read(folder / "cpu.cfs_quota_us")
            period = _read(folder / "cpu.cfs_period_us")
        # `max` in v2 and -1 in v1 mean no quota.
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _folders(proc: Path, root: Path, controller: str) -> list[Path]:
    """Return the folders of the process' group and of all groups above it, in v1 and v2."""
    folders: dict[Path, None] = {}
    for line in _read(proc / "cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            mount = root
        elif controller in controllers.split(","):
            mount = root / controllers if (root / controllers).is_dir() else root / controller
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        # In a container the path may be the host's, and only its root visible.
        for depth in range(len(parts), -1, -1):
            folders[mount.joinpath(*parts[:depth])] = None
    return list(folders)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
