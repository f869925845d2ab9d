"""One cluster for all tests, and an API server of each supported version."""

import fcntl
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kubernetes import build
from tests.kubernetes.lab import node, scaler
from tests.kubernetes.lab.cluster import Cluster, running
from tests.kubernetes.lab.control import Children, Control
from tests.kubernetes.lab.kubectl import Kubectl
from tests.kubernetes.lab.room import Room
from tests.kubernetes.lab.shop import Shop, opened
from tests.support.require import Require

#: Names parts of tests/kubernetes/build.py, without which a test cannot be.
Need = Callable[..., None]

_NUMBERS = itertools.count(1)


#: How long what was lost was away: rows of a table that is printed at the end.
RECOVERIES: list[tuple[str, ...]] = []

HEAD = ("fault", "worker", "s until every task has run", "s until every pod is ready")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test, and give it the time of a small machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.kubernetes)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def need(require: Require) -> Need:
    """Have the programs of some parts."""

    def check(*names: str) -> None:
        for program in ("openssl", "setpriv"):
            if shutil.which(program) is None:
                require("kubernetes", f"there is no {program} on PATH")
        missing = [
            part.folder.name
            for part in build.parts()
            if {part.name, part.folder.name} & {*names} and not part.folder.is_dir()
        ]
        if missing:
            reason = f"{', '.join(missing)}: not built; run python tests/kubernetes/build.py"
            require("kubernetes", reason)

    return check


@pytest.fixture(scope="session", params=["newest", "oldest"])
def api_server(
    request: pytest.FixtureRequest, need: Need, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kubectl]:
    """Return kubectl of an API server of one version, which has KEDA's resources and no node."""
    versions = build.VERSIONS["kubernetes"]
    version = versions[request.param]
    # kubectl is of the newest.
    need("etcd", f"control-{version}", f"control-{versions['newest']}", "keda-kinds")
    starts = Children(tmp_path_factory.mktemp(f"api-{request.param}"))
    try:
        control = Control(starts, version)
        control.start()
        scaler.define(control.kubectl)
        yield control.kubectl
    finally:
        starts.end()


@pytest.fixture(scope="session")
def cluster(
    require: Require, need: Need, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Return the cluster, its node ready, with every image."""
    newest = f"control-{build.VERSIONS['kubernetes']['newest']}"
    need("pause", "etcd", newest, "keda-kinds", "node", "containerd")
    if os.getuid() != 0:
        require("kubernetes", "a node needs root")
    if not (node.PLUGINS / "bridge").exists():
        require("kubernetes", f"no {node.PLUGINS}/bridge; install containernetworking-plugins")
    for program in ("runc", "docker", "debootstrap"):
        if shutil.which(program) is None:
            require("kubernetes", f"there is no {program} on PATH")
    if subprocess.run(["docker", "info"], check=False, capture_output=True).returncode:
        require("kubernetes", "Docker does not answer")
    # Another run on this machine would take our bridge.
    with (build.root() / "lab.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with running(tmp_path_factory.mktemp("cluster")) as cluster:
            yield cluster


@pytest.fixture(scope="session")
def scaler_room(need: Need, cluster: Cluster) -> Iterator[Room]:
    """Return the room of KEDA, which runs."""
    need("keda")
    folder = cluster.folder / "scaler"
    folder.mkdir()
    room = Room(folder)
    try:
        scaler.install(room, cluster.control)
        yield room
    finally:
        room.end()


@pytest.fixture
def shop(cluster: Cluster, tmp_path: Path) -> Iterator[Shop]:
    """Return the shop in a namespace of its own, with its servers; nothing is applied."""
    name = f"shop-{next(_NUMBERS)}"
    with opened(cluster, name, tmp_path) as shop:
        yield shop


@pytest.fixture
def recoveries() -> list[tuple[str, ...]]:
    """Return the rows of the table."""
    return RECOVERIES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if RECOVERIES:
        terminalreporter.section("recoveries on Kubernetes")
        rows = [HEAD, *RECOVERIES]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            words = [word.ljust(width) for word, width in zip(row, widths, strict=True)]
            terminalreporter.write_line("  ".join(words).rstrip())
