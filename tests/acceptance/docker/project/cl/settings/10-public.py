import os

SECRET_KEY = "not a secret"
INSTALLED_APPS = ["cl.jobs"]
USE_TZ = True
MEDIA_ROOT = os.environ.get("DJANGO_MEDIA_ROOT", "/sata")

REDIS_HOST = os.environ.get("REDIS_HOST", "cl-redis")
REDIS_PASSWORD = os.environ.get("REDIS_PASSWORD", "")
CELERY_BROKER_URL = f"redis://:{REDIS_PASSWORD}@{REDIS_HOST}:6379/0"
CELERY_RESULT_BACKEND = CELERY_BROKER_URL

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("DB_HOST", "/var/run/postgresql"),
        "NAME": os.environ.get("DB_NAME", "postgres"),
        "USER": os.environ.get("DB_USER", "cl"),
        "PASSWORD": os.environ.get("DB_PASSWORD", ""),
    },
}
