"""A timeout around a blocking call, whatever it waits for."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def run_with_timeout(seconds: float, work: Callable[[], T]) -> T:
    """
    Return the result of *work*, if it finishes within *seconds*.

    Clients have timeouts for each step (connect, read), but not for resolving a
    name or for their own retries. Work that does not finish goes on in a daemon
    thread.

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
