"""The Django application: `INSTALLED_APPS += ["task_server.contrib.admin"]`."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TaskServerAdminConfig(AppConfig):
    """Its label is not `admin`, which is that of Django's own."""

    name = "task_server.contrib.admin"
    label = "task_server_admin"
    verbose_name = _("Task server")
