"""How many names a gevent worker resolves at once, as a name server of the test's own sees it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import Worker

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]

#: Starts what follows with a loopback and a resolv.conf of its own; Redis is a unix socket.
APART = (
    *("unshare", "--net", "--mount", "sh", "-c"),
    'ip link set lo up && mount --bind "$RESOLV" /etc/resolv.conf && "$@"',
    "sh",
)

#: The worker and its name server are in the same network.
BOTH = """
"$PYTHON" -m tests.support.name_server "$NAMES" > "$ASKED" &
server=$!
trap 'kill $server' EXIT
"$@"
"""


@pytest.fixture
def asking(
    folder: Path, broker: Redis, start: Callable[..., Worker], require: Any
) -> Callable[..., list[int]]:
    """Return how many names waited for an answer, each time that some were answered."""
    resolv = folder / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\noptions timeout:60 attempts:1\n")
    tried = subprocess.run(
        [*APART, "true"],
        env={**os.environ, "RESOLV": str(resolv)},
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode:
        require("netns", f"root, unshare and iproute2 are needed: {tried.stderr}")
    asked = folder / "asked"

    def waiting(names: int, **settings: Any) -> list[int]:
        worker = start(
            "gevent",
            app="naming",
            under=(*APART, "sh", "-c", BOTH, "sh"),
            environ={
                "RESOLV": str(resolv),
                "ASKED": str(asked),
                "NAMES": str(names),
                "PYTHON": sys.executable,
                "PYTHONPATH": str(ROOT),
            },
            broker_url=f"redis+socket://{broker.path}",
            **settings,
        )
        worker.hear("READY=1")
        sender = Celery("naming", broker=broker.url)
        for number in range(names):
            sender.send_task("naming.resolve", [f"host-{number}.test"], ignore_result=True)
        sender.close()
        until(lambda: len(worker.log.read_text().splitlines()) == names, seconds=60)
        assert {"127.0.0.1"} == {line.split()[1] for line in worker.log.read_text().splitlines()}
        return [int(line) for line in asked.read_text().split() if line != "ready"]

    return waiting


def test_names_are_resolved_for_all_tasks_at_once(asking: Callable[..., list[int]]) -> None:
    """
    The questions of 200 tasks wait for their answers at the same time.
    """
    assert [200] == asking(200, concurrency=256)


def test_no_more_than_the_operator_says(asking: Callable[..., list[int]]) -> None:
    """
    With ten threads, gevent's own number, ten names are asked for at once.
    """
    assert [10, 10] == asking(20, concurrency=64, resolver_threads=10)
