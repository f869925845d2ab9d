"""What is written to a prefork child is what it reads."""

from typing import Any

from celery.app import trace

from task_server.worker.pools.prefork import _without_second_arguments

REQUEST = {"id": "me", "args": ("x" * 1000,), "kwargs": {"a": 1}, "argsrepr": "…"}


def words(content_type: str | None) -> tuple[Any, ...]:
    return "task", "me", REQUEST, b"body", content_type, "utf-8"


def test_arguments_are_written_once() -> None:
    """
    A child reads them from the body; the request that the worker itself has stays whole.
    """
    for target in (trace.fast_trace_task, trace.trace_task_ret):
        options = {"args": words("application/json"), "timeout": 1}

        found = _without_second_arguments((target,), options)

        name, task_id, request, *rest = found["args"]
        assert ("task", "me", {"id": "me", "argsrepr": "…"}) == (name, task_id, request)
        assert [b"body", "application/json", "utf-8"] == rest
        assert 1 == found["timeout"]
        assert words("application/json") == options["args"]


def test_what_else_is_written_stays_as_it_is() -> None:
    """
    A body that was decoded here, and jobs of others.
    """
    decoded: dict[str, Any] = {"args": words(None)}
    foreign: dict[str, Any] = {"args": words("application/json")}

    assert decoded is _without_second_arguments((trace.fast_trace_task,), decoded)
    assert foreign is _without_second_arguments((len,), foreign)
    assert {} == _without_second_arguments((trace.fast_trace_task,), {})
