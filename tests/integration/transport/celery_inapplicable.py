"""
Celery's own integration tests that cannot hold for a worker outside their process.

Each with its reason; they are left out by name, on both sides, so that a test
that Celery adds is run. Those that use no worker at all are known by their
fixtures.
"""

from collections.abc import Mapping
from typing import Final

_SIGNAL: Final = "it connects to a signal that the worker sends in its own process"
_REQUESTS: Final = "it looks into the worker's memory for the requests that it has run"
_STAMPS: Final = "it empties the worker's memory of what was revoked between two parts"
_REVOKED: Final = "it looks into the worker's memory for what was revoked"
_PID: Final = "it expects the worker's pid to be the tests' own"

_TASKS: Final = "t/integration/test_tasks.py"
_CANVAS: Final = "t/integration/test_canvas.py::test_stamping_mechanism"
_INSPECT: Final = "t/integration/test_inspect.py::test_Inspect"
_RESULTS: Final = f"{_TASKS}::test_task_redis_result_backend"
_RECEIVERS: Final = f"{_TASKS}::test_signal_bound_method_receivers"

INAPPLICABLE: Final[Mapping[str, str]] = {
    f"{_TASKS}::test_tasks::test_send_task_without_ignore_result_uses_task_ignore_result": (
        _REQUESTS
    ),
    f"{_TASKS}::test_tasks::test_send_task_without_ignore_result_stores_result": _REQUESTS,
    f"{_RESULTS}::test_retry_preserves_ignore_result_false": _REQUESTS,
    f"{_RESULTS}::test_retry_preserves_ignore_result_true": _REQUESTS,
    f"{_TASKS}::test_tasks::test_revoked_by_headers_simple_canvas": _STAMPS,
    f"{_TASKS}::test_task_replacement::test_replaced_task_nesting_level_0": _SIGNAL,
    f"{_TASKS}::test_task_replacement::test_replaced_task_nesting_level_1": _SIGNAL,
    f"{_TASKS}::test_task_replacement::test_replaced_task_nesting_chain": _SIGNAL,
    f"{_RECEIVERS}::test_each_instance_receives": _SIGNAL,
    f"{_RECEIVERS}::test_disconnect_leaves_other_instance_connected": _SIGNAL,
    f"{_RECEIVERS}::test_other_instance_receives_after_garbage_collection": _SIGNAL,
    f"{_CANVAS}::test_task_received_has_access_to_stamps": _SIGNAL,
    f"{_CANVAS}::test_linking_stamped_sig": _SIGNAL,
    f"{_CANVAS}::test_err_linking_stamped_sig": _SIGNAL,
    f"{_INSPECT}::test_stats": _PID,
    f"{_INSPECT}::test_hello_stamps_received_revoked_ids_locally": _REVOKED,
}

#: They expect of a running task that it is acknowledged, so they hold for
#: `delivery = "at-most-once"` only, which is Celery's own default.
ACKNOWLEDGED_EARLY: Final = (f"{_INSPECT}::test_active", f"{_INSPECT}::test_query_task")
