"""Rows of what real tasks cost: databases, web servers, names, payloads, canvas, delays."""

from tests.benchmarks.rows.delayed import Delayed
from tests.benchmarks.rows.drain import Drain
from tests.benchmarks.rows.probes import health
from tests.benchmarks.rows.row import Row
from tests.benchmarks.rows.sending import Alone, Canvas, Send
from tests.benchmarks.rows.setups import (
    GEVENT,
    HTTP,
    HTTP_ALONE,
    NAMES,
    NO_GEVENT,
    NO_PREFORK,
    ORM,
    PREFORK,
    SENDER,
    courtlistener,
)

REACH = ("reach",)

#: 1,500 requests of 200 ms, 512 at a time.
IDEAL_SECONDS = 1500 / 512 * 0.2

DATABASE = [
    Row(
        name=name,
        title=f"one ORM SELECT, result {what}, prefork, 2 processes",
        setup=ORM,
        measure=Drain(task=task),
        count=800,
        groups=REACH,
    )
    for name, what, task in (
        ("select", "ignored", "orm.select"),
        ("select-kept", "kept", "orm.select_kept"),
    )
] + [
    Row(
        name=f"courtlistener-{count}",
        title=f"one ORM SELECT, as in CourtListener, prefork, {count} processes",
        setup=courtlistener(count),
        measure=Drain(task="courtlistener.select", serializer="pickle"),
        count=600,
        groups=REACH,
    )
    for count in (2, 8)
]

PROBES = [
    Row(
        name="health",
        title="a health check, as an orchestrator asks",
        setup=PREFORK,
        measure=health,
        main="times",
        count=20,
        quick=2,
        sides=("ours",),
        groups=REACH,
    )
]

WEB = [
    Row(
        name="http",
        title="1,500 HTTP requests of 200 ms by requests, gevent",
        setup=HTTP,
        measure=Drain(task="fetching.fetch", ideal=IDEAL_SECONDS),
        main="seconds",
        count=1500,
        rounds=3,
        groups=REACH,
    ),
    Row(
        name="http-alone",
        title="the same without a task server, by requests and gevent alone",
        setup=HTTP_ALONE,
        measure=Alone(IDEAL_SECONDS),
        main="seconds",
        count=1500,
        rounds=3,
        sides=("ours",),
        groups=REACH,
    ),
    *(
        Row(
            name=name,
            title=f"500 requests to 500 {name}, gevent",
            setup=NAMES,
            measure=Drain(task=task),
            main="seconds",
            count=500,
            rounds=3,
            groups=REACH,
        )
        for name, task in (("addresses", "fetching.by_address"), ("names", "fetching.by_name"))
    ),
]

SENDING = [
    Row(
        name=name,
        title=f"delay(), result {what}",
        setup=SENDER,
        measure=Send(task),
        kind="send",
        count=1000,
        groups=REACH,
    )
    for name, what, task in (
        ("enqueue", "ignored", "noop"),
        ("enqueue-kept", "kept", "kept"),
    )
]

CANVAS = [
    Row(
        name=f"{kind}-{setup.pool}",
        title=f"{kind} of {count:,}, {setup.pool}",
        setup=setup,
        measure=Canvas(kind),
        main="seconds",
        count=count,
        rounds=3,
        groups=REACH,
    )
    for setup in (PREFORK, GEVENT)
    for kind, count in (("chord", 1000), ("chain", 200), ("group", 1000))
]

PAYLOADS = [
    Row(
        name=f"payload-{name}-{setup.pool}",
        title=f"payload of {title}, {setup.pool}",
        setup=setup,
        measure=Drain(task="plain.payload", arguments=("x" * size,), ping=True),
        count=count,
        groups=groups,
    )
    for setup in (PREFORK, GEVENT)
    for name, title, size, count, groups in (
        ("1k", "1 kB", 10**3, 1000, ()),
        ("100k", "100 kB", 10**5, 400, REACH),
        ("1m", "1 MB", 10**6, 100, REACH),
    )
] + [
    Row(
        name="payload-5m-gevent",
        title="80 messages of 5 MB, gevent",
        setup=GEVENT,
        measure=Drain(task="plain.payload", arguments=("x" * 5_000_000,), ping=True),
        main="ping",
        count=80,
        rounds=3,
        groups=REACH,
    )
]

DELAYED = [
    Row(
        name=f"delayed-{name}-{setup.pool}",
        title=f"a worker in front of {title} delayed tasks, {setup.pool}",
        setup=setup,
        measure=Delayed(waiting),
        main="memory",
        count=1000,
        # A stock worker takes a minute or two to fetch them all.
        rounds=1,
        warm=False,
        sides=("stock", "ours", "against"),
        groups=REACH,
    )
    for setup in (NO_PREFORK, NO_GEVENT)
    for name, title, waiting in (("0", "no", 0), ("100k", "100,000", 100_000))
]

ROWS = [*DATABASE, *WEB, *PROBES, *SENDING, *CANVAS, *PAYLOADS, *DELAYED]
