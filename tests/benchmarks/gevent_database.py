"""
What a task with one trivial query costs with and without used connections.

    uv run python -m tests.benchmarks.gevent_database [TASKS]

And how many of 512 tasks fail when psycopg2 has a wait callback and no limit.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.integration.database.database_server import HERE, SOURCES, Server

UNBOUND = """
from gevent import monkey; monkey.patch_all()
import sys, gevent, psycopg2
from task_server.worker.database.psycopg2.wait import wait
psycopg2.extensions.set_wait_callback(wait)
def task():
    connection = psycopg2.connect(host=sys.argv[1], user="tester", dbname="postgres")
    connection.cursor().execute("SELECT pg_sleep(0.2)")
    connection.close()
greenlets = [gevent.spawn(task) for _ in range(512)]
gevent.joinall(greenlets)
print(sum(not g.successful() for g in greenlets))
"""


def main() -> None:
    """Run each way three times, side by side."""
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = Server(folder)
    server.start()
    environ = {**os.environ, "PYTHONPATH": str(SOURCES)}
    try:
        for _ in range(3):
            for reuse in (True, False):
                program = str(HERE / "database_program.py")
                options = {"host": str(folder), "tasks": tasks, "connections": 20, "reuse": reuse}
                done = subprocess.run(
                    [
                        sys.executable,
                        program,
                        "trivial",
                        json.dumps(options),
                    ],
                    check=True,
                    capture_output=True,
                    text=True,
                    env=environ,
                )
                found = json.loads(done.stdout)
                print(
                    f"reuse={reuse}: {tasks / found['seconds']:.0f} tasks/s, "
                    f"{found['cpu'] / tasks * 1e6:.0f} us CPU of the client a task, "
                    f"{found['failed']} failed"
                )
        done = subprocess.run(
            [sys.executable, "-c", UNBOUND, folder],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environ,
        )
        print(f"a wait callback and no limit: {done.stdout.strip()} of 512 tasks fail")
    finally:
        server.stop()
        shutil.rmtree(folder)


main()
