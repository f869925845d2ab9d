"""How a snapshot is printed, in 80 columns: nothing in it is executed."""

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from task_server.cli.dead_shown import shown
from task_server.monitor import Age, Queue, Rate, Snapshot, TaskStatistics, Worker
from task_server.monitor.stopped import clock
from task_server.monitor.troubles import Trouble, span

#: Messages of one worker that are listed, the oldest; and where one worker is shown.
FEW = 3
MOST = 100

#: Tasks whose statistics are shown: those that fail, and then by name.
TASKS = 10

#: Columns that are aligned at the right.
NUMBERS = {
    *("waiting", "oldest", "in/min", "out/min", "running", "delayed", "done", "for"),
    *("failed/min", "retried", "half in", "95 % in", "waited"),
}

STYLES = {"error": "bold red", "warning": "yellow"}


def show(found: Snapshot, wrong: Sequence[Trouble]) -> None:
    """Print *found*, and what is *wrong* first."""
    Console(highlight=False, soft_wrap=False).print(page(found, wrong))


def live() -> Live:
    """Return a screen that is drawn again at each look."""
    return Live(screen=True, auto_refresh=True, console=Console(highlight=False))


def page(found: Snapshot, wrong: Sequence[Trouble], silent: str = "") -> RenderableType:
    """Return the whole page; *silent* says why Redis has not answered since."""
    parts: list[RenderableType] = []
    if silent:
        line = f"error: Redis has not answered since {clock(found.at)}: {shown(silent, None)}"
        parts.append(Text(f"{line}\n  -> what follows is of then\n", style=STYLES["error"]))
    parts += [*_troubles(wrong), _queues(found), _workers(found)]
    tasks = [one for one in found.tasks if one.recent.ended][:TASKS]
    if tasks:
        parts.append(_tasks(tasks))
    held = [worker for worker in found.workers if worker.in_flight]
    if held:
        parts.append(_messages(found, held))
    parts.append(_server(found))
    return Group(*parts)


def _troubles(wrong: Sequence[Trouble]) -> Iterator[RenderableType]:
    for one in wrong:
        line = Text(f"{one.level}: ", style=STYLES[one.level])
        line.append(f"{shown(one.what)}: {shown(one.message, None)}", style="default")
        yield line
        yield Text(f"  -> {shown(one.repair, None)}")
    if not wrong:
        yield Text("nothing is wrong", style="green")
    yield Text("")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    for name in columns:
        is_number = name in NUMBERS
        # An id is copied, so it is whole; it has 36 characters.
        table.add_column(
            name, justify="right" if is_number else "left", overflow="ellipsis", no_wrap=True
        )
        if name == "id":
            table.columns[-1].min_width = 36
    return table


def _queues(found: Snapshot) -> RenderableType:
    table = _table(
        *("queue", "waiting", "oldest", "in/min", "out/min", "running", "delayed", "workers")
    )
    for queue in sorted(found.queues, key=_importance):
        is_used = queue.length or queue.in_flight or queue.delayed or queue.consumers
        if is_used or queue.trouble or len(found.queues) == 1:
            table.add_row(
                shown(queue.name),
                _waiting(queue),
                _age(queue.oldest),
                _rate(queue.rate_in),
                _rate(queue.rate_out),
                str(queue.in_flight or "-"),
                str(queue.delayed or "-"),
                str(len(queue.consumers) or "none"),
            )
    return Group(table, Text(""))


def _importance(queue: Queue) -> tuple[float, str]:
    return -(queue.oldest.seconds if queue.oldest else float("inf")), queue.name


def _waiting(queue: Queue) -> str:
    if queue.trouble:
        return "?"
    by_priority = "/".join(str(count) for _, count in sorted(queue.waiting.items()))
    return f"{queue.length} ({by_priority})" if len(queue.waiting) > 1 else str(queue.length or "-")


