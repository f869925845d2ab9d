"""Greenlets that share the connections to Redis."""

import subprocess
import sys

from task_server import local

CLOSED_MEANWHILE = """
from gevent import monkey
monkey.patch_all()
import sys
import redis
from redis._parsers import hiredis as parser
from task_server.config.pools import POOLS
from task_server.worker.broker import connections
connections.install(POOLS["gevent"])
client = redis.Redis.from_url(sys.argv[1])
client.ping()
connection = client.connection_pool.get_connection()
client.connection_pool.release(connection)
readable = getattr(parser, "_socket_can_read", None)

def closed_meanwhile(sock, timeout):
    # Polling the socket lets other greenlets run, and one of them closes it.
    parser._socket_can_read = readable
    connection._parser.on_disconnect()
    return True

if readable is not None:
    parser._socket_can_read = closed_meanwhile
print(client.ping())
"""


def test_a_connection_that_another_greenlet_closes_is_replaced(
    redis_server: local.Server,
) -> None:
    """
    It is a lost connection to redis-py, and no unexpected ValueError.
    """
    done = subprocess.run(
        [sys.executable, "-c", CLOSED_MEANWHILE, redis_server.client_url],
        check=False,
        capture_output=True,
        text=True,
    )

    assert ("True", 0) == (done.stdout.strip(), done.returncode), done.stderr
