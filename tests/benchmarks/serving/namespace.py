"""A network and a view of /etc of its own, so that a DNS server needs nothing of the machine."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Brings the loopback up, lays both files over those of the machine, and waits.
_PREPARE = """
set -e
ip link set lo up
mount --bind "$1/resolv.conf" "$(readlink -f /etc/resolv.conf)"
mount --bind "$1/nsswitch.conf" /etc/nsswitch.conf
echo ready
exec sleep infinity
"""


@contextmanager
def namespace(folder: Path) -> Iterator[tuple[str, ...]]:
    """
    Make one, whose resolver asks 127.0.0.1; yield the command that starts another inside.

    Raises:
        OSError: It cannot be made here: no root, or no `unshare`, `nsenter`, `ip`.
    """
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:5\n")
    (folder / "nsswitch.conf").write_text("hosts: files dns\n")
    holder = subprocess.Popen(
        [
            *("unshare", "--net", "--mount", "--propagation", "private"),
            *("sh", "-c", _PREPARE, "sh", str(folder)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stderr is not None
    try:
        if holder.stdout.readline() != "ready\n":
            raise OSError(f"no namespace: {holder.stderr.read().strip()}")
        of = f"/proc/{holder.pid}/ns"
        yield ("nsenter", f"--net={of}/net", f"--mount={of}/mnt", f"--wd={folder}")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
        holder.stderr.close()
