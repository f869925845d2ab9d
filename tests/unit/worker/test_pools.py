"""The worker finds what differs between the pools by a pool's name."""

import inspect
import subprocess
import sys

import pytest

from task_server.config.pools import POOLS
from task_server.worker.pools import gevent, prefork
from task_server.worker.pools.base import PoolModule, module_of

#: For the type checker, which compares the signatures.
MODULES: dict[str, PoolModule] = {"prefork": prefork, "gevent": gevent}


@pytest.mark.parametrize("name", POOLS)
def test_each_pool_has_a_module_of_its_name(name: str) -> None:
    """
    A pool that the configuration knows offers what the worker calls.
    """
    module = module_of(name)

    takes = {
        part: len(inspect.signature(getattr(module, part)).parameters)
        for part in ("prepare", "attach", "connect")
    }
    assert {"prepare": 2, "attach": 1, "connect": 2} == takes


def test_gevent_is_imported_where_it_is_the_pool() -> None:
    """
    The installation and a worker of another pool go without it.
    """
    program = (
        "import sys, task_server.worker.install\n"
        "from task_server.worker.pools.base import module_of\n"
        "module_of('prefork')\n"
        "print('gevent' in sys.modules)"
    )

    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout

    assert "False" == printed.strip()
