"""What a fault needs: servers that can be harmed, workers beside each other, marks, a table."""

from tests.faults.lab.lanes import ALL_LANES, LANES, Lane, lanes_of
from tests.faults.lab.marks import Marks
from tests.faults.lab.messages import message, send
from tests.faults.lab.redis_server import Broker, Redis
from tests.faults.lab.waiting import until
from tests.faults.lab.worker import POOLS, Worker, drain

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
    "until",
]
