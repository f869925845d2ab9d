"""The launcher's last act."""

import subprocess
import sys

BECOME = """
import sys
from task_server.launch.command import Command
from task_server.launch.process import exec_command
status = "print(open('/proc/self/status').read())"
command = (sys.executable, "-c", status)
exec_command(Command(command, {}, no_new_privileges=sys.argv[1] == "yes"), {})
"""


def status(wish: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", BECOME, wish], capture_output=True, text=True, check=True
    ).stdout


def test_it_gives_up_new_privileges_when_it_is_asked_to() -> None:
    """
    Where the engine has no such option, as in a Swarm, the program does it itself.
    """
    assert "NoNewPrivs:\t1" in status("yes")
    assert "NoNewPrivs:\t0" in status("no")
