"""The claim on a chord's body is given back before its part runs again at a worker of Celery's."""

import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import redis
from celery.canvas import Signature
from celery.result import GroupResult

from task_server.results import scripts
from task_server.transport.store.parts import Part
from task_server.worker.broker.chord_claims import ChordClaims
from tests.integration.results.conftest import end

pytestmark = [
    # What Celery's own backend calls.
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),
    pytest.mark.usefixtures("client"),
    pytest.mark.skipif(scripts.PART is None, reason="Celery 5.6 claims nothing"),
]

#: Seconds for an answer of the result backend.
TIMEOUT = 5

READING = (GroupResult, "restore")
SENDING = (Signature, "delay")


def killed(*_: Any, **__: Any) -> Any:
    """Be what a process does when it is killed."""
    raise SystemExit


def end_with_claim(one: Any, monkeypatch: pytest.MonkeyPatch, moment: tuple[Any, str]) -> None:
    """Let a chord of two end, whose last part is killed at *moment* with the claim on the body."""
    one.set_chord_size("g", 2)
    end(one, "g", 0, 0)
    with monkeypatch.context() as patched, suppress(SystemExit):
        patched.setattr(*moment, killed)
        # Of a process that is killed nothing more is done.
        patched.setattr(one, "_chord_cleanup_script", killed)
        end(one, "g", 1, 1)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what bodies are sent with."""
    bodies: list[Any] = []
    monkeypatch.setattr(Signature, "delay", lambda _, values: bodies.append(values))
    return bodies


@pytest.mark.parametrize("prefix", ["", "cl"])
@pytest.mark.parametrize("moment", [READING, SENDING], ids=["reading", "sending"])
def test_celerys_worker_sends_the_body_of_a_part_whose_claim_was_released(
    backend: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    sent: list[Any],
    moment: tuple[Any, str],
    prefix: str,
) -> None:
    """
    Until then it finds the body claimed. One that has been sent is not sent again.
    """
    settings = {"result_backend_transport_options": {"global_keyprefix": prefix}} if prefix else {}
    ours, stock = backend(**settings), backend(ours=False, **settings)
    end_with_claim(ours, monkeypatch, moment)
    end(stock, "g", 1, 1)
    assert [] == sent

    # What other tasks may have claimed, the other part among them, is theirs.
    assert 0 == ours.release_claims([("g", "g-0"), ("h", "g-1")], TIMEOUT)
    end(stock, "g", 1, 1)
    assert [] == sent

    assert 1 == ours.release_claims([("h", "h-1"), ("g", "g-1")], TIMEOUT)
    assert 0 == ours.release_claims([("g", "g-1")], TIMEOUT)
    end(stock, "g", 1, 1)
    assert [[0, 1]] == sent
    assert 0 == ours.release_claims([("g", "g-1")], TIMEOUT)
    end(stock, "g", 1, 1)
    end(ours, "g", 1, 1)
    assert [[0, 1]] == sent


def test_celerys_own_claim_stays(
    backend: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Whether a worker of Celery's still sends the body, nobody can tell.
    """
    ours, stock = backend(), backend(ours=False)
    end_with_claim(stock, monkeypatch, SENDING)

    assert 0 == ours.release_claims([("g", "g-1")], TIMEOUT)


def test_a_part_that_is_stopped_while_it_sends_the_body_gives_the_claim_back(
    backend: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    sent: list[Any],
) -> None:
    """
    Celery would delete the chord, and nobody send the body.
    """
    ours, stock = backend(), backend(ours=False)
    ours.set_chord_size("g", 2)
    end(ours, "g", 0, 0)
    with monkeypatch.context() as patched, suppress(SystemExit):
        patched.setattr(*SENDING, killed)
        end(ours, "g", 1, 1)

    end(stock, "g", 1, 1)
    assert [[0, 1]] == sent


def test_a_body_that_cannot_be_sent_fails_once(
    backend: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    An error is no stop: the chord has failed, and is done, as with Celery.
    """
    one = backend()
    failed = []

    def refuse(*_: Any) -> None:
        raise ValueError("too long")

    monkeypatch.setattr(Signature, "delay", refuse)
    monkeypatch.setattr(one, "chord_error_from_stack", lambda _, error: failed.append(str(error)))
    one.set_chord_size("g", 2)
    for number in (0, 1, 1):
        end(one, "g", number, number)

    assert ["Callback error: ValueError('too long')"] == failed


def test_many_are_released_together_by_one_connection_that_is_closed(
    client: redis.Redis, backend: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Those of a worker that had a thousand parts; a worker keeps no connection for it.
    """
    ours = backend()
    end_with_claim(ours, monkeypatch, SENDING)
    before = client.info("stats")["total_connections_received"]  # type: ignore[index]
    open_before = len(client.client_list())  # type: ignore[arg-type]
    claims = ChordClaims(ours.app, TIMEOUT)

    claims.release(Part("body", f"g-{number}", "g") for number in range(1000))

    assert 1 == client.info("stats")["total_connections_received"] - before  # type: ignore[index]
    assert open_before >= len(client.client_list())  # type: ignore[arg-type]
    assert 0 == ours.release_claims([("g", "g-1")], TIMEOUT)


def test_a_result_backend_that_hangs_delays_no_redelivery_for_long(
    backend: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """
    It is asked once, and a log line says what may come of that.
    """
    with socket.create_server(("127.0.0.1", 0)) as hung:
        ours = backend(url=f"redis://127.0.0.1:{hung.getsockname()[1]}/0")
        claims = ChordClaims(ours.app, 0.2)
        with caplog.at_level(logging.WARNING):
            for number in range(100):
                claims.release([Part("body", f"g-{number}", "g")])

    lines = [one.getMessage() for one in caplog.records if "body may not be sent" in one.message]
    assert 1 == len(lines)


def test_other_result_backends_have_no_claims(
    backend: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    None is configured, or Celery's own is used: nothing is asked for.
    """
    for one in (backend(ours=False), backend(url="cache+memory://"), backend(url="disabled://")):
        ChordClaims(one.app, TIMEOUT).release([Part("body", "g-1", "g"), Part("other", "x", "g")])

    assert [] == caplog.records
