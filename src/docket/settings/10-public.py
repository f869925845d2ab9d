"""Settings that everybody may know; 11-private.py overrides them."""

import os

import dj_database_url
from django.core.management.utils import get_random_secret_key

# DEVELOPMENT=1 shows tracebacks and serves the admin's style sheets.
DEBUG = os.environ.get("DEVELOPMENT", "").lower() in ("1", "true", "yes", "on")

# Workers sign nothing, so they start without a secret. A random key for each
# process logs the users of the admin out when the web server restarts, and
# does not work with several web processes: set SECRET_KEY there.
SECRET_KEY = os.environ.get("SECRET_KEY") or get_random_secret_key()

ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost 127.0.0.1 [::1]").split()

# Without DATABASE_URL, libpq's own variables (PGHOST, PGUSER, PGPASSWORD …)
# say where PostgreSQL is.
DATABASES = {
    "default": dj_database_url.parse(
        os.environ.get("DATABASE_URL") or f"postgres:///{os.environ.get('PGDATABASE', 'docket')}"
    )
}

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
if REDIS_URL.startswith("unix://"):
    # redis-py's way to write a socket; Celery has another one.
    REDIS_URL = REDIS_URL.replace("unix://", "redis+socket://").replace("?db=", "?virtual_host=")

CELERY_BROKER_URL = REDIS_URL
CELERY_RESULT_BACKEND = REDIS_URL
CELERY_TASK_ROUTES = {"docket.tasks.fetch": {"queue": "io_bound"}}

MEDIA_ROOT = os.environ.get("DJANGO_MEDIA_ROOT", "/sata")
MEDIA_URL = "media/"
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "docket",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

ROOT_URLCONF = "docket.urls"
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
