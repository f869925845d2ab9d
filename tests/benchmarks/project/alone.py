"""The same requests as those of `fetching`, by 512 greenlets and nothing else: what is left."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402 - everything else is imported as gevent has it

import requests  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from requests.adapters import HTTPAdapter  # noqa: E402

PLACES = 512

SECONDS = 60

SESSION = requests.Session()
SESSION.mount("http://", HTTPAdapter(pool_connections=4, pool_maxsize=PLACES))


def send(_name: str, count: int) -> None:
    """Ask the server *count* times."""
    Pool(PLACES).map(_fetch, range(count))


def _fetch(_number: int) -> None:
    url = f"http://127.0.0.1:{os.environ['BENCH_HTTP_PORT']}/"
    SESSION.get(url, timeout=SECONDS).raise_for_status()
