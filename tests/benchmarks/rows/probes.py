"""What a health check costs, beside the start of Python that it cannot do without."""

import os
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.crew import Crew

#: As containers call it; `python -m` takes longer.
SCRIPT = Path(sys.executable).with_name("task-server")


def health(crew: Crew, count: int) -> dict[str, float]:
    """
    Measure the processor time of *count* health checks, as a multiple of as many bare Pythons.

    The two take turns, so that both meet the same machine.
    """
    name = f"{crew.setup.pool}0"
    settings = crew.folder / "worker0" / "task-server.toml"
    environ = {**os.environ, "TASK_SERVER_CONFIG": str(settings)}
    check, bare = 0.0, 0.0
    for _ in range(count):
        bare += _seconds([sys.executable, "-c", "pass"], environ)
        check += _seconds([str(SCRIPT), "health", name, "--ready"], environ)
    return {"times": check / bare, "check": check / count * 1e3}


def _seconds(command: list[str], environ: dict[str, str]) -> float:
    """Run *command* to its end, which is a good one; return its seconds of processor time."""
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"{command} ended with {process.returncode}"
    return used.ru_utime + used.ru_stime
