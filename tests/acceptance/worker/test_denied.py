"""A worker whose user may not use a command that Kombu, not a script, needs."""

from collections.abc import Callable

import pytest

from tests.acceptance.worker.test_limited_user import limited
from tests.support.redis import Redis
from tests.support.wait import until
from tests.support.worker import POOLS, Worker

pytestmark = pytest.mark.slow

#: Each command, and what the log must name; it is needed for bindings that expire.
DENIED = {"multi": "MULTI", "sadd": "'sadd'", "smembers": "", "script|load": "'script|load'"}


@pytest.mark.parametrize("command", DENIED)
@pytest.mark.parametrize("pool", POOLS)
def test_a_command_that_is_denied_to_a_running_worker(
    pool: str, command: str, broker: Redis, start: Callable[..., Worker], send: Callable[..., None]
) -> None:
    """
    It connects again without it: nothing is lost or run twice, and the log names the command.
    """
    worker = start(pool, broker_url=limited(broker, "~*", "&*", "+@all"))
    worker.hear("READY=1")
    send("work", 0)
    until(lambda: worker.ends()[0])
    # Its acknowledgement is not what is tested.
    until(lambda: broker.unacked() == 0)
    if command == "script|load":
        broker.client.script_flush()
    broker.client.execute_command("ACL", "SETUSER", "w", f"-{command}")
    broker.client.execute_command("CLIENT", "KILL", "USER", "w")
    for number in range(1, 11):
        send("work", number, 0.1)
    until(lambda: len(worker.ends()) == 11)
    until(lambda: broker.unacked() == 0)

    assert {1} == set(worker.ends().values())
    assert worker.process.poll() is None
    if DENIED[command]:
        until(lambda: DENIED[command] in worker.output())

    worker.process.terminate()
    assert 0 == worker.wait()
    assert 0 == broker.queued()
