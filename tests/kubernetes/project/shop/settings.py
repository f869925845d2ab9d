import os
from pathlib import Path

SECRET_KEY = "not a secret"
INSTALLED_APPS = ["shop"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"

CELERY_BROKER_URL = os.environ.get("SHOP_BROKER", "redis://127.0.0.1:6379/0")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ROUTES = {"shop.tasks.visit": {"queue": "io_bound"}}


def _password() -> str:
    # A secret that is mounted as a file changes without a new pod.
    path = Path(os.environ.get("SHOP_DATABASE_PASSWORD_FILE", "/nonexistent"))
    return path.read_text().strip() if path.exists() else ""


DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("SHOP_DATABASE_HOST", "127.0.0.1"),
        "PORT": os.environ.get("SHOP_DATABASE_PORT", "5432"),
        "NAME": os.environ.get("SHOP_DATABASE_NAME", "shop"),
        "USER": "shop",
        "PASSWORD": os.environ.get("SHOP_DATABASE_PASSWORD", _password()),
    },
}
