"""Settings of the Django project whose tasks write into PostgreSQL."""

import os

import dj_database_url

SECRET_KEY = "faults"
USE_TZ = True
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
