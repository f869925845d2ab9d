"""What a fault needs: servers that can be harmed, workers beside each other, marks, a table."""

from lab.lanes import ALL_LANES, LANES, Lane, lanes_of
from lab.marks import Marks
from lab.messages import message, send
from lab.redis_server import Broker, Redis
from lab.waiting import until
from lab.worker import POOLS, Worker, drain

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
