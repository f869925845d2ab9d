"""Everything that kills workers grants the margin beyond the drain, the same everywhere."""

import re
from pathlib import Path

from task_server.config.model import STOP_MARGIN_SECONDS, WorkerConfig
from task_server.launch.timing import Timing

ROOT = Path(__file__).parents[2]
MARGIN = f"{STOP_MARGIN_SECONDS:g}"


def found(file: str, pattern: str) -> str:
    """Return what *pattern* finds in *file* of the repository, whose lines may be folded."""
    text = " ".join((ROOT / file).read_text().split())
    match = re.search(pattern, text)
    assert match is not None, (file, pattern)
    return match[1]


def test_the_worker_itself_keeps_the_margin() -> None:
    """
    The process ends, whatever hangs, before the margin is over.
    """
    assert Timing().finish < STOP_MARGIN_SECONDS


def test_the_readmes_name_the_margin() -> None:
    """
    The README and the stack's say what a stop may take beyond the drain.
    """
    assert MARGIN == found("README.md", r"at most (\d+) s after the drain")
    assert MARGIN == found("README.md", r"TimeoutStopSec at least (\d+) seconds above the drain")
    assert MARGIN == found("deploy/README.md", r"above drain_seconds \(\d+\) by (\d+) s at least")


def test_the_stack_leaves_the_margin() -> None:
    """
    Its stop grace is above the default drain by the margin.
    """
    grace = found("deploy/swarm/stack.yml", r"TASK_SERVER_STOP_GRACE_PERIOD:-(\d+)s")

    assert float(grace) >= WorkerConfig(name="w").drain_seconds + STOP_MARGIN_SECONDS


def test_the_module_leaves_the_margin() -> None:
    """
    systemd's TimeoutStopSec is above a worker's drain by the margin.
    """
    more = found("nix/modules/worker-options.nix", r"ceil config\.settings\.drain_seconds \+ (\d+)")

    assert float(more) >= STOP_MARGIN_SECONDS
