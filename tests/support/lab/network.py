"""A network of its own, in which packets can be dropped."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4


@dataclass(frozen=True)
class Network:
    """A network namespace; what is started with *prefix* is in it."""

    name: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """Return the command that starts another inside."""
        return "ip", "netns", "exec", self.name

    def drop(self, server: int, clients: Sequence[int]) -> None:
        """Drop the packets between the port *server* and the ports *clients*, both ways."""
        rules = [
            f"-A INPUT -p tcp --sport {one} --dport {other} -j DROP\n"
            for client in clients
            for one, other in ((server, client), (client, server))
        ]
        self._run("iptables-restore", "--noflush", given=f"*filter\n{''.join(rules)}COMMIT\n")

    def _run(self, *command: str, given: str = "") -> None:
        subprocess.run(
            [*self.prefix, *command], input=given, text=True, check=True, capture_output=True
        )

    def prepare(self) -> None:
        """Bring its loopback up, and find out whether packets can be dropped."""
        self._run("ip", "link", "set", "lo", "up")
        self.drop(1, [1])


@contextmanager
def network() -> Iterator[Network]:
    """
    Make a network for a while.

    Raises:
        OSError, CalledProcessError: It cannot be made here.
    """
    made = Network(f"faults-{uuid4().hex[:8]}")
    subprocess.run(["ip", "netns", "add", made.name], check=True, capture_output=True)
    try:
        made.prepare()
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", made.name], check=True, capture_output=True)
