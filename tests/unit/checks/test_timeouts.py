"""Rules on times: visibility timeout, time limits, retries, drain."""

from dataclasses import replace

import pytest

from task_server.checks.rules import timeouts
from tests.unit.checks.cases import (
    BACKOFF,
    PREFORK,
    SLOW,
    SOFT,
    Row,
    context,
    own,
    says_one_line,
)

OWN_TIMEOUT = own(broker_transport_options__visibility_timeout=21600)
SAID = {"config": {"visibility_timeout": 15}, "said": ["visibility_timeout"]}

TABLE: list[Row] = [
    (
        "the operator's visibility timeout replaces the project's",
        timeouts.visibility,
        context(OWN_TIMEOUT, **SAID),  # type: ignore[arg-type]
        "ok",
        "visibility_timeout",
        "set by task-server.toml, instead of the 21600 s of CELERY_BROKER",
    ),
    (
        "and with Kombu's transport",
        timeouts.visibility,
        context(OWN_TIMEOUT, transport="kombu", **SAID),  # type: ignore[arg-type]
        "ok",
        "visibility_timeout",
        "15 s",
    ),
    (
        "the project's visibility timeout counts where the operator says nothing",
        timeouts.visibility,
        context(OWN_TIMEOUT),
        "ok",
        "visibility_timeout",
        "of cl/settings/10-public.py: 21600 s; a dead",
    ),
    (
        "a visibility timeout of ours below a worker's limit",
        timeouts.visibility,
        context(
            config={"visibility_timeout": 60},
            workers={"prefork": {"time_limit": 600}},
            transport="kombu",
        ),
        "error",
        "visibility_timeout",
        "set visibility_timeout to 1200 in task-server.toml",
    ),
    (
        "a task's own limit above the default of an hour",
        timeouts.visibility,
        context(own((SLOW,)), transport="kombu"),
        "error",
        "visibility_timeout",
        "not above the time limit of bulk.read (7200 s)",
    ),
    (
        "the project's task_time_limit counts",
        timeouts.visibility,
        context(own(task_time_limit=4000), transport="kombu"),
        "error",
        "visibility_timeout",
        "time limit of task_time_limit (4000 s)",
    ),
    (
        "a retry later than the visibility timeout",
        timeouts.visibility,
        context(own((BACKOFF,)), transport="kombu"),
        "error",
        "visibility_timeout",
        "feeds.poll retries with a countdown of up to 7200 s",
    ),
    (
        "the project's own value in the transport names who set it",
        timeouts.visibility,
        context(
            own((SLOW,), broker_transport_options__visibility_timeout=1800),
            config={"visibility_timeout": 10000},
            transport="kombu",
        ),
        "error",
        "broker_transport_options.visibility_timeout",
        "CELERY_BROKER_TRANSPORT_OPTIONS.VISIBILITY_TIMEOUT of cl/settings/10-public.py is 1800 s",
    ),
    (
        "the project's own value in the result backend is looked at, too",
        timeouts.visibility,
        context(
            own((SLOW,), result_backend_transport_options__visibility_timeout=60),
            config={"visibility_timeout": 10000},
            transport="kombu",
        ),
        "error",
        "result_backend_transport_options.visibility_timeout",
        "is 60 s, not above the time limit of bulk.read",
    ),
    (
        "a smaller value in one of three places",
        timeouts.visibility,
        context(own(broker_transport_options__visibility_timeout=1800), transport="kombu"),
        "warning",
        "broker_transport_options.visibility_timeout",
        "below the 3600 s of the other places",
    ),
    (
        "a right visibility timeout",
        timeouts.visibility,
        context(own((replace(SLOW, time_limit=100),)), transport="kombu"),
        "ok",
        "visibility_timeout",
        "3600 s, above the longest time limit (100 s)",
    ),
    (
        "without a project",
        timeouts.visibility,
        context(transport="kombu"),
        "ok",
        "visibility_timeout",
        "3600 s, a task that runs longer",
    ),
    (
        "with the atomic transport it may be below a time limit",
        timeouts.visibility,
        context(own((SLOW,), broker_transport_options__visibility_timeout=300)),
        "ok",
        "visibility_timeout",
        "300 s; a dead worker's messages are delivered again 30 s after it last renewed its lease",
    ),
    (
        "the leases of two workers",
        timeouts.visibility,
        context(own((SLOW,)), workers={"a": {"lease_seconds": 5}, "b": {"lease_seconds": 3600}}),
        "ok",
        "visibility_timeout",
        "3600 s; a dead worker's messages are delivered again 5 to 3600 s after",
    ),
    (
        "one worker of two with Kombu's own transport",
        timeouts.visibility,
        context(own((SLOW,)), workers={"prefork": {}, "gevent": {"transport": "kombu"}}),
        "error",
        "visibility_timeout",
        "not above the time limit of bulk.read (7200 s)",
    ),
    (
        "a Kombu that the atomic transport does not know",
        timeouts.visibility,
        context(own((SLOW,)), unknown_kombu="kombu 5.9 is outside 5.6.2 <= version < 5.8"),
        "error",
        "visibility_timeout",
        "not above the time limit of bulk.read (7200 s)",
    ),
    (
        "a task's soft limit on gevent",
        timeouts.soft_limits,
        context(own((SOFT,))),
        "info",
        "soft_time_limit",
        "docket.fetch run on gevent",
    ),
    (
        "the project's soft limit on gevent",
        timeouts.soft_limits,
        context(own((SOFT,), task_soft_time_limit=60)),
        "info",
        "task_soft_time_limit",
        "CELERY_TASK_SOFT_TIME_LIMIT of cl/settings/10-public.py is 60 s; on gevent",
    ),
    (
        "the drain without a known stop grace names the number",
        timeouts.drain,
        context(workers={"prefork": {"drain_seconds": 60}}),
        "info",
        "workers.prefork.drain_seconds",
        "stop_grace_period: 75s (Docker), TimeoutStopSec=75 (systemd)",
    ),
    (
        "a stop grace below the drain",
        timeouts.drain,
        context(workers=PREFORK, stop_grace=10),
        "error",
        "workers.prefork.drain_seconds",
        "the worker is killed after 10 s",
    ),
    (
        "a stop grace just above the drain",
        timeouts.drain,
        context(workers=PREFORK, stop_grace=35),
        "warning",
        "workers.prefork.drain_seconds",
        "30 s leave 5 s of the stop grace (35 s)",
    ),
    (
        "a stop grace that is long enough",
        timeouts.drain,
        context(workers=PREFORK, stop_grace=45),
        "ok",
        "workers.prefork.drain_seconds",
        "fit into the stop grace of 45 s",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_a_rule_says_one_line(row: Row) -> None:
    """
    A rule names the setting, what is wrong with it, and the repair; and no other line.
    """
    says_one_line(*row[1:])
