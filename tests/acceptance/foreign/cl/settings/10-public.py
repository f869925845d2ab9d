import os

SECRET_KEY = "not a secret"
INSTALLED_APPS = ["cl.scrapers"]
USE_TZ = True

REDIS_URL = os.environ["REDIS_URL"]
CELERY_BROKER_URL = REDIS_URL
CELERY_RESULT_BACKEND = REDIS_URL
CELERY_TASK_ACKS_LATE = False

DATABASES = {
    "default": {"ENGINE": "django.db.backends.postgresql", "NAME": "", "CONN_MAX_AGE": 60},
}
