"""What happens to a task whose worker is killed; prefetching; events."""

from collections.abc import Iterator

from task_server.checks.facts import Context, ProjectFacts, listed
from task_server.errors import Finding

#: What a kill means where tasks are acknowledged before they run.
LOST = (
    "tasks running when a worker is killed (out of memory, a lost machine, the end of the stop "
    "grace) are lost"
)


def delivery(context: Context) -> Iterator[Finding]:
    """Explain at-least-once and at-most-once, and who chose it."""
    facts = context.facts or ProjectFacts()
    for name, worker in context.workers.items():
        yield _of_worker(name, worker.delivery, facts, context.origin_of(_setting(name)))
    said = {name for name in context.workers if context.origin_of(_setting(name))}
    if said and said == set(context.workers):
        late = all(one.delivery == "at-least-once" for one in context.workers.values())
    else:
        late = facts.chosen("task_acks_late", True)
    if late and facts.chosen("task_reject_on_worker_lost", True) is False:
        yield Finding(
            "warning",
            "task_reject_on_worker_lost",
            f"{facts.source_of('task_reject_on_worker_lost')} is False: a task whose process "
            "is killed counts as failed and is not requeued",
            "remove it; the worker sets it to True",
        )
    early = [task.name for task in facts.tasks if not task.acks_late]
    if late and early:
        yield Finding(
            "info", "acks_late", f"{listed(early, 20)} declare acks_late=False: of these, {LOST}"
        )


def _setting(name: str) -> str:
    return f"workers.{name}.delivery"


def _of_worker(name: str, chosen: str, facts: ProjectFacts, said: str) -> Finding:
    setting = _setting(name)
    own = facts.chosen("task_acks_late")
    if own is None or said:
        instead = ""
        if own is not None and own != (chosen == "at-least-once"):
            instead = f", set by {said}, instead of {facts.source_of('task_acks_late')}"
        elif own is None and not said and chosen == "at-least-once" and facts.values:
            instead = (
                ", our default: the project does not set task_acks_late, so without task-server "
                "its tasks are acknowledged before they run"
            )
        if chosen == "at-most-once":
            return Finding(
                "info", setting, f"at-most-once{instead}: no task runs twice, but {LOST}"
            )
        return Finding(
            "info" if instead else "ok",
            setting,
            f"at-least-once{instead}: a task whose worker is killed runs again, so tasks must "
            f"tolerate a second run (else {setting} = 'at-most-once')",
        )
    who = facts.source_of("task_acks_late")
    if own:
        return Finding("ok", setting, f"at-least-once, set by {who}")
    return Finding(
        "warning",
        setting,
        f"at-most-once, since {who} is False: {LOST}",
        f"if tasks may run twice set {setting} = 'at-least-once', which takes precedence; if not, "
        "'at-most-once'",
    )


def transports(context: Context) -> Iterator[Finding]:
    """Report what Kombu's own transport loses, and where it is used unexpectedly."""
    for name, worker in context.workers.items():
        setting = f"workers.{name}.transport"
        if worker.transport == "kombu":
            yield Finding(
                "info",
                setting,
                "kombu: a worker that is killed between fetching a message and registering it "
                "loses the message, whatever the delivery",
                "remove it, unless something depends on Kombu's transport",
            )
        elif not context.is_atomic(worker):
            yield Finding(
                "warning",
                setting,
                f"atomic has no effect, since {context.unknown_kombu}: a killed worker may lose "
                "the message that it was fetching",
                "install a kombu in that range",
            )


def stalls(context: Context) -> Iterator[Finding]:
    """Warn of a prefetch multiplier that makes a gevent worker wait for its own poll."""
    facts = context.facts or ProjectFacts()
    for name, worker in context.workers.items():
        late = worker.delivery == "at-least-once"
        if not context.origin_of(_setting(name)):
            late = facts.chosen("task_acks_late", late)
        if context.is_atomic(worker):
            continue  # an acknowledgement ends the poll
        if worker.pool_row.green and late and worker.prefetch_multiplier == 1:
            yield Finding(
                "warning",
                f"workers.{name}.prefetch_multiplier",
                "1, with late acknowledgement: while all greenlets are busy the worker sits in "
                "the transport's two-second poll, which halves its throughput",
                "remove it (4 under gevent), or set it to 2 or more",
            )


def events(context: Context) -> Iterator[Finding]:
    """Warn of task events that are always on."""
    facts = context.facts or ProjectFacts()
    cost = "events take a third of the time of a short task, even if nothing reads them"
    repair = "remove it unless something besides Flower needs it; Flower enables it while it runs"
    own = facts.chosen("worker_send_task_events")
    if own:
        who = facts.source_of("worker_send_task_events")
        yield Finding("warning", "worker_send_task_events", f"{who} is on: {cost}", repair)
    for name, worker in context.workers.items():
        if worker.events and not own:
            yield Finding("warning", f"workers.{name}.events", f"on: {cost}", repair)
    if facts.chosen("task_send_sent_event"):
        yield Finding(
            "info",
            "task_send_sent_event",
            f"{facts.source_of('task_send_sent_event')} is on: each call of a task sends another "
            "message; only an exporter that measures time in the queue needs it",
        )
