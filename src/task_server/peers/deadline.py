"""An answer within a time, whatever waits underneath."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def run_with_timeout(seconds: float, work: Callable[[], T]) -> T:
    """
    Return what *work* returns, if it does so within *seconds*.

    Clients bound each step (connect, read) and not the look-up of a name, nor
    their own repetitions. What does not end goes on in a thread that does not
    keep the process alive.

    Raises:
        TimeoutError: It took longer.

        Exception: Whatever *work* raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return results[0]
