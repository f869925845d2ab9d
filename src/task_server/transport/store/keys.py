"""Every name in Redis that the transport uses, in one place."""

from bisect import bisect
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Self


class FetchKeys(NamedTuple):
    """
    The keys of a fetch.

    Attributes:
        queues: In the order of the queue cycle.

        lists: All queues of the first priority, then all of the second, and so on.

        required: All that the script must have.

        optional: Keys that it can do without.

        watchers, wakeup_token: See the script; of those who consume the same queues.

        stops: The hashes of the paused queues and the drained nodes, see `stops`.
    """

    queues: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    watchers: str = ""
    wakeup_token: str = ""
    stops: tuple[str, ...] = ()

    def open_lists(self, closed: Collection[int]) -> tuple[str, ...]:
        """Return the lists of all queues but *closed*, by number."""
        width = len(self.queues)
        return tuple(name for number, name in enumerate(self.lists) if number % width not in closed)


@dataclass(frozen=True, slots=True)
class Keys:
    """
    The keys of one broker, as the server knows them: with the prefix of all keys.

    Our own stand under the name of the unacked messages: where access is
    limited by patterns of keys, a worker may already use those.

    Attributes:
        unacked: The hash of unacked messages.

        times: The sorted set of their times.

        prefix: What stands before each key.

        separator: What stands between a queue and its priority.

        priority_steps: The priorities that have lists of their own.

        binding: The set of an exchange's queues, with %s for the exchange.
    """

    unacked: str = "unacked"
    times: str = "unacked_index"
    prefix: str = ""
    separator: str = "\x06\x16"
    priority_steps: tuple[int, ...] = (0, 3, 6, 9)
    binding: str = "_kombu.binding.%s"

    @classmethod
    def of(cls, channel: Any) -> Self:
        """Return the keys by the options of a *channel* of Redis, Kombu's own included."""
        prefix = str(channel.global_keyprefix)
        return cls(
            unacked=f"{prefix}{channel.unacked_key}",
            times=f"{prefix}{channel.unacked_index_key}",
            prefix=prefix,
            separator=channel.sep,
            priority_steps=tuple(channel.priority_steps),
            binding=f"{prefix}{channel.keyprefix_queue}",
        )

    def sent(self, batch: str) -> str:
        """The hash that says that the messages of *batch* have been sent, for ten minutes."""
        return f"{self.unacked}.sent.{batch}"

    @property
    def unacked_and_times(self) -> tuple[str, str]:
        """The two keys that most scripts get."""
        return self.unacked, self.times

    @property
    def dead_letters(self) -> str:
        """The hash of dead letters, see `dead_letters`."""
        return f"{self.unacked}.dead"

    @property
    def failed(self) -> str:
        """The hash of failed tasks, see `failed_tasks`."""
        return f"{self.unacked}.failed"

    @property
    def failed_times(self) -> str:
        """The sorted set of when each failed."""
        return f"{self.failed}.times"

    @property
    def failed_about(self) -> str:
        """The hash of how many bytes they have."""
        return f"{self.failed}.about"

    @property
    def unreadable(self) -> str:
        """The list of messages that cannot be read, see `unreadable`."""
        return f"{self.unacked}.unreadable"

    @property
    def unreadable_reasons(self) -> str:
        """The hash of the reasons of unreadable messages."""
        return f"{self.unreadable}.reasons"

    @property
    def scans(self) -> str:
        """The hash of the scans for messages of dead workers."""
        return f"{self.unacked}.looks"

    @property
    def paused(self) -> str:
        """The hash of the paused queues, see `stops`."""
        return f"{self.unacked}.paused"

    @property
    def drained(self) -> str:
        """The hash of the drained nodes, see `stops`."""
        return f"{self.unacked}.drained"

    @property
    def audit(self) -> str:
        """The list of what was done by hand, the newest first, see `actions.audit`."""
        return f"{self.unacked}.audit"

    @property
    def workers(self) -> str:
        """The hash of the workers, by run, see `workers`."""
        return f"{self.unacked}.workers"

    @property
    def tails(self) -> str:
        """The hash of the next message of each list, and since when it is that, see `ages`."""
        return f"{self.unacked}.tails"

    @property
    def statistics(self) -> str:
        """The hash of what was finished; those by time are named after it, see `statistics`."""
        return f"{self.unacked}.statistics"

    def statistics_of(self, seconds: int, start: int) -> str:
        """Return the hash of what was finished in the *seconds* from *start*, since 1970."""
        return f"{self.statistics}:{seconds}:{start}"

    @property
    def delayed(self) -> str:
        """What precedes the name of a list in that of its delayed tasks, see `delayed_of`."""
        return f"{self.unacked}.delayed:"

    def delayed_of(self, name: str) -> str:
        """Return the sorted set of the delayed tasks of the complete list *name*."""
        return f"{self.delayed}{name}"

    def started(self, run: str) -> str:
        """Return the set of tasks that the process *run* has started, see `reporter`."""
        return f"{self.unacked}.begun:{run}"

    def beat(self, name: str) -> str:
        """Return the hash of the beat that has the lock *name*, see `beat.lock`."""
        return f"{self.unacked}.beat:{name}"

    def beat_runs(self, name: str) -> str:
        """Return the hash of when each entry of its schedule was last sent."""
        return f"{self.beat(name)}:runs"

    def binding_of(self, exchange: str) -> str:
        """Return the set of the queues that are bound to *exchange*."""
        return self.binding % exchange

    def list_of(self, queue: str, priority: int) -> str:
        """Return the list of *queue* for *priority*, as Kombu's `_q_for_pri`."""
        steps = self.priority_steps
        step = steps[bisect(steps, priority) - 1]
        return f"{self.prefix}{queue}{self.separator}{step}" if step else f"{self.prefix}{queue}"

    def lists_of(self, queue: str) -> tuple[str, ...]:
        """Return the lists of *queue*, one for each priority."""
        return tuple(self.list_of(queue, priority) for priority in self.priority_steps)

    def queue_of(self, name: str) -> str:
        """Return the queue of the complete list *name*."""
        queue = name.removeprefix(self.prefix)
        before, separator, step = queue.rpartition(self.separator)
        return before if separator and step.isdecimal() else queue

    def queues_by_list(self, queues: Iterable[str]) -> dict[str, str]:
        """Return the lists of *queues*, with the queue of each."""
        return {name: queue for queue in queues for name in self.lists_of(queue)}

    def for_queues(self, queues: tuple[str, ...]) -> FetchKeys:
        """Return the keys of a fetch from *queues* in this order."""
        return _for_queues(self, queues)


@lru_cache(maxsize=100)  # There are few orders of the queue cycle.
def _for_queues(keys: Keys, queues: tuple[str, ...]) -> FetchKeys:
    own = f"{keys.unacked}.idle:{','.join(sorted(queues))}"
    watchers, token = f"{own}:watchers", f"{own}:baton"
    lists = tuple(
        keys.list_of(queue, priority) for priority in keys.priority_steps for queue in queues
    )
    required = (*keys.unacked_and_times, *lists)
    stops = (keys.paused, keys.drained)
    kept = (keys.unreadable, keys.unreadable_reasons, keys.delayed)
    return FetchKeys(
        queues, lists, required, (watchers, token, *kept, *stops), watchers, token, stops
    )