def _age(age: Age | None) -> str:
    if age is None:
        return "?"
    if not age.seconds and age.is_exact:
        return "-"
    return span(age.seconds) if age.is_exact else f"≥ {span(age.seconds)}"


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "?"
    number = f"{rate.per_minute:.0f}" if rate.per_minute >= FEW or not rate.per_minute else ""
    number = number or f"{rate.per_minute:.1f}"
    return number if rate.is_exact else f"≥ {number}"


def _tasks(tasks: Sequence[TaskStatistics]) -> RenderableType:
    table = _table(
        *("task", "queue", "out/min", "failed/min", "retried", "half in", "95 % in", "waited")
    )
    for one in tasks:
        table.add_row(
            shown(one.task.rpartition(".")[2] or "others"),
            shown(one.queue or "?"),
            f"{one.per_minute():.1f}",
            f"{one.per_minute('failed'):.1f}" if one.recent.failed else "-",
            str(one.recent.retried or "-"),
            _seconds(one.total.ran.quantile(0.5)),
            _seconds(one.total.ran.quantile(0.95)),
            _seconds(one.total.waited.quantile(0.95)),
        )
    return Group(table, Text(""))


def _seconds(value: float | None) -> str:
    if value is None:
        return "?"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 10 else span(value)  # noqa: PLR2004


def _workers(found: Snapshot) -> RenderableType:
    machines = any(worker.machine for worker in found.workers)
    table = _table(
        *("worker", "state", "for", "running", "done", "queues"),
        *(("machine",) if machines else ()),
    )
    for worker in sorted(found.workers, key=lambda one: one.state == "ready"):
        since = found.at - worker.since if worker.since is not None else None
        running = "?" if worker.active is None else f"{worker.active}/{worker.concurrency}"
        table.add_row(
            shown(worker.node),
            worker.state or ("not registered" if worker.run else "not ours"),
            "-" if since is None else span(since),
            running,
            "-" if worker.processed is None else str(worker.processed),
            shown(", ".join(worker.queues) or "?"),
            *((shown(worker.machine or "?"),) if machines else ()),
        )
    if not found.workers:
        is_one = len(found.queues) == 1
        return Text(f"no worker {'takes from it' if is_one else 'has registered'}\n")
    return Group(table, Text(""))


def _messages(found: Snapshot, held: Sequence[Worker]) -> RenderableType:
    table = _table("task", "id", "worker", "for", "lease until")
    most = MOST if len(found.workers) == 1 else FEW
    for worker in held:
        for one in worker.in_flight[:most]:
            since = worker.started.get(one.tag) or one.fetched_at
            until = one.lease_until
            table.add_row(
                shown(one.task.rpartition(".")[2] or "?"),
                shown(one.id or "?"),
                shown(worker.node),
                "-" if since is None else span(max(0.0, found.at - since)),
                "-" if until is None else clock(until),
            )
        if len(worker.in_flight) > most:
            more = f"{len(worker.in_flight) - most} more: task-server status {shown(worker.node)}"
            table.add_row("…", more, shown(worker.node))
    return Group(table, Text(""))


def _server(found: Snapshot) -> RenderableType:
    broker = found.broker
    memory = "?" if broker.memory is None else f"{broker.memory >> 20} MiB"
    limit = f" of {broker.max_memory >> 20}" if broker.max_memory else ""
    clients = f"{broker.clients} of {broker.max_clients} clients"
    kept = {True: "persistent", False: "not persistent", None: ""}[broker.is_persistent]
    scan = f"scanned at {clock(broker.last_scan)}" if broker.last_scan else "never scanned"
    counts = f"{found.in_flight} in flight, {found.delayed} delayed, {found.dead} dead, "
    counts += f"{found.unreadable} unreadable"
    facts = ", ".join(filter(None, (broker.product, memory + limit, clients, kept, scan)))
    failed = (
        f"\n{found.failed} failed tasks are kept: task-server failed list" if found.failed else ""
    )
    return Text(f"{counts}, at {clock(found.at)}\n{facts}{failed}")
