"""The names of all rules, and the page of each, which comes with the package."""

from collections.abc import Iterable
from importlib.resources import files

from task_server.config.variables import suggestion
from task_server.errors import ConfigError, Problem

#: What `check --static` finds in the source.
STATIC = (
    *("delay-inside-transaction", "result-get-inside-task", "beat-unknown-task"),
    *("beat-period-below-time-limit", "route-matches-nothing", "task-module-not-imported"),
    *("retry-without-end", "retry-without-backoff", "soft-limit-above-time-limit"),
    *("file-not-read", "suppression-unknown-rule", "suppression-unused"),
)

#: Of the configuration and the project, with and without `--static`.
SHARED = (
    *("queue-without-worker", "eager-mode", "pickle-accepted", "events-always-on"),
    "visibility-timeout-below-limit",
)

#: What `check` finds once it has imported the project.
PROJECT = (
    *("project-not-imported", "worker-settings", "setting-of-wrong-type", "broker-not-redis"),
    *("result-backend", "redis-pool-too-small", "setting-without-effect"),
    *("soft-limit-under-gevent", "drain-exceeds-stop-grace"),
    *("delivery-guarantee", "transport-loses-messages", "prefetch-stalls-gevent"),
    *("database-connections", "asyncio-under-gevent"),
)

#: What `check --live` asks servers and this machine.
LIVE = (
    *("redis-server", "redis-rights", "queues-in-redis", "delayed-messages", "stopped-by-hand"),
    "postgres-server",
    *("media-folder", "user-and-group", "code-folder", "writable-folders"),
)

#: By who finds them.
GROUPS = {
    "In the source, with --static": STATIC,
    "In the settings, with and without --static": SHARED,
    "In the configuration and the project, once it is imported": PROJECT,
    "At the servers and on this machine, with --live": LIVE,
}

NAMES = frozenset((*STATIC, *SHARED, *PROJECT, *LIVE))


def unknown_rule(name: str) -> tuple[str, str]:
    """Return what is wrong with *name*, which is no rule, and what to do."""
    shown = name[:60]
    close = suggestion(shown, NAMES).removeprefix("; ")
    return f"there is no rule {shown!r}", close or "`task-server check --rules` lists them"


def page(name: str) -> str:
    """Return the page of the rule *name*, in Markdown."""
    return files("task_server.checks").joinpath("pages", f"{name}.md").read_text("utf-8")


def summary(name: str) -> str:
    """Return the first sentence of the page of *name*."""
    return page(name).split("\n\n")[1].replace("\n", " ")


def verify(names: Iterable[str], setting: str) -> None:
    """
    Check that all of *names* are rules.

    Raises:
        ConfigError: With each that is none, and the name that it is most like.
    """
    problems = [
        Problem(setting, "; ".join(unknown_rule(name))) for name in names if name not in NAMES
    ]
    if problems:
        raise ConfigError(problems, "the rules")
