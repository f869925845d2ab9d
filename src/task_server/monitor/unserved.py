"""What a snapshot says of a queue whose messages nobody takes: pure."""

import shlex

from task_server.monitor.model import Queue, Snapshot
from task_server.monitor.trouble import Level


def unserved(queue: Queue, due: int, found: Snapshot) -> tuple[Level, str, str]:
    """Return what is wrong with *queue*, whose *due* messages nobody takes, and a repair."""
    away = [one for one in found.workers if queue.name in one.queues and one.state != "silent"]
    drained = [one.node for one in away if one.drained is not None and one.obeys]
    strangers = [one.node for one in found.workers if one.state is None and not one.run]
    repair = "start a worker with this queue, or add it to `queues` of one"
    if drained:
        nodes = ", ".join(drained[:3])
        message = f"{due} wait, and nobody takes from it: drained by hand: {nodes}"
        repair = f"task-server resume {shlex.quote(drained[0])}"
    elif away:
        nodes = ", ".join(f"{one.node} is {one.state}" for one in away[:3])
        message = f"{due} wait, and nobody takes from it: {nodes}"
    elif strangers:
        message = (
            f"{due} wait, and no worker of task-server takes from it; whether Celery's own "
            f"do ({', '.join(strangers[:3])}), Redis does not say"
        )
    else:
        message = f"{due} wait, and nobody takes from it"
    return "warning" if strangers or away else "error", message, repair
