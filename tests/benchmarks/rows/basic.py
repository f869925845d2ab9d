"""Rows of what a worker costs by itself: no-ops, results, long queues, many queues, idling."""

from dataclasses import replace

from tests.benchmarks.rows.alone import idle, latency, start
from tests.benchmarks.rows.documents import documents
from tests.benchmarks.rows.drain import Drain
from tests.benchmarks.rows.looking import Status
from tests.benchmarks.rows.row import Row
from tests.benchmarks.rows.setups import (
    DOCKET,
    GEVENT,
    NO_GEVENT,
    NO_PREFORK,
    ORM_GEVENT,
    PREFORK,
    SEVERAL,
    idling,
)
from tests.benchmarks.sides import Setup

NOTHING = [
    Row(
        name=f"noop-{count}",
        title=f"no-op, prefork, {count} process{'es' if count > 1 else ''}",
        setup=Setup(concurrency=count),
        measure=Drain(task="plain.noop"),
        kind="noop",
        count=2000,
    )
    for count in (1, 2, 4, 8)
] + [
    Row(
        name="noop-gevent",
        title="no-op, gevent, 512 greenlets",
        setup=GEVENT,
        measure=Drain(task="plain.noop"),
        kind="noop-green",
        count=2000,
    ),
    Row(
        name="results",
        title="no-op, result kept, prefork, 2 processes",
        setup=PREFORK,
        measure=Drain(task="plain.kept"),
        kind="results",
        count=1000,
    ),
    Row(
        name="results-gevent",
        title="no-op, result kept, gevent",
        setup=GEVENT,
        measure=Drain(task="plain.kept"),
        count=1000,
    ),
    Row(
        name="redelivered",
        title="no-op that a dead worker left, prefork, 2 processes",
        setup=PREFORK,
        measure=Drain(task="plain.noop", redelivered=True),
        count=2000,
    ),
]

POSTGRES = [
    Row(
        name="waits",
        title="200 waits of PostgreSQL for 100 ms, gevent, on 200 connections",
        # Celery opens one for each task that runs.
        setup=replace(ORM_GEVENT, connections=200),
        measure=Drain(task="orm.wait", arguments=(0.1,)),
        main="seconds",
        count=200,
        rounds=3,
    ),
    Row(
        name="waits-20",
        title="200 waits of PostgreSQL for 100 ms, gevent, on 20 connections, the default",
        setup=ORM_GEVENT,
        measure=Drain(task="orm.wait", arguments=(0.1,)),
        main="seconds",
        count=200,
        rounds=3,
        # Nobody else has a bound: PostgreSQL's own is 100 for all its clients.
        sides=("ours",),
    ),
    Row(
        name="select-gevent",
        title="one ORM SELECT, gevent",
        setup=ORM_GEVENT,
        measure=Drain(task="orm.select"),
        count=800,
    ),
]

LONG = [
    Row(
        name=f"waiting-{name}",
        title=f"no-op, prefork, {title} messages behind",
        setup=PREFORK,
        measure=Drain(task="plain.noop", waiting=waiting),
        count=1000,
        # Their append-only file takes a gigabyte a round and side.
        rounds=99 if waiting < 10**6 else 2,
        warm=waiting < 10**6,
    )
    for name, title, waiting in (
        ("1k", "1,000", 10**3),
        ("100k", "100,000", 10**5),
        ("1m", "1,000,000", 10**6),
    )
]

QUEUES = [
    Row(
        name=f"queues-{count}",
        title=f"no-op, prefork, {count} queue{'s' if count > 1 else ''} of 4 priorities",
        setup=Setup(queues=tuple(f"bench{number}" for number in range(count))),
        measure=Drain(task="plain.noop", priorities=(0, 3, 6, 9)),
        count=2000,
        quick=4,
    )
    for count in (1, 5, 20)
]

ALONE = (
    [
        Row(
            name=f"latency-{setup.pool}",
            title=f"one message to an idle worker, {setup.pool}",
            setup=setup,
            measure=latency,
            main="latency",
            count=50,
            quick=1,
        )
        for setup in (PREFORK, GEVENT)
    ]
    + [
        Row(
            name=f"start-{setup.pool}",
            title=f"exec until a task has run, {setup.pool}",
            setup=setup,
            measure=start,
            main="seconds",
            count=1,
            quick=1,
            warm=False,
        )
        for setup in (NO_PREFORK, NO_GEVENT)
    ]
    + [
        Row(
            name=f"idle-{pool}",
            title=f"50 idle workers, {pool}",
            setup=idling(pool),
            measure=idle,
            main="idle",
            count=10,
            quick=1,
            rounds=3,
            warm=False,
        )
        for pool in ("prefork", "gevent")
    ]
)

DOCUMENTS = [
    Row(
        name="documents",
        title="court documents fetched and read, both pools",
        setup=DOCKET,
        measure=documents,
        main="seconds",
        count=20,
        quick=1,
        rounds=3,
    )
]

#: Long enough for several registrations.
MONITORED = [
    Row(
        name=f"monitored-{setup.pool}",
        title=f"no-op, {setup.pool}, registered and added up",
        setup=setup,
        measure=Drain(task="plain.noop"),
        kind="monitored",
        count=10_000,
        sides=("ours", "unmonitored"),
        groups=("reach",),
    )
    for setup in (PREFORK, GEVENT)
]

#: More than are kept, so that the oldest go.
FAILING = [
    Row(
        name=f"failing-{setup.pool}",
        title=f"a task that always fails, {setup.pool}",
        setup=setup,
        measure=Drain(task="plain.failing"),
        kind="failing",
        count=12_000,
        sides=("ours", "unkept"),
        groups=("reach",),
    )
    for setup in (PREFORK, GEVENT)
]

LOOKING = [
    Row(
        name="status-1m",
        title="task-server status, 1,000,000 waiting, 10,000 in flight",
        setup=SEVERAL,
        measure=Status(in_flight=10_000),
        main="seconds",
        count=1_000_000,
        quick=40,
        # Their append-only file takes a gigabyte a round.
        rounds=3,
        warm=False,
        sides=("ours", "against"),
        groups=("reach",),
    )
]

ROWS = [*NOTHING, *MONITORED, *FAILING, *LOOKING, *POSTGRES, *LONG, *QUEUES, *ALONE, *DOCUMENTS]
