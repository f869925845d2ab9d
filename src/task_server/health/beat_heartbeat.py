"""The heartbeat file of beat: its fields, and how it is read; the standard library alone."""

from dataclasses import dataclass
from typing import Literal

BeatState = Literal["starting", "sending", "standby", "stopping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatHeartbeat:
    """
    What beat reports about itself, in the file `beat.json`.

    Attributes:
        time: When it was written, in seconds since 1970.

        monotonic: The same on CLOCK_MONOTONIC of the boot *boot_id*; so are *started* and
            *trouble_since*.

        pid_start: When the process started, in clock ticks since boot.

        holder: On standby, who has the lock, for people; else None.

        trouble: Why it can neither send nor wait for the lock, since *trouble_since*: its
            broker or its database does not answer. A restart does not help.

        is_locked: Whether a lock keeps it to one.

        entries: Of the schedule that it runs.

        sent: Tasks that it has sent.

        last_sent: Name of the last entry that it sent.
    """

    state: str
    time: float
    monotonic: float
    boot_id: str
    started: float
    pid: int
    pid_start: int | None
    holder: str | None = None
    trouble: str | None = None
    trouble_since: float | None = None
    is_locked: bool = True
    entries: int = 0
    sent: int = 0
    last_sent: str | None = None
