"""
What every test stands on: a clean environment, peers that may be required, and processes.

TASK_SERVER_REQUIRE=redis,postgres,… names the peers without which a run fails;
the tests of any other peer that cannot be had are skipped, with the reason.
"""

import os
import signal

pytest_plugins = [
    # Others import it, and pytest rewrites the asserts of what it imports first.
    "tests.support.passwords",
    "tests.support.processes",
    "tests.support.require",
    "tests.support.servers",
    "tests.support.program",
    "tests.faults.report",
]

_KEPT = {"TASK_SERVER_REQUIRE", "TASK_SERVER_DOCUMENTS"}
_DROPPED = {"REDIS_URL", "REDIS_CLIENT_URL", "DATABASE_URL"}
_DROPPED_PREFIXES = ("TASK_SERVER_", "PG", "CELERY_")

# Before any test module is imported: settings of the developer's shell must
# neither help nor hurt a test.
for _name in list(os.environ):
    if _name in _DROPPED or (_name.startswith(_DROPPED_PREFIXES) and _name not in _KEPT):
        del os.environ[_name]

# A shell ignores SIGINT for what it starts in the background, and so would
# every child of a test: Ctrl-C would stop nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)
# And nohup ignores SIGHUP, which a closed window sends.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
