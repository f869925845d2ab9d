"""Django is set up before the test modules import models; no server is asked."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "docket.settings")
django.setup()
# Nobody else's tests, nor their children, are of docket.
del os.environ["DJANGO_SETTINGS_MODULE"]
