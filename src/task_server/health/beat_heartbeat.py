"""The heartbeat file of beat: its fields, and how it is read."""

from typing import Literal, NamedTuple

BeatState = Literal["starting", "sending", "standby", "stopping"]


class BeatHeartbeat(NamedTuple):
    """
    What beat reports about itself, in the file `beat.json`.

    Attributes:
        time: When it was written, in seconds since 1970.

        monotonic: The same on CLOCK_MONOTONIC of the boot *boot_id*; so are *started* and
            *trouble_since*.

        pid_start: When the process started, in clock ticks since boot.

        waited: As of a worker's `Heartbeat`.

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
    waited: float | None = None
