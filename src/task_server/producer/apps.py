"""The Django application: `INSTALLED_APPS += ["task_server.producer"]`."""

from django.apps import AppConfig

from task_server.producer.switch import is_on


class ProducerConfig(AppConfig):
    """Installs the producer in every Celery app of the process."""

    name = "task_server.producer"
    label = "task_server_producer"
    verbose_name = "Task server's producer"

    def ready(self) -> None:
        """Install it, unless it is switched off."""
        if is_on():
            from task_server.producer.adopt import install_in_all  # noqa: PLC0415 - Celery

            install_in_all()
