"""
Judging a configuration, the project and the servers before a worker starts.

`offline` looks at what is written down and connects to nothing; `live.live` asks
Redis, PostgreSQL and this machine. Both return findings, each problem with
the step that repairs it, and change nothing.
"""

from task_server.checks.facts import Case, Facts, TaskFacts
from task_server.checks.rules import offline
from task_server.checks.workers import profile, used

__all__ = ["Case", "Facts", "TaskFacts", "offline", "profile", "used"]
