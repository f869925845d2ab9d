"""Which messages are redelivered, and when."""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from time import monotonic
from typing import Any, Final

from kombu.utils.encoding import bytes_to_str
from redis.exceptions import ResponseError

from task_server.transport.hooks import Hooks
from task_server.transport.store.client import Store
from task_server.transport.store.owner import owner_marker, run_field
from task_server.transport.store.scripts import BATCH, EXPIRED, ORPHANED, RUNS
from task_server.transport.timing import Timing
from task_server.transport.unacked.delivered import Delivered
from task_server.transport.unacked.ownership import Ownership
from task_server.transport.unacked.pending import Pending
from task_server.transport.unacked.redeliver import LEASE_EXPIRED, Redelivery
from task_server.transport.unacked.unregistered import Unregistered

logger: Final = logging.getLogger(__name__)


class Restore:
    """
    Restores the messages that dead workers, lost connections and this channel leave.

    Attributes:
        grace_remaining: Seconds until the next scan can find anything, after an
            outage of Redis.
    """

    grace_remaining = 0.0

    def __init__(
        self,
        store: Store,
        timing: Timing,
        hooks: Hooks,
        pending: Pending,
        *,
        redelivery: Redelivery,
        unregistered: Unregistered,
        ownership: Ownership,
    ) -> None:
        self._store = store
        self._timing = timing
        self._hooks = hooks
        self._pending = pending
        self._redelivery = redelivery
        self._unregistered = unregistered
        self._ownership = ownership

    def expired(self, first: int = 0, most: int | None = None, grace: float = 0.0) -> None:
        """
        Redeliver messages whose lease, or visibility timeout, has expired.

        Kombu takes a lock of 300 s first, which a killed owner leaves behind, so
        that no worker restores for that long; the script needs none.

        Args:
            grace: Seconds to wait after an outage of Redis, for living workers to
                reconnect and renew.
        """
        timing = self._timing
        lease = (timing.lease or "", min(grace, timing.lease_recovery_grace))
        while True:
            limits = (timing.outage_threshold, grace, first, most or BATCH, *lease)
            left, latest, seen, *found = self._scan(limits)
            until = _times(found)
            count = self._redelivery.redeliver(
                list(until), latest=float(latest), crash=LEASE_EXPIRED, until=until
            )
            self.grace_remaining = float(left)
            if most or not seen:
                return
            # Those that are not due, or cannot be delivered, stay, and must not
            # hide the others.
            first += int(seen) - count

    def _scan(self, limits: Sequence[Any]) -> list[Any]:
        """Return the reply of the script, without the state for its next call."""
        store, keys, pending = self._store, self._store.keys, self._pending
        arguments = (self._timing.visibility_timeout, *limits, keys.scans, *pending.scans)
        answer = EXPIRED.run(store.client, (keys.times, keys.unacked), arguments)
        *found, since, last, problem = answer[:6]
        pending.scans = (since, last)
        if problem:
            store.problems.optional(keys.scans, bytes_to_str(problem))
        return [*found, *answer[6:]]

    def runs(self, runs: Collection[str]) -> None:
        """Redeliver the messages of the dead processes *runs*."""
        client, keys, count = self._store.client, self._store.keys, 0
        fields = [run_field(run) for run in runs]
        first = 0
        while True:
            seen, *found = RUNS.run(client, keys.unacked_and_times, [first, BATCH * 10, *fields])
            until = _times(found)
            tags, first = list(until), first + int(seen)
            for start in range(0, len(tags), BATCH):
                batch = tags[start : start + BATCH]
                back = self._redelivery.redeliver(batch, crash=LEASE_EXPIRED, until=until)
                count, first = count + back, first - back
            if not seen:
                break
        if count:
            logger.info(
                "%d messages of %d workers that died on this host are redelivered",
                *(count, len(runs)),
            )

    def registered(self) -> None:
        """Redeliver dead letters whose task was not registered, and is by this worker."""
        try:
            back = self._unregistered.requeue()
        except ResponseError as error:
            self._store.problems.optional(self._store.keys.dead_letters, str(error))
            return
        for task, count in Counter(one.task for one in back).items():
            logger.info("%d messages of %s, which this worker registers, are requeued", count, task)

    def one(self, tag: str, *, leftmost: bool = False, unchanged: bool = False) -> None:
        """
        Redeliver one message, unless another worker owns it by now.

        Kombu watches the whole hash of unacked messages and starts again each time
        any worker changes it: under load, endlessly.
        """
        if not self._ownership.is_lost(tag):
            self._redelivery.redeliver([tag], leftmost=leftmost, unchanged=unchanged)

    def unacked(self, delivered: Delivered) -> None:
        """
        Redeliver the messages of this channel, a hundred a call.

        Messages of tasks that still run are left: they are acknowledged through the
        next connection, which also retries what Redis rejects now.
        """
        running, lease = self._hooks.running(), self._ownership.lease
        lease.running = frozenset(running)
        tags = [tag for tag in delivered.take_all() if tag not in running and tag not in lease.lost]
        # From the newest: the oldest is then the next to be fetched.
        tags.reverse()
        while tags:
            now = monotonic()
            try:
                # It may have been stopped meanwhile, for longer than its lease.
                tags = [tag for tag in tags if not self._ownership.is_lost(tag)]
                self._redelivery.redeliver(tags[:BATCH], unchanged=True)
            except BaseException:
                self._pending.restores.extend((tag, now) for tag in tags)
                raise
            del tags[:BATCH]

    def pending(self) -> None:
        """Redeliver what earlier connections could not, unless another worker did."""
        self._orphaned()
        restores = self._pending.restores
        while restores:
            batch = [restores.popleft() for _ in range(min(BATCH, len(restores)))]
            try:
                # By the server's clock: what another worker has fetched since is its own.
                seconds, micros = self._store.client.time()
                age = monotonic() - max(moment for _, moment in batch)
                latest = seconds + micros / 1e6 - age
                tags = [tag for tag, _ in batch]
                self._redelivery.redeliver(tags, latest=latest, unchanged=True)
            except BaseException:
                restores.extendleft(reversed(batch))
                raise

    def _orphaned(self) -> None:
        """Redeliver messages of fetches whose replies were lost."""
        fetches, owners = self._pending.orphaned_fetches, self._pending.orphaned_owners
        reports, lease = self._hooks.reports_started, self._timing.lease
        for fetched_at, until in tuple(fetches):
            self._redeliver_of(owner_marker(fetched_at, reports=reports, lease=lease))
            if monotonic() > until and (fetched_at, until) in fetches:
                fetches.remove((fetched_at, until))
        for marker, until in tuple(owners):
            self._redeliver_of(marker)
            if monotonic() > until and (marker, until) in owners:
                owners.remove((marker, until))

    def _redeliver_of(self, marker: str) -> None:
        """Redeliver the messages into whose entries a fetch has written *marker*."""
        first, seen = 0, 1
        while seen:
            answer = ORPHANED.run(
                self._store.client, self._store.keys.unacked_and_times, [marker, first, BATCH * 10]
            )
            seen, those = int(answer[0]), [bytes_to_str(tag) for tag in answer[2:]]
            first += seen
            if those:
                latest = float(answer[1])
                first -= self._redelivery.redeliver(those, latest=latest, unchanged=True)


def _times(found: Sequence[bytes]) -> dict[str, float]:
    """Return the time of each delivery tag of *found*, which has them in turn."""
    pairs = zip(found[::2], found[1::2], strict=True)
    return {bytes_to_str(tag): float(when) for tag, when in pairs}
