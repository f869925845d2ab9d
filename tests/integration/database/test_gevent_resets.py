"""What gevent's pool asks PostgreSQL beside what tasks ask."""

import re

from tests.integration.database.database_server import Launcher, Server


def test_a_task_of_one_query_asks_once(launch: Launcher, server: Server) -> None:
    """
    Behind it the session is reset; nothing that the driver remembers is asked for again.
    """
    since = len(server.log)
    options = {"options": "-c log_statement=all -c TimeZone=UTC"}
    program = launch("trivial", tasks=50, connections=1, database={"OPTIONS": options})
    found = program.hear()
    program.process.wait(60)
    asked = re.findall(r"LOG:  statement: (.*)", server.log[since:])

    assert 0 == found["failed"]
    assert 50 == asked.count("SELECT 1")
    assert {"SELECT 1", "DISCARD ALL"} == set(asked)
