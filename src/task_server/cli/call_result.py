"""The result of a task that was called: waited for, and shown."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import click

from task_server.errors import PeerError

#: As timeout(1) has it.
TIMED_OUT = 124

#: As shells have it for Ctrl-C.
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended: Celery's state, its result or its error, and its traceback."""

    state: str
    result: Any
    traceback: str | None

    @property
    def exit_code(self) -> int:
        """0 if it succeeded, else 1."""
        return 0 if self.state == "SUCCESS" else 1


def wait_for(
    result: Any, timeout: float | None, *, described: str, announced: str = ""
) -> Outcome | int:
    """
    Wait for *result*; return how it ended, or the exit code if it has not.

    What is *announced* is printed first; Ctrl-C from then on says that the task goes on. On a
    terminal a spinner turns meanwhile.

    Args:
        timeout: Seconds; None waits as long as it takes.

    Raises:
        PeerError: When the result backend does not answer.
    """
    from celery.exceptions import TimeoutError as CelerysTimeoutError  # noqa: PLC0415

    started = time.monotonic()
    try:
        if announced:
            click.echo(announced, err=True)
        with _spinner(f"waiting for {described}"):
            value = result.get(timeout=timeout, propagate=False)
        outcome = Outcome(str(result.state), value, result.traceback)
    except KeyboardInterrupt:
        click.echo(f"\nnot waited for any longer: {result.id} goes on", err=True)
        return INTERRUPTED
    except CelerysTimeoutError:
        seconds = time.monotonic() - started
        click.echo(f"no result after {seconds:.0f} s: {result.id} goes on", err=True)
        return TIMED_OUT
    except Exception as error:
        # Of a backend, or of its client: each has its own.
        raise PeerError(
            f"the result backend cannot be read ({type(error).__name__}: {error}); "
            f"the task {result.id} was sent all the same"
        ) from error
    finally:
        _let_go(result)
    return outcome


def _let_go(result: Any) -> None:
    """Unsubscribe from *result* now: when the interpreter ends, Celery cannot any more."""
    with suppress(Exception):
        result.backend.remove_pending_result(result)
    result.backend = None


def show(outcome: Outcome) -> None:
    """Print the result, or the traceback to standard error."""
    if outcome.state == "SUCCESS":
        click.echo(_shown(outcome.result))
    elif outcome.traceback:
        click.echo(str(outcome.traceback).rstrip(), err=True)
    else:
        # It was revoked, or expired: nothing ran.
        said = f"{type(outcome.result).__name__}: {outcome.result}"
        click.echo(f"{outcome.state}: {said}", err=True)


def jsonable(value: Any) -> Any:
    """Return *value* if it can be written as JSON, else what Python shows of it."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value


def _shown(value: Any) -> str:
    found = jsonable(value)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


@contextmanager
def _spinner(words: str) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - not without a terminal

    with Console(stderr=True).status(words):
        yield
