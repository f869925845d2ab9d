import os

import dj_database_url
from django.core.management.utils import get_random_secret_key

# Workers sign nothing; a web server needs a key that stays.
SECRET_KEY = os.environ.get("SECRET_KEY") or get_random_secret_key()
INSTALLED_APPS = ["library"]
DATABASES = {
    "default": dj_database_url.parse(os.environ.get("DATABASE_URL", "postgres:///library"))
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

CELERY_BROKER_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
CELERY_RESULT_BACKEND = CELERY_BROKER_URL
# Tasks that wait for the network run on the gevent worker, all others on the
# prefork worker.
CELERY_TASK_ROUTES = {"library.tasks.fetch": {"queue": "io_bound"}}
