"""Kombu's own Redis transport; its type stubs know only the public names."""

from typing import Any, Final

from kombu.transport import redis as _redis

redis: Final[Any] = _redis
