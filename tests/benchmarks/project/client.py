"""
A process that sends, as a web server does: it reads orders from stdin and answers on stdout.

    python -m client MODULE

An order is a line of JSON, ["send", task, count], ["chord", count] and the like; the answer is
one, too: {"seconds": …, "cpu": …} of what the order took.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any


def send(module: Any, task: str, count: int) -> None:
    """Send *count* messages, as a view does: one delay() each; a peer may have a way of its own."""
    if hasattr(module, "send"):
        module.send(task, count)
        return
    delay = getattr(module, task).delay
    for number in range(count):
        delay(number)


def ordered(name: str) -> Callable[..., None]:
    """Return what an order means."""
    found: Callable[..., None] = send if name == "send" else getattr(import_module("canvas"), name)
    return found


def main() -> None:
    """Do what is ordered until stdin ends."""
    module = import_module(sys.argv[1])
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        order = ordered(name)
        start, cpu = time.monotonic(), time.process_time()
        order(module, *arguments)
        taken = {"seconds": time.monotonic() - start, "cpu": time.process_time() - cpu}
        print(json.dumps(taken), flush=True)


if __name__ == "__main__":
    main()
