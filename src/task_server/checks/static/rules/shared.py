"""Rules of the ordinary check, on what the source says instead of an imported project."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from task_server.checks.facts import Context
from task_server.checks.rules import broker, delivery, routing, timeouts
from task_server.checks.static.facts import Stated
from task_server.checks.static.findings import At, found
from task_server.checks.workers import spec_of, used
from task_server.config.model import Config
from task_server.errors import ConfigError, Finding

#: By name; those of settings that a file can state whole.
RULES: Mapping[str, Callable[[Context], Iterator[Finding]]] = MappingProxyType(
    {
        "eager-mode": broker.eager,
        "pickle-accepted": broker.pickle,
        "events-always-on": delivery.events,
        "visibility-timeout-below-limit": timeouts.visibility,
    }
)


def shared(stated: Stated, config: Config) -> Iterator[At]:
    """Return what the rules find at a place of the source."""
    context = _context(stated, config)
    if context is None:
        return
    for name, rule in RULES.items():
        try:
            several = list(rule(context))
        except (TypeError, ValueError, AttributeError, OverflowError, KeyError):
            continue  # a value that Celery does not document
        for one in several:
            place = stated.settings.get(one.setting)
            if place is not None and one.level in ("error", "warning"):
                yield found(name, one.level, place, one.message, one.repair)
    yield from _queues(context, stated, config)


def _queues(context: Context, stated: Stated, config: Config) -> Iterator[At]:
    """Find queues that no worker of the configuration consumes, at each first place."""
    if not any(origin.startswith("workers.") for origin in config.origins):
        return
    left = {
        queue: places
        for queue, places in stated.queues.items()
        if places and not any(context.consumes(name, queue) for name in context.workers)
    }
    # Pasting it once is enough for all.
    repair = routing.repair(context, list(left))
    for queue, places in left.items():
        place, known = next((one for one in places if one[1]), places[0])
        more = f" (and at {len(places) - 1} more places)" if len(places) > 1 else ""
        yield found(
            "queue-without-worker",
            "error" if known else "warning",
            place,
            f"no worker of the configuration consumes the queue {queue!r}, which is named "
            f"here{more}: its tasks never run",
            repair,
        )


def _context(stated: Stated, config: Config) -> Context | None:
    counts = used(config, stated.facts)
    try:
        workers = {name: spec_of(config, name, None) for name in counts}
    except ConfigError:
        return None  # the ordinary check names it
    return Context(config=config, workers=workers, counts=counts, facts=stated.facts)
