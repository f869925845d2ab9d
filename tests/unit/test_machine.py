"""The limits of control groups, read from a tree as the kernel shows it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from task_server.launch.machine import cpu_quota, memory_limit

Tree = Callable[[str, dict[str, str]], tuple[Path, Path]]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make a process with the file `cgroup`, and the files of its groups."""

    def make(groups: str, files: dict[str, str]) -> tuple[Path, Path]:
        proc, root = tmp_path / "proc", tmp_path / "cgroup"
        proc.mkdir()
        (proc / "cgroup").write_text(groups)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return proc, root

    return make


def test_v2_takes_the_smallest_limit_up_the_tree(tree: Tree) -> None:
    """
    A unit may be unlimited in a slice that is not.
    """
    paths = tree(
        "0::/app.slice/w.service\n",
        {
            "app.slice/memory.max": "2147483648\n",
            "app.slice/w.service/memory.max": "max\n",
            "app.slice/cpu.max": "150000 100000\n",
            "app.slice/w.service/cpu.max": "max 100000\n",
        },
    )

    assert (2147483648, 1.5) == (memory_limit(*paths), cpu_quota(*paths))


def test_v2_in_a_container_sees_its_own_group_as_the_root(tree: Tree) -> None:
    """
    The path is `/`, or one of the host's that is not there.
    """
    paths = tree("0::/../../host/path\n", {"memory.max": "1048576\n", "cpu.max": "50000 100000"})

    assert (1048576, 0.5) == (memory_limit(*paths), cpu_quota(*paths))


def test_v1_has_a_tree_for_each_controller(tree: Tree) -> None:
    """
    Controllers may share a tree; a number near 2**63 is no limit.
    """
    paths = tree(
        "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
        {
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/docker/abc/memory.limit_in_bytes": "536870912\n",
            "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "200000\n",
            "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )

    assert (536870912, 2.0) == (memory_limit(*paths), cpu_quota(*paths))


@pytest.mark.parametrize("groups", ["", "0::/\n", "5:memory:/x\n", "nonsense"])
def test_without_a_limit_there_is_none(tree: Tree, groups: str) -> None:
    """
    A machine without control groups allows what it has.
    """
    paths = tree(groups, {"memory.max": "max\n"})

    assert (None, None) == (memory_limit(*paths), cpu_quota(*paths))
