"""
Checks of a configuration, the project and the servers, before a worker starts.

`offline` reads settings and connects to nothing; `live.live` asks Redis, PostgreSQL
and this machine. Both return findings, each error with the step that repairs it,
and change nothing.
"""

from task_server.checks.facts import Context, ProjectFacts, TaskFacts
from task_server.checks.rules import offline
from task_server.checks.workers import spec_of, used

__all__ = ["Context", "ProjectFacts", "TaskFacts", "offline", "spec_of", "used"]
