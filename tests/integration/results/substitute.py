"""
A pytest plugin: Celery's Redis backend is ours, for Celery's own tests of it.

Their clients are fakes, which know the scripts that Celery registers and no others: the backend is
told what a user is told who may not run scripts, and works as it does then.
"""

from collections.abc import Sequence
from typing import Any

import redis
from celery.backends import redis as celerys

from task_server.results import backends, scripts

run = scripts.Script.run


def run_on_a_server(
    self: scripts.Script, client: Any, keys: Sequence[Any], arguments: Sequence[Any]
) -> Any:
    """Run the script, where *client* is one of redis-py."""
    if isinstance(client, redis.Redis):
        return run(self, client, keys, arguments)
    if self in (scripts.PART, scripts.EXTEND, scripts.CLEAN_UP):
        # Celery's own.
        return client.register_script(self.text)(keys=keys, args=arguments)
    raise scripts.DeniedError("a fake runs no scripts of ours")


for name in ("RedisBackend", "SentinelBackend", "ResultConsumer"):
    setattr(celerys, name, getattr(backends, name))
scripts.Script.run = run_on_a_server  # type: ignore[method-assign]
