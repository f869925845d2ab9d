"""Tasks that wait for a web server, in the app of `plain`."""

import os

import requests
from plain import app
from recorded import record
from requests.adapters import HTTPAdapter

PORT = os.environ.get("BENCH_HTTP_PORT", "")

#: A session of the worker, as one has it who knows requests: 512 greenlets use it.
SESSION = requests.Session()
SESSION.mount("http://", HTTPAdapter(pool_connections=4, pool_maxsize=512))

SECONDS = 60


@app.task(ignore_result=True)
def fetch(number: int) -> None:
    """Ask one server, by the session."""
    SESSION.get(f"http://127.0.0.1:{PORT}/", timeout=SECONDS).raise_for_status()
    record(number)


@app.task(ignore_result=True)
def by_name(number: int) -> None:
    """Ask a server by a name that no other task asks for."""
    url = f"http://court{number}.bench.test:{PORT}/"
    requests.get(url, timeout=SECONDS).raise_for_status()
    record(number)


@app.task(ignore_result=True)
def by_address(number: int) -> None:
    """Ask a server by an address that no other task asks for."""
    url = f"http://127.1.{number // 250}.{number % 250 + 1}:{PORT}/"
    requests.get(url, timeout=SECONDS).raise_for_status()
    record(number)
