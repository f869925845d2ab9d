"""The intervals of a channel, by its visibility timeout and its lease."""

from dataclasses import dataclass
from typing import Final, Self

#: Seconds between two scans if the options are invalid.
SCAN_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Timing:
    """
    The intervals of one channel, in seconds.

    Attributes:
        visibility_timeout: A message without a lease is redelivered this long after
            its last renewal.

        lease: How long this process owns a fetched message after a renewal; 0 means
            no lease. At most the visibility timeout: after that, workers with
            Kombu's transport take a message even if it has a lease.

        delay: A task that is due later than this is delayed: it waits in Redis; 0 means
            in a worker.

        scan_interval: Between two scans for messages of dead workers.
    """

    visibility_timeout: float
    lease: float
    scan_interval: float
    delay: float = 0.0

    @classmethod
    def of(
        cls,
        visibility_timeout: float,
        lease: float | None,
        interval: float,
        throttle: float,
        delay: float | None = 0,
    ) -> Self:
        """Return the intervals by the transport options, Kombu 5.7's *throttle* among them."""
        visibility_timeout = float(visibility_timeout)
        lease = min(float(lease or 0), visibility_timeout)
        scan = float((interval if interval > 0 else SCAN_SECONDS) * (throttle or 1))
        scan = min(scan, lease / 6) if lease else scan
        return cls(visibility_timeout, lease, scan, max(0.0, float(delay or 0)))

    @property
    def expires_after(self) -> float:
        """From the last renewal until the messages of this process are redelivered."""
        return self.lease or self.visibility_timeout

    @property
    def renew_interval(self) -> float:
        """Between two renewals: two may fail before others take over."""
        interval = min(60.0, self.visibility_timeout / 4)
        return min(interval, self.lease / 3) if self.lease else interval

    @property
    def tick_interval(self) -> float:
        """Between two checks for due maintenance."""
        return min(1.0, self.renew_interval)

    @property
    def outage_threshold(self) -> float:
        """
        The gap between two scans, by any worker, that counts as an outage of Redis.

        This gap and the time between two renewals are together shorter than a lease.
        """
        scan = self.scan_interval
        if self.lease:
            return 1.5 * scan + min(1.0, scan)
        return max(1.5 * scan + 2, min(3 * scan + 1, self.visibility_timeout / 4))

    @property
    def recovery_grace(self) -> float:
        """For living workers to reconnect after an outage, and renew."""
        return min(60.0, self.visibility_timeout)

    @property
    def lease_recovery_grace(self) -> float:
        """
        The same where a thread renews, which retries every second.

        With the defaults lease, scan and grace are 50 seconds together.
        """
        return min(15.0, self.lease / 2)
