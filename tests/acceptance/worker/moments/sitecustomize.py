"""
Lets a test meet a process at a moment of its start: before an import, or before it becomes another.

MOMENT is a module that is about to be imported, or `exec`; the process makes the
file MOMENT_REACHED then, and goes on when somebody opens the FIFO MOMENT_OVER to write.
"""

import os
import sys
from pathlib import Path

MOMENT = os.environ.get("MOMENT")


def wait():
    reached = Path(os.environ["MOMENT_REACHED"])
    if reached.exists():
        return
    reached.touch()
    Path(os.environ["MOMENT_OVER"]).open().close()


class Finder:
    @staticmethod
    def find_spec(name, _path=None, _target=None):
        if name == MOMENT:
            wait()


if MOMENT == "exec":
    become = os.execvpe

    def wait_and_become(*arguments):
        wait()
        become(*arguments)

    os.execvpe = wait_and_become
elif MOMENT:
    sys.meta_path.insert(0, Finder)
