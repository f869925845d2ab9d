"""Kombu's own Redis transport; its type stubs know only the public names."""

from importlib import import_module
from typing import Any, Final

redis: Final[Any] = import_module("kombu.transport.redis")
