import os

SECRET_KEY = "of-a-test"
INSTALLED_APPS = ["bakery"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/tmp/bakery.sqlite"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0")
CELERY_RESULT_BACKEND = CELERY_BROKER_URL
CELERY_TASK_ROUTES = {"bakery.tasks.order": {"queue": "io_bound"}}
CELERY_BEAT_SCHEDULE = {"feed": {"task": "bakery.tasks.feed", "schedule": 2.0}}
