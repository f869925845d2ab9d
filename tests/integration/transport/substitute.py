"""
A pytest plugin: Kombu's Redis transport is ours, for Kombu's own tests.

The classes are replaced as soon as the module is imported, so that the tests'
own subclasses and instances are of ours.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULE = "kombu.transport.redis"


class Finder(MetaPathFinder):
    """Finds the module as ever, and changes it after its execution."""

    def find_spec(self, fullname: str, *_where: Any) -> ModuleSpec | None:
        if fullname != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_replace(module: ModuleType) -> None:
            execute(module)
            replace(module)

        spec.loader.exec_module = execute_and_replace  # type: ignore[method-assign]
        return spec


def replace(module: Any) -> None:
    # They import the module themselves.
    from task_server.transport import channel, poller, transport  # noqa: PLC0415
    from task_server.transport.unacked import qos  # noqa: PLC0415

    module.Transport = transport.Transport
    module.SentinelTransport = transport.SentinelTransport
    module.Channel = channel.Channel
    module.SentinelChannel = channel.SentinelChannel
    module.QoS = qos.QoS
    module.MultiChannelPoller = poller.MultiChannelPoller


def pytest_runtest_teardown() -> None:
    """Forget what broken connections of another test left: it is another broker."""
    module = sys.modules.get("task_server.transport.unacked.pending")
    if module is not None:
        module.forget_all()


sys.meta_path.insert(0, Finder())
