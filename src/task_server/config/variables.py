"""The variables TASK_SERVER_…: which setting one belongs to, and which one was misspelt."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

PREFIX = "TASK_SERVER"

#: Variables that belong to no setting: options of commands, the launcher's word to
#: the worker, and what the stack, the images and the tests read.
OTHERS = frozenset(
    f"{PREFIX}_{name}"
    for name in (
        "BEAT",
        "METRICS",
        *(
            "CALL_ASK",
            "CALL_COUNTDOWN",
            "CALL_ETA",
            "CALL_EXPIRES",
            "CALL_FORCE",
            "CALL_KWARGS",
            "CALL_PRIORITY",
        ),
        *("AUDIT_LIMIT", "BY", "FORCE", "PURGE_OLDER_THAN", "PURGE_TASK", "REQUEUE_NODE", "YES"),
        *("CHECK_EXPLAIN", "CHECK_RULES", "CHECK_SELECT", "CHECK_STATIC"),
        *("CHECK_FORMAT", "CHECK_LIVE", "CHECK_PROJECT", "CHECK_TIMEOUT", "CHECK_WORKERS"),
        *("CONFIG", "DEAD_ALL"),
        # Of each filter: `cli.failed_options`.
        *(
            f"{command}_{name}"
            for command in ("DEAD", "FAILED")
            for name in ("ARGUMENT", "ERROR", "OLDER_THAN", "QUEUE", "SINCE", "TASK", "UNTIL")
        ),
        *("FAILED_ALL", "FAILED_CRASHED", "FAILED_EXPIRED", "FAILED_LIMIT", "FAILED_YES"),
        *("CALL_QUEUE", "CALL_TIMEOUT", "CALL_WAIT", "COMPLETION_SECONDS"),
        *("DELAYED_LIMIT", "DELAYED_OLDER_THAN", "DELAYED_QUEUE", "DELAYED_TASK", "DELAYED_YES"),
        "DEMO_GIVEN",
        *("DOCUMENTS", "ENV_FILE", "FLOWER_IMAGE", "GEVENT_IMAGE", "IMPORT_SECONDS"),
        *("MANIFESTS", "METRICS_IMAGE"),
        *("MIGRATIONS_DATABASE", "MIGRATIONS_TIMEOUT"),
        *("IMAGE", "INIT_PRINT"),
        *("JSON", "KEEP", "LOG_DRIVER", "MIGRATE", "PREFORK_IMAGE", "PRINT_ARGV", "READY"),
        *("REPEAT", "REQUIRE", "SETTINGS_PATH", "STALE", "STATE", "STOP_GRACE", "TRACEBACK"),
        *("STATUS_MAX_AGE", "STATUS_MAX_RUNTIME", "STATUS_WATCH"),
        *("DETACH", "ENV_FORMAT", "LOGS_FOLLOW", "LOGS_LINES", "READY_FD", "RELOAD"),
        *("SECRETS_FD", "STOP_GRACE_PERIOD", "TIMING", "UP_WORKERS", "WORKER"),
    )
)

#: How alike a misspelt name is to the right one, of 1.
ALIKE = 0.82

#: What a cluster adds for each of its services (`TASK_SERVER_FLOWER_PORT=tcp://…`).
_LINK = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")


def variable(setting: str) -> str:
    """Return the environment variable of *setting* (``flower.port`` -> TASK_SERVER_FLOWER_PORT)."""
    return f"{PREFIX}_{setting}".upper().replace(".", "_").replace("-", "_")


def given(environ: Mapping[str, str]) -> dict[str, str]:
    """
    Return the variables of *environ* without those that a cluster adds.

    Kubernetes and Docker's links describe a service named `task-server-flower` by
    TASK_SERVER_FLOWER_PORT and others, to each container beside it.
    """
    services = {
        name.removesuffix("_SERVICE_HOST") for name in environ if name.endswith("_SERVICE_HOST")
    }
    services |= {
        name.removesuffix("_PORT")
        for name, value in environ.items()
        if name.endswith("_PORT") and re.match(r"(tcp|udp|sctp)://", value)
    }
    services = {name for name in services if name.startswith(PREFIX)}
    return {
        name: value
        for name, value in environ.items()
        if not any(name.startswith(one) and _LINK.fullmatch(name[len(one) :]) for one in services)
    }


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return words that name the one of *known* that *name* is most like; empty if none is."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


def misspelt(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """
    Return those of the variables *names* that are hardly anything but one of *known*, with it.

    Others may be anybody's: a service, a script, a template of a stack.
    """
    known = set(known)
    both = known | {f"{name}_FILE" for name in known} | OTHERS
    found = {}
    for name in names:
        if name.startswith(f"{PREFIX}_") and name not in both:
            # Without the prefix, which makes everything alike.
            tails = [one.removeprefix(f"{PREFIX}_") for one in (*known, *OTHERS)]
            close = get_close_matches(name.removeprefix(f"{PREFIX}_"), tails, n=1, cutoff=ALIKE)
            if close:
                found[name] = f"{PREFIX}_{close[0]}"
    return found
