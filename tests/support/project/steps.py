"""
The steps of fetch and acknowledgement, and a SIGKILL between two of them.

STEPS_READY names a file that is made when the steps are counted from then on.
STEPS_TRACE names a file that gets one line a step; STEPS_KILL is the number of
the step at which the whole process group is killed. A step is: a command is
about to be sent, was sent, its reply is about to be read, was read; a message
is about to be registered, was; the same of an acknowledgement.
"""

import os
import signal
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from celery.signals import worker_ready
from redis.connection import AbstractConnection

STOCK = "kombu.transport.redis"

#: The commands by which either transport fetches, registers and acknowledges.
COMMANDS = (b"BRPOP", b"EVAL", b"HSET", b"ZADD", b"ZREM", b"HDEL")


class Steps:
    """Counts the steps of the main process."""

    def __init__(self, trace: str | None, kill: int | None) -> None:
        self.main = os.getpid()
        self.count = 0
        self.kill = kill
        self.trace = trace and os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.awaited: set[int] = set()

    def step(self, name: str) -> None:
        if os.getpid() != self.main:
            return
        self.count += 1
        if self.trace:
            os.write(int(self.trace), f"{name}\n".encode())
        if self.count == self.kill:
            os.killpg(os.getpgrp(), signal.SIGKILL)

    def around(self, owner: Any, method: str, name: Callable[..., str | None]) -> None:
        """Make the call of *method* two steps, before and after, if *name* gives it one."""
        original = getattr(owner, method)

        def call(this: Any, *args: Any, **kwargs: Any) -> Any:
            label = name(this, *args)
            if label:
                self.step(f"before {label}")
            result = original(this, *args, **kwargs)
            if label:
                self.step(f"after {label}")
            return result

        setattr(owner, method, call)

    def sending(self, connection: Any, command: Any, *_: Any) -> str | None:
        packed = command if isinstance(command, bytes) else b"".join(command)
        found = [name.decode() for name in COMMANDS if name in packed[:200]]
        if not found:
            return None
        self.awaited.add(id(connection))
        return f"sending {found[0]}"

    def reading(self, connection: Any, *_: Any) -> str | None:
        if id(connection) not in self.awaited:
            return None
        self.awaited.discard(id(connection))
        return "reading the reply"


def install(environ: Mapping[str, str]) -> None:
    """Count, trace and kill as the variables say; do nothing without them."""
    if not {"STEPS_TRACE", "STEPS_KILL"} & set(environ):
        return
    kill = environ.get("STEPS_KILL")
    steps = Steps(environ.get("STEPS_TRACE"), int(kill) if kill else None)
    module = "task_server.transport.unacked.qos" if environ["TRANSPORT"] == "atomic" else STOCK
    qos = import_module(module).QoS

    def begin(**_: object) -> None:
        steps.around(AbstractConnection, "send_packed_command", steps.sending)
        steps.around(AbstractConnection, "read_response", steps.reading)
        steps.around(qos, "append", lambda *_: "registration")
        steps.around(qos, "ack", lambda *_: "acknowledgement")
        os.close(os.open(environ["STEPS_READY"], os.O_CREAT))

    # From here the worker is idle; what follows belongs to the next message.
    worker_ready.connect(begin, weak=False)
