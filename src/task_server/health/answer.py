"""How `task-server health` answers: one line, or one object of JSON, and an exit code."""

import json

from task_server.health.verdict import Verdict


def answer(name: str, found: Verdict, *, ready: bool, as_json: bool, where: str = "") -> int:
    """
    Print the verdict on *name*; return 0 if it is healthy, else 1.

    Args:
        ready: Whether it must also be ready.

        where: What else there is to say of it.
    """
    if as_json:
        told = {"name": name, "alive": found.alive, "ready": found.ready}
        print(json.dumps({**told, "reason": f"{found.reason}{where}", **found.details}))
    else:
        word = "ready" if found.ready else "alive, not ready" if found.alive else "dead"
        print(f"{name}: {word}: {found.reason}{where}")
    return 0 if (found.ready if ready else found.alive) else 1
