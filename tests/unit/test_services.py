"""The services beside the workers stand in one table."""

from task_server.config import loader
from task_server.health import command
from task_server.launch.services import SERVICES


def test_a_service_has_a_table_and_a_health_check() -> None:
    """
    Each service has settings, so that no worker has its name, and can be asked for its health.
    """
    assert set(SERVICES) == set(loader.SERVICES)
    assert set(SERVICES) == set(command.SERVICES)
