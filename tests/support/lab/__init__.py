"""What a fault needs: servers that can be harmed, workers beside each other, marks, a table."""

from tests.support.lab.lanes import ALL_LANES, LANES, Lane, lanes_of
from tests.support.lab.worker import POOLS, drain, start
from tests.support.marks import Marks
from tests.support.messages import message, send
from tests.support.redis import Broker, Redis
from tests.support.wait import until
from tests.support.worker import Worker

__all__ = [
    "ALL_LANES",
    "LANES",
    "POOLS",
    "Broker",
    "Lane",
    "Marks",
    "Redis",
    "Worker",
    "drain",
    "lanes_of",
    "message",
    "send",
    "start",
    "until",
]
