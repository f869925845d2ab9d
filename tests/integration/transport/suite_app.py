"""The app of Celery's own integration tests, for a worker outside their process."""

from celery import Celery
from celery.contrib.testing.app import DEFAULT_TEST_CONFIG
from t.integration.tasks import ClassBasedAutoRetryTask

app = Celery("celery.tests")
# What the suite's fixtures say; the environment gives each worker its own
# broker and result backend.
app.conf.update(
    DEFAULT_TEST_CONFIG,
    include=["t.integration.tasks"],
    result_extended=True,
    task_create_missing_queues=False,
)
app.register_task(ClassBasedAutoRetryTask())
