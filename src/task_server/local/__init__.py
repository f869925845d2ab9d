"""
Redis and PostgreSQL on this machine for development, and the supervisor that
runs them together with the workers.

    state = State.open(path)
    servers = [redis.find(state, environ), postgres.find(state, environ)]
    with state.lock(), Supervisor() as supervisor:
        supervisor.start_all([server.child for server in servers if server.child])
        supervisor.start_all(workers)
        supervisor.run()
"""

from task_server.local.servers import postgres, redis
from task_server.local.servers.server import Server
from task_server.local.servers.state import Lock, State
from task_server.local.supervisor.child import NOTIFY, Child
from task_server.local.supervisor.supervisor import Supervisor

__all__ = [
    "NOTIFY",
    "Child",
    "Lock",
    "Server",
    "State",
    "Supervisor",
    "postgres",
    "redis",
]
