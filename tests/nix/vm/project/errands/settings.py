"""Settings: a broker where REDIS_URL says, a database where DATABASE_URL does."""

import os

import dj_database_url

SECRET_KEY = "of-no-use-in-a-test"
INSTALLED_APPS = ["errands"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
if "DATABASE_URL" in os.environ:
    DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}

CELERY_BROKER_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
CELERY_TASK_IGNORE_RESULT = True
