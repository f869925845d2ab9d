"""The table of the rows."""

from tests.benchmarks.rows.drain import Drain
from tests.benchmarks.rows.row import METRICS, Metric, Row
from tests.benchmarks.rows.sending import Canvas, Send
from tests.benchmarks.sides import Setup

__all__ = ["METRICS", "ROWS", "Metric", "Row"]

PREFORK = Setup()
GEVENT = Setup(pool="gevent", concurrency=512)
ORM = Setup(project="orm", needs=frozenset({"postgres"}))
SENDER = Setup(workers=0)

REACH = ("reach",)

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
        title="no-op, result kept, prefork",
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

CANVAS = [
    Row(
        name=f"{kind}-{setup.pool}",
        title=f"{kind} of {count:,}, {setup.pool}",
        setup=setup,
        measure=Canvas(kind),
        main="seconds",
        count=count,
        groups=REACH,
    )
    for setup in (PREFORK, GEVENT)
    for kind, count in (("chord", 1000), ("chain", 200), ("group", 1000))
]

#: By name, in the order of the report.
ROWS: dict[str, Row] = {
    row.name: row for row in [*NOTHING, *SENDING, *DATABASE, *PAYLOADS, *CANVAS]
}
