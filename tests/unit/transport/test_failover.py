"""What a server says when it is a replica, in the words of each version."""

import pytest
from redis.exceptions import MasterDownError, ReadOnlyError, ResponseError

from task_server.transport.failover import FailoverError, reconnecting


class Refused:
    """A connection on which a server has answered with *error*."""

    def __init__(self, error: ResponseError) -> None:
        self.error = error
        self.connected = True

    def read_response(self) -> None:
        raise self.error

    def disconnect(self) -> None:
        self.connected = False


@pytest.mark.parametrize(
    "error",
    [
        ReadOnlyError("You can't write against a read only replica."),
        MasterDownError("Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
        # Redis 6.2, of a script.
        ResponseError(
            "Error running script (call to f_9520): @user_script:9: @user_script: 9: "
            "-READONLY You can't write against a read only replica."
        ),
        # Who waits for a list when the server is demoted; the server closes the connection.
        ResponseError(
            "UNBLOCKED force unblock from blocking operation, instance state changed "
            "(master -> replica?)"
        ),
    ],
)
def test_a_replica_is_left(error: ResponseError) -> None:
    """
    Whatever its words, the connection is closed and counts as lost.
    """
    connection = reconnecting(Refused)(error)

    with pytest.raises(FailoverError):
        connection.read_response()
    assert not connection.connected


def test_another_refusal_is_one_of_the_command() -> None:
    """
    The connection stays with a server that refuses for want of memory.
    """
    connection = reconnecting(Refused)(ResponseError("OOM command not allowed"))

    with pytest.raises(ResponseError, match="OOM"):
        connection.read_response()
    assert connection.connected
