"""Django is set up before the test modules import models; no server is asked."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "docket.settings")
django.setup()
# Other tests, and the programs that they start, are of other projects.
del os.environ["DJANGO_SETTINGS_MODULE"]
