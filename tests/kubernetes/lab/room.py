"""
Where the programs of a cluster run: a mount and a process namespace, which end together.

What a kubelet and a containerd leave behind, mounts, containers and shims, would outlive
the tests that started them. In here all of it ends with the first process, even when the
tests are killed.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.kubernetes.lab.programs import folder_of
from tests.support import proc
from tests.support.wait import until

#: Folders of the system that the programs write to, whatever they are told: empty in here.
OWN = ("/run/containerd", "/run/secrets", "/var/log", "/var/lib/kubelet")

#: A script's arguments are the folders, then the command of the first process.
ENTER = """
set -e
while [ "$1" != -- ]; do mkdir -p "$1"; mount -t tmpfs -o mode=755 tmpfs "$1"; shift; done; shift
mount --bind "$HOSTS" /etc/hosts
exec "$@"
"""


class Room:
    """
    The namespaces, and the processes that were started in them.

    Args:
        folder: Of logs, and of all that the programs keep.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "log"
        self.logs.mkdir(exist_ok=True)
        #: What the programs here read as /etc/hosts.
        self.hosts = Path(shutil.copy("/etc/hosts", folder / "hosts"))
        pause = folder_of("pause") / "pause"
        with (self.logs / "first.log").open("wb") as log:
            self._first = subprocess.Popen(
                [
                    # Whatever ends the tests ends all of it.
                    *("setpriv", "--pdeathsig", "KILL"),
                    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork"),
                    *("--kill-child", "--mount-proc"),
                    *("sh", "-c", ENTER, "enter", *OWN, "--", pause),
                ],
                env={**os.environ, "HOSTS": str(self.hosts)},
                stderr=log,
            )
        self.pid = until(self._started, "the namespaces")
        self._programs: dict[str, subprocess.Popen[bytes]] = {}

    def _started(self) -> int:
        assert self._first.poll() is None, (self.logs / "first.log").read_text()
        for pid in proc.children(self._first.pid):
            if Path(f"/proc/{pid}/exe").resolve().name == "pause":
                return pid
        return 0

    def start(self, name: str, *argv: str | Path, **environ: str) -> None:
        """Start a program, with more variables; its output goes to NAME.log."""
        with (self.logs / f"{name}.log").open("ab") as log:
            self._programs[name] = subprocess.Popen(
                self.command(*argv),
                env={**os.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def command(self, *argv: str | Path) -> Sequence[str | Path]:
        """Return the command that runs *argv* in here."""
        return ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--", *argv]

    def run(self, *argv: str | Path) -> str:
        """Run a program in here to its end; return what it printed."""
        done = subprocess.run(self.command(*argv), check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def check(self, name: str) -> None:
        """Raise what the program's log ends with if it has ended."""
        code = self._programs[name].poll()
        if code is not None:
            log = (self.logs / f"{name}.log").read_text(errors="replace")
            raise AssertionError(f"{name} ended with {code}:\n{log[-3000:]}")

    def end(self) -> None:
        """End every process; the mounts go with the last of them. A second end is none."""
        self._first.kill()
        self._first.wait()
        for program in self._programs.values():
            program.wait()
        until(lambda: not Path(f"/proc/{self.pid}").exists(), "the namespaces to end")
