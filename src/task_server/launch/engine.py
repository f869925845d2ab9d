"""Why a worker fetches as with `central` though `fetch = "direct"` is set: by its own settings."""

from collections.abc import Iterator

from task_server.launch.spec import WorkerSpec


def central_reasons(spec: WorkerSpec) -> Iterator[str]:
    """Return what in the worker *spec* the engine `direct` does not serve yet; nothing if all."""
    if spec.pool != "prefork":
        yield f"the pool is {spec.pool}; only prefork has it yet"
    if spec.transport != "atomic":
        yield f"the transport is {spec.transport}; only atomic fetches and registers in one step"
    if spec.delivery != "at-least-once":
        yield "delivery is at-most-once: each task is acknowledged before it runs"
    if spec.events:
        yield "events are sent from the start"
    names = [argument.split("=", 1)[0] for argument in spec.extra_args]
    if "--autoscale" in names:
        yield "--autoscale is given"
    if "-O" in names or "--optimization" in names:
        yield f"{'-O' if '-O' in names else '--optimization'} is given"
