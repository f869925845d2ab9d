"""What happens to a task whose worker is killed; what reserves messages; events."""

from collections.abc import Iterator

from task_server.checks.facts import Case, Facts, listed
from task_server.errors import Finding

#: What a kill means where tasks are acknowledged before they run.
LOST = (
    "the tasks that run when a worker is killed (out of memory, a lost machine, the end of the "
    "stop grace) are lost"
)


def delivery(case: Case) -> Iterator[Finding]:
    """Explain at-least-once and at-most-once, and who chose it."""
    facts = case.facts or Facts()
    for name, profile in case.profiles.items():
        yield _of_worker(name, profile.worker.delivery, facts, case.said(_setting(name)))
    said = {name for name in case.profiles if case.said(_setting(name))}
    if said and said == set(case.profiles):
        late = all(one.worker.delivery == "at-least-once" for one in case.profiles.values())
    else:
        late = facts.chosen("task_acks_late", True)
    if late and facts.chosen("task_reject_on_worker_lost", True) is False:
        yield Finding(
            "warning",
            "task_reject_on_worker_lost",
            f"{facts.whose('task_reject_on_worker_lost')} is False: a task whose process is "
            "killed counts as failed, and does not go back to its queue",
            "remove it, and the worker sets it to True",
        )
    early = [task.name for task in facts.tasks if not task.acks_late]
    if late and early:
        yield Finding(
            "info", "acks_late", f"{listed(early, 20)} declare acks_late=False: of these, {LOST}"
        )


def _setting(name: str) -> str:
    return f"workers.{name}.delivery"


def _of_worker(name: str, chosen: str, facts: Facts, said: str) -> Finding:
    setting = _setting(name)
    own = facts.chosen("task_acks_late")
    if own is None or said:
        instead = ""
        if own is not None and own != (chosen == "at-least-once"):
            instead = f", as {said} has it, instead of {facts.whose('task_acks_late')}"
        elif own is None and not said and chosen == "at-least-once" and facts.values:
            instead = (
                ", our default: the project sets no task_acks_late, so elsewhere its tasks are "
                "acknowledged before they run"
            )
        if chosen == "at-most-once":
            return Finding(
                "info", setting, f"at-most-once{instead}: no task runs twice, but {LOST}"
            )
        return Finding(
            "info" if instead else "ok",
            setting,
            f"at-least-once{instead}: a task whose worker is killed runs again, so a task must "
            f"bear a second run (else {setting} = 'at-most-once')",
        )
    who = facts.whose("task_acks_late")
    if own:
        return Finding("ok", setting, f"at-least-once, as {who} has it")
    return Finding(
        "warning",
        setting,
        f"at-most-once, since {who} is False: {LOST}",
        f"if tasks may run twice say {setting} = 'at-least-once', which wins; if not, say "
        "'at-most-once'",
    )


def transports(case: Case) -> Iterator[Finding]:
    """Tell what Kombu's own transport loses, and where it is used although it was not asked for."""
    for name, profile in case.profiles.items():
        setting = f"workers.{name}.transport"
        if profile.worker.transport == "stock":
            yield Finding(
                "info",
                setting,
                "stock: a worker that is killed between taking a message and registering it loses "
                "the message, whatever the delivery",
                "leave it out, unless something depends on Kombu's own",
            )
        elif not case.is_atomic(profile.worker):
            yield Finding(
                "warning",
                setting,
                f"atomic has no effect, since {case.unknown_kombu}: a killed worker may lose the "
                "message that it was just taking",
                "install a kombu within that range",
            )


def stalls(case: Case) -> Iterator[Finding]:
    """Warn of a prefetch multiplier with which a gevent worker waits for its own poll."""
    facts = case.facts or Facts()
    for name, profile in case.profiles.items():
        worker = profile.worker
        late = worker.delivery == "at-least-once"
        if not case.said(_setting(name)):
            late = facts.chosen("task_acks_late", late)
        if case.is_atomic(worker):
            continue  # an acknowledgement ends its poll
        if worker.pool == "gevent" and late and profile.prefetch_multiplier == 1:
            yield Finding(
                "warning",
                f"workers.{name}.prefetch_multiplier",
                "1, with late acknowledgement: when every greenlet is taken the worker waits in "
                "the transport's poll of two seconds, which halves its speed",
                "leave it out (4 under gevent), or set it to 2 or more",
            )


def events(case: Case) -> Iterator[Finding]:
    """Warn of task events that nobody asked for at run time."""
    facts = case.facts or Facts()
    cost = "a third of the time of a short task goes into events, whether anybody reads them"
    repair = "Flower switches them on while it runs; leave it out unless something else reads them"
    own = facts.chosen("worker_send_task_events")
    if own:
        who = facts.whose("worker_send_task_events")
        yield Finding("warning", "worker_send_task_events", f"{who} is on: {cost}", repair)
    for name, profile in case.profiles.items():
        if profile.worker.events and not own:
            yield Finding("warning", f"workers.{name}.events", f"on: {cost}", repair)
    if facts.chosen("task_send_sent_event"):
        yield Finding(
            "info",
            "task_send_sent_event",
            f"{facts.whose('task_send_sent_event')} is on: each call of a task sends one more "
            "message; only an exporter that measures the wait in the queue needs it",
        )
