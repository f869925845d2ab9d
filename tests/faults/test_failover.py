"""A replica takes the place of a Redis that was killed."""

from collections.abc import Callable, Sequence
from threading import Event

from tests.support.lab import Lane, Redis, lanes_of, until
from tests.support.lab.cell import ride
from tests.support.lab.load import Load
from tests.support.lab.table import Table


def test_failover_to_a_replica(
    broker: Redis, redis_server: Callable[..., Redis], table: Table
) -> None:
    """
    The replica is promoted and takes over the port, as a virtual address would be.

    Replication is asynchronous: what the dead server had not passed on is gone
    with it for every consumer. So a message counts as sent when WAIT says that
    the replica has it. What the workers did in the last moment may be undone.
    """
    data = broker.folder / "replica"
    data.mkdir()
    replica = redis_server("--replicaof", "127.0.0.1", str(broker.port), data=data, name="replica")
    until(lambda: replica.client.info("replication")["master_link_status"] == "up", "the replica")  # type: ignore[index]
    promoted = Event()

    def replicated(lane: Lane) -> bool:
        return promoted.is_set() or bool(lane.broker.client.wait(1, 1000))

    def happen(lanes: Sequence[Lane], load: Load) -> None:
        with load.sending:
            broker.kill()
            replica.client.replicaof("NO", "ONE")
            replica.client.config_set("port", broker.port)
            for number, database in enumerate(broker.databases):
                database.client = replica.database(number).client
            promoted.set()

    with lanes_of(broker) as lanes:
        ride("failover to a replica", lanes, happen, table, Load(lanes, replicated))
