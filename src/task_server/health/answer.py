"""How `task-server health` answers: one line, or one object of JSON, and an exit code."""

import json

from task_server.health.verdict import Verdict


def answer(name: str, found: Verdict, *, ready: bool, as_json: bool, where: str = "") -> int:
    """
    Print the verdict on *name*; return 0 if it is healthy, else 1.

    Args:
        ready: Whether it must also be ready.

        where: Added to the reason, such as whose process it is.
    """
    if as_json:
        values = {"name": name, "alive": found.alive, "ready": found.ready}
        print(json.dumps({**values, "reason": f"{found.reason}{where}", **found.details}))
    else:
        state = "ready" if found.ready else "alive, not ready" if found.alive else "dead"
        print(f"{name}: {state}: {found.reason}{where}")
    return 0 if (found.ready if ready else found.alive) else 1
