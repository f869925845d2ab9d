"""Which page shows which model."""

from typing import Final

from django.db.models import Model

from task_server.contrib.admin.failures import FailedTaskAdmin
from task_server.contrib.admin.models import FailedTask, Queue, Worker
from task_server.contrib.admin.page import Page
from task_server.contrib.admin.queues import QueueAdmin
from task_server.contrib.admin.workers import WorkerAdmin

ADMINS: Final[dict[type[Model], type[Page]]] = {
    Queue: QueueAdmin,
    Worker: WorkerAdmin,
    FailedTask: FailedTaskAdmin,
}
