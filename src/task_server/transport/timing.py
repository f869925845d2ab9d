"""The intervals of a channel, by its visibility timeout and its lease."""

from dataclasses import dataclass
from typing import Final, Self

#: Seconds between two scans where the options make no sense.
SCAN_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Timing:
    """
    The intervals of one channel, in seconds.

    Attributes:
        visibility_timeout: After so long without a sign of life a message without
            a lease is delivered again.

        lease: How long what is fetched stays this process's after a renewal; 0 for
            no lease. No longer than the visibility timeout: after that one workers
            with Kombu's transport take a message, whatever stands in it.

        scan_interval: Between two scans for messages of dead workers.
    """

    visibility_timeout: float
    lease: float
    scan_interval: float

    @classmethod
    def of(
        cls, visibility_timeout: float, lease: float | None, interval: float, throttle: float
    ) -> Self:
        """Return the intervals by the transport options, Kombu 5.7's *throttle* among them."""
        visibility_timeout = float(visibility_timeout)
        lease = min(float(lease or 0), visibility_timeout)
        scan = float((interval if interval > 0 else SCAN_SECONDS) * (throttle or 1))
        return cls(visibility_timeout, lease, min(scan, lease / 6) if lease else scan)

    @property
    def expires_after(self) -> float:
        """After its last sign of life what this process has is delivered again."""
        return self.lease or self.visibility_timeout

    @property
    def renew_interval(self) -> float:
        """Between two signs of life: two may fail before others take over."""
        interval = min(60.0, self.visibility_timeout / 4)
        return min(interval, self.lease / 3) if self.lease else interval

    @property
    def tick_interval(self) -> float:
        """Between two checks of what is due."""
        return min(1.0, self.renew_interval)

    @property
    def outage_threshold(self) -> float:
        """
        Between two scans, of all workers, from which on Redis was not there.

        The time that went unobserved, and the time between two signs of life, are
        together shorter than a lease.
        """
        scan = self.scan_interval
        if self.lease:
            return 1.5 * scan + min(1.0, scan)
        return max(1.5 * scan + 2, min(3 * scan + 1, self.visibility_timeout / 4))

    @property
    def recovery_grace(self) -> float:
        """For living workers to come back after an outage and give a sign of life."""
        return min(60.0, self.visibility_timeout)

    @property
    def lease_recovery_grace(self) -> float:
        """
        The same where a thread gives it, which tries each second.

        With the defaults lease, scan and grace are 50 seconds together.
        """
        return min(15.0, self.lease / 2)
