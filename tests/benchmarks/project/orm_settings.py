"""Settings of the Django project whose tasks use PostgreSQL."""

import os

import dj_database_url

SECRET_KEY = "not a secret"
USE_TZ = True
INSTALLED_APPS = ["courts"]
DATABASES = {"default": dj_database_url.parse(os.environ["BENCH_DATABASE"])}
