"""The three probes, each by exec of `task-server health`: no client, no port, no shell."""

from math import ceil

from task_server.launch.timing import DEFAULT_TIMING
from task_server.manifests.names import Object

#: Seconds between two checks: short at the start, for a rollout waits for it; longer afterwards,
#: for each check starts an interpreter.
STARTUP_PERIOD = 3
READINESS_PERIOD = 10
LIVENESS_PERIOD = 30

#: Seconds for a check: an interpreter starts slowly in a pod without processor time to spare.
TIMEOUT = 10

#: Checks that must fail, one after the other.
FAILURES = 3

#: Seconds that a start may take: the import of a large project, and a Redis that drops packets.
START_SECONDS = DEFAULT_TIMING.max_start + DEFAULT_TIMING.max_connect


def probes(program: list[str], name: str) -> Object:
    """Return the probes of the container that runs the worker or service *name*."""
    alive = {"exec": {"command": [*program, "health", name]}, "timeoutSeconds": TIMEOUT}
    ready = {"exec": {"command": [*program, "health", name, "--ready"]}, "timeoutSeconds": TIMEOUT}
    return {
        "startupProbe": {
            **alive,
            "periodSeconds": STARTUP_PERIOD,
            "failureThreshold": ceil(START_SECONDS / STARTUP_PERIOD),
        },
        "livenessProbe": {
            **alive,
            "periodSeconds": LIVENESS_PERIOD,
            "failureThreshold": FAILURES,
        },
        "readinessProbe": {
            **ready,
            "periodSeconds": READINESS_PERIOD,
            "failureThreshold": FAILURES,
        },
    }
