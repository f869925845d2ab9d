"""PostgreSQL goes and comes back, while tasks write into it."""

from collections.abc import Sequence
from threading import Event

import pytest

from tests.support.lab import Lane, Redis, lanes_of
from tests.support.lab.cell import ride
from tests.support.lab.load import Load
from tests.support.lab.table import Table
from tests.support.postgres import Postgres

#: Seconds without a server.
DOWN = 2.0

FAULTS = {
    "PostgreSQL restart": Postgres.stop,
    "PostgreSQL kill -9, restart": Postgres.kill,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_postgres_goes_and_comes_back(
    fault: str, database: Postgres, broker: Redis, table: Table
) -> None:
    """
    Tasks that ask for another run when the database is lost are all run; no worker needs help.
    """

    def happen(lanes: Sequence[Lane], load: Load) -> None:
        FAULTS[fault](database)
        Event().wait(DOWN)
        database.start()

    options = {"app": "pg", "DATABASE_URL": database.url}
    with lanes_of(broker, marks=database.marks, **options) as lanes:
        ride(fault, lanes, happen, table, Load(lanes, task="pg.note"))
